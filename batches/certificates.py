"""When the certificates in use expire, as sealing saw them: sealing alone reads certificates, pages read this.

One blob for all partners, `_certificates.json` in the container `batches`: purpose, secret's name and last day, nothing else.
It is derived: content that is not ours is written anew by the next sealing, partner by partner.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import AwareDatetime

from batches import blobs
from batches.context import Context
from batches.errors import Unreadable
from batches.record import Stored

Purpose = Literal["partner", "escrow"]
_NAME: Final = "_certificates.json"


class InUse(Stored):
    """The certificate of a secret that files were last sealed for. `expires` is None for an OpenPGP key without an end."""

    purpose: Purpose
    secret: str
    expires: AwareDatetime | None


class CertificatesInUse(Stored):
    """The certificates by partner."""

    partners: dict[str, tuple[InUse, ...]]


def remember_certificates(context: Context, partner: str, used: tuple[InUse, ...]) -> None:
    """Write down what sealing uses; nothing is written where it is what is there."""

    def change(content: bytes | None) -> bytes:
        known = _parse(content)
        found = known.model_copy(update={"partners": {**known.partners, partner: used}})
        return content if content and found == known else found.model_dump_json().encode()

    blobs.update(context.stores.batches, _NAME, change)


def read_certificates(context: Context) -> dict[str, tuple[InUse, ...]]:
    """Return the certificates that were last used, by partner; a partner has none before its first batch."""
    return _parse(blobs.read(context.stores.batches, _NAME)).partners


def _parse(content: bytes | None) -> CertificatesInUse:
    try:
        return blobs.parse(content, _NAME, CertificatesInUse) if content else CertificatesInUse(partners={})
    except Unreadable:
        return CertificatesInUse(partners={})
