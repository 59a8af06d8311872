"""How the files of a batch are sealed and which key signs them.

Those that sign files are keys of their own, because one RSA key must not sign in two ways (docs/FORMAT.md, sections 17 and 18).
"""

from __future__ import annotations

import os

from encryption import OpenPgp, Smime
from encryption.vault import Vault
from partners.model import FileWishes, OpenPgpFiles, SmimeFiles


def openpgp_signing_key() -> str:
    """Return the name of the company's key in Key Vault that signs OpenPGP files."""
    return os.environ.get("OPENPGP_SIGNING_KEY", "sealift-openpgp")


def smime_signing_key() -> str:
    """Return the name of the company's key in Key Vault that signs S/MIME files."""
    return os.environ.get("SMIME_SIGNING_KEY", "sealift-smime")


def sealing_format(format: str, wished: FileWishes | None, vault: Vault) -> str | OpenPgp | Smime:  # noqa: A002  # the field's word
    """Return what `seal` takes as its format; asks the vault where files are signed. Raises VaultError."""
    if format == "openpgp":
        return _openpgp(wished if isinstance(wished, OpenPgpFiles) else OpenPgpFiles(), vault)
    if format == "smime":
        return _smime(wished if isinstance(wished, SmimeFiles) else SmimeFiles(), vault)
    return format


def _openpgp(wished: OpenPgpFiles, vault: Vault) -> OpenPgp:
    signer = vault.openpgp_signer(openpgp_signing_key()) if wished.sign else None
    return OpenPgp(signer=signer, armour=wished.armour, compress=wished.compress, extension=wished.extension)


def _smime(wished: SmimeFiles, vault: Vault) -> Smime:
    signer = vault.smime_signer(smime_signing_key()) if wished.sign else None
    return Smime(key_transport=wished.key_transport, signer=signer, armour=wished.armour, extension=wished.extension)
