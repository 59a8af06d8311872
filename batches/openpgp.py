"""OpenPGP files of a batch: which key signs them. It is a key of its own, because one RSA key must not sign in two ways
(docs/FORMAT.md, section 17).
"""

from __future__ import annotations

import os


def openpgp_signing_key() -> str:
    """Return the name of the company's key in Key Vault that signs OpenPGP files."""
    return os.environ.get("OPENPGP_SIGNING_KEY", "sealift-openpgp")
