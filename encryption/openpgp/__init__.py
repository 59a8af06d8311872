"""OpenPGP: messages that any gpg opens, and the certificates they are written for. docs/FORMAT.md, section 8, is the spec.

    certificates  ->  choose_key, PgpRecipient        who receives
    signatures    ->  Signer                          who signs
    message       ->  Message, OpenPgp                what is written
"""

from encryption.openpgp.certificates import (
    Certificate,
    PgpRecipient,
    grouped,
    is_openpgp,
    load_openpgp_recipients,
    openpgp_expiry_warning,
)
from encryption.openpgp.message import Message, OpenPgp
from encryption.openpgp.own import own_certificate
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
