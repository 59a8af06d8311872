"""Which certificates and host keys are in use and which were before, as sealing saw them: sealing alone reads certificates.

One blob for all partners, `_certificates.json` in the container `batches`: names, fingerprints and days, nothing else. It changes
only when what is in use does. It is derived: content that is not ours is written anew by the next sealing, partner by partner;
only what was used before is lost then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, Literal

from pydantic import AwareDatetime, Field

from batches import blobs
from batches.context import Context
from batches.errors import Unreadable
from batches.record import Stored
from delivery import parse_host_key

Purpose = Literal["partner", "escrow"]
_NAME: Final = "_certificates.json"
MOST_KEPT = 50  # keys of one partner


class InUse(Stored):
    """The certificate of a secret that files were last sealed for. `expires` is None for an OpenPGP key without an end."""

    purpose: Purpose
    secret: str
    expires: AwareDatetime | None
    thumbprint: str = ""


class UsedKey(Stored):
    """A key that was in use from the first batch that it was seen at; `until` None: it still is.

    `name` is the secret of a certificate, the algorithm of a host key; `fingerprint` is a SHA-256 as their tools print it.
    """

    kind: Literal["partner", "escrow", "host key"]
    name: str
    fingerprint: str
    since: AwareDatetime
    until: AwareDatetime | None = None

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.kind, self.name, self.fingerprint


class CertificatesInUse(Stored):
    """The certificates by partner, and the keys that each partner has and had, newest first."""

    partners: dict[str, tuple[InUse, ...]]
    keys: dict[str, tuple[UsedKey, ...]] = Field(default={})


def remember_certificates(
    context: Context, partner: str, used: tuple[InUse, ...], host_keys: Iterable[str] = ()
) -> None:
    """Write down what sealing uses and which host keys are pinned; nothing is written where it is what is there."""
    current = [*_keys(used, context.now()), *_pins(host_keys, context.now())]

    def change(content: bytes | None) -> bytes:
        known = _parse(content)
        keys = _merged(known.keys.get(partner, ()), current, context.now())
        found = known.model_copy(
            update={"partners": {**known.partners, partner: used}, "keys": {**known.keys, partner: keys}}
        )
        return content if content and found == known else found.model_dump_json().encode()

    blobs.update(context.stores.batches, _NAME, change)


def read_certificates(context: Context) -> CertificatesInUse:
    """Return what was last used, by partner; a partner has nothing before its first batch."""
    return _parse(blobs.read(context.stores.batches, _NAME))


def _keys(used: Iterable[InUse], now: datetime) -> Iterator[UsedKey]:
    for each in used:
        if each.thumbprint:
            yield UsedKey(kind=each.purpose, name=each.secret, fingerprint=each.thumbprint, since=now)


def _pins(lines: Iterable[str], now: datetime) -> Iterator[UsedKey]:
    for line in lines:
        pin = parse_host_key(line)
        yield UsedKey(kind="host key", name=pin.algorithm, fingerprint=pin.sha256, since=now)


def _merged(known: tuple[UsedKey, ...], current: list[UsedKey], now: datetime) -> tuple[UsedKey, ...]:
    """Return the keys with those that are new in front; one that is no longer in use gets its last day.

    A key that comes back is an entry of its own.
    """
    used = {each.identity for each in current}
    ended = tuple(
        each if each.until or each.identity in used else each.model_copy(update={"until": now}) for each in known
    )
    there = {each.identity for each in ended if each.until is None}
    new = {each.identity: each for each in current if each.identity not in there}
    return (*new.values(), *ended)[:MOST_KEPT]


def _parse(content: bytes | None) -> CertificatesInUse:
    try:
        return blobs.parse(content, _NAME, CertificatesInUse) if content else CertificatesInUse(partners={})
    except Unreadable:
        return CertificatesInUse(partners={})
