"""OpenPGP files of a batch: how they are sealed and which key signs them. It is a key of its own, because one RSA key must not
sign in two ways (docs/FORMAT.md, section 17).
"""

from __future__ import annotations

import os

from encryption import OpenPgp
from encryption.vault import Vault
from partners.model import OpenPgpFiles


def openpgp_signing_key() -> str:
    """Return the name of the company's key in Key Vault that signs OpenPGP files."""
    return os.environ.get("OPENPGP_SIGNING_KEY", "sealift-openpgp")


def sealing_format(format: str, wished: OpenPgpFiles | None, vault: Vault) -> str | OpenPgp:  # noqa: A002  # the field's word
    """Return what `seal` takes as its format; asks the vault once where files are signed. Raises VaultError."""
    if format != "openpgp":
        return format
    wished = wished or OpenPgpFiles()
    signer = vault.openpgp_signer(openpgp_signing_key()) if wished.sign else None
    return OpenPgp(signer=signer, armour=wished.armour, compress=wished.compress, extension=wished.extension)
