"""One recipient out of whatever certificate is there: X.509 or OpenPGP, recognised by how the text begins.

The format that a file is sealed in decides which of the two it takes; `seal` refuses the other kind before anything is written.
"""

from __future__ import annotations

from datetime import datetime

from encryption.certificates import expiry_warning, load_recipients
from encryption.openpgp import is_openpgp, load_openpgp_recipients, openpgp_expiry_warning
from encryption.wrapping import Receiver


def load_receivers(data: bytes, key_id: str | None, now: datetime) -> list[Receiver]:
    """Return the newest usable certificate of a text as the one recipient. Raises the leaves of RecipientError."""
    return [*(load_openpgp_recipients if is_openpgp(data) else load_recipients)(data, key_id, now)]


def receiver_warning(data: bytes, now: datetime) -> str | None:
    """Return words for people from 30 days before the certificate in use expires, unless its successor is beside it."""
    return (openpgp_expiry_warning if is_openpgp(data) else expiry_warning)(data, now)
