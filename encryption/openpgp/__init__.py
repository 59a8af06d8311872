"""OpenPGP: messages that any gpg opens, and the certificates they are written for. docs/FORMAT.md, section 17, is the spec.

certificates, recipients: who receives. signatures, own: who signs. message: what is written. packets, armour, keys: what all of
them are made of.
"""

from __future__ import annotations

from encryption.openpgp.certificates import Certificate, grouped, is_openpgp
from encryption.openpgp.message import Message, OpenPgp
from encryption.openpgp.own import own_certificate
from encryption.openpgp.recipients import PgpRecipient, load_openpgp_recipients, openpgp_expiry_warning
from encryption.openpgp.signatures import Signer

__all__ = [
    "Certificate",
    "Message",
    "OpenPgp",
    "PgpRecipient",
    "Signer",
    "grouped",
    "is_openpgp",
    "load_openpgp_recipients",
    "openpgp_expiry_warning",
    "own_certificate",
]
