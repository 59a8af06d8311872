"""Read OpenPGP certificates: what they say at one moment, as far as their own signatures prove it
(RFC 4880, sections 10 to 12; docs/FORMAT.md, section 17).

Every signature that counts is verified with the certificate's own key, and not more than MAX_CHECKS of them. It does NOT choose
a key (recipients.py does), ask key servers, or weigh the signatures of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from encryption.certificates import PRIVATE_KEY_HINT
from encryption.errors import (
    UnreadableCertificate,
)
from encryption.openpgp import armour
from encryption.openpgp.keys import HASH_NAMES, HASHES, Key, read_key
from encryption.openpgp.packets import (
    MARKER,
    PADDING,
    PUBLIC_KEY,
    PUBLIC_SUBKEY,
    SECRET_KEY,
    SECRET_SUBKEY,
    SIGNATURE,
    TRUST,
    USER_ATTRIBUTE,
    USER_ID,
    Packet,
    Unreadable,
    packet,
    read_packets,
)
from encryption.openpgp.signatures import (
    BINDING,
    CERTIFICATIONS,
    DIRECT,
    KEY_REVOCATION,
    SUBKEY_REVOCATION,
    USER_ID_REVOCATION,
    Signature,
    read_signature,
)

MAX_BYTES: Final = 1_048_576  # keys with many certifications and a picture are that long, not longer
MAX_PACKETS: Final = 2_000
MAX_CERTIFICATES: Final = 20
MAX_CHECKS: Final = 200  # signatures that are verified for one certificate: a hostile one costs no more

_KINDS_BEFORE: Final = frozenset({MARKER, PADDING})


@dataclass(frozen=True, slots=True)
class _Part:
    """A user id or subkey, with the signatures that come after it."""

    tag: int
    body: bytes
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Subkey:
    """One key of a certificate, as its newest binding signature describes it."""

    key: Key
    expires: datetime | None
    flags: int | None  # None: bound by no valid signature, or by one that does not say what for
    is_bound: bool
    is_revoked: bool


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says at one moment, as far as its own signatures prove it."""

    primary: Key
    user_ids: tuple[str, ...]
    subkeys: tuple[Subkey, ...]
    expires: datetime | None
    flags: int | None
    is_proven: bool  # by a valid self-signature
    weak_hash: str | None  # of the self-signatures, when none of them has a hash that is accepted
    is_revoked: bool
    packets: tuple[Packet, ...] = field(repr=False)  # without what others have signed, and without pictures

    @property
    def fingerprint(self) -> str:
        """Return the primary key's fingerprint in hex, upper case."""
        return self.primary.fingerprint.hex().upper()

    @property
    def name(self) -> str:
        """Return words for people that name this certificate."""
        return f"OpenPGP certificate '{self.user_ids[0] if self.user_ids else self.fingerprint[-16:]}'"

    def to_bytes(self) -> bytes:
        """Return the certificate in binary, as short as it can be."""
        return b"".join(packet(each.tag, each.body) for each in self.packets)


def grouped(fingerprint: str) -> str:
    """Return a fingerprint in groups of four, as it is read out on the telephone."""
    groups = [fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4)]
    middle = len(groups) // 2
    return " ".join(groups[:middle]) + "  " + " ".join(groups[middle:])


def is_openpgp(data: bytes) -> bool:
    """Return whether some bytes begin like OpenPGP, in armour or without."""
    if b"-----BEGIN PGP " in data:
        return True
    first = data[0] if data else 0
    tag = first & 0x3F if first & 0x40 else first >> 2 & 0x0F
    return bool(first & 0x80) and tag in (PUBLIC_KEY, SECRET_KEY)


def read_certificates(data: bytes, now: datetime) -> list[Certificate]:
    """Return the certificates of a text or of binary data, in order.

    Raises UnreadableCertificate, also for a private key among them and for a file that is cut.
    """
    if len(data) > MAX_BYTES:
        raise UnreadableCertificate(f"the text has {len(data):,} bytes; OpenPGP certificates are never so long")
    try:
        packets = list(_all_packets(data))
        _refuse_secret(each.tag for each in packets)
        return [_read(group, now) for group in _groups(packets)]
    except Unreadable as error:
        raise UnreadableCertificate(
            f"this is not an OpenPGP certificate that can be used: {error}", hint=AGAIN
        ) from error


AGAIN: Final = "ask for it again, as an attachment: gpg --armor --export NAME"


def _all_packets(data: bytes) -> Iterable[Packet]:
    contents = [data]
    if b"-----BEGIN PGP " in data:
        blocks = list(armour.read_blocks(data))
        if any(kind.startswith("PRIVATE KEY") for kind, _ in blocks):
            _refuse_secret([SECRET_KEY])
        if any(kind != armour.PUBLIC_KEY for kind, _ in blocks):
            raise Unreadable(f"it holds a PGP {next(k for k, _ in blocks if k != armour.PUBLIC_KEY)}")
        contents = [content for _, content in blocks]
    count = 0
    for content in contents:
        for each in read_packets(content):
            count += 1
            if count > MAX_PACKETS:
                raise Unreadable(f"it has more than {MAX_PACKETS:,} packets")
            yield each


def _refuse_secret(tags: Iterable[int]) -> None:
    if any(tag in (SECRET_KEY, SECRET_SUBKEY) for tag in tags):
        raise UnreadableCertificate("it holds an OpenPGP private key", hint=PRIVATE_KEY_HINT)


def _groups(packets: Iterable[Packet]) -> list[list[Packet]]:
    """Cut the packets where a new certificate begins."""
    groups: list[list[Packet]] = []
    for each in packets:
        if each.tag == PUBLIC_KEY:
            groups.append([])
        elif each.tag in _KINDS_BEFORE:
            continue
        if not groups:
            raise Unreadable("it does not begin with a public key")
        groups[-1].append(each)
    if not 1 <= len(groups) <= MAX_CERTIFICATES:
        raise Unreadable(f"it holds {len(groups)} certificates; 1 to {MAX_CERTIFICATES} are read")
    return groups


def _read(group: list[Packet], now: datetime) -> Certificate:
    """Read one certificate: the primary key, then user ids and subkeys, each with the signatures after it."""
    primary = read_key(group[0].body)
    own, parts = _parts(group)
    checks = _Checks(primary, now)
    user_ids, best = [], checks.newest(own, (DIRECT,), primary.hashed)
    proofs = [each for each in own if each.kind == DIRECT]
    for part in parts:
        if part.tag not in (USER_ID, USER_ATTRIBUTE):
            continue
        mark = b"\xb4" if part.tag == USER_ID else b"\xd1"
        what = primary.hashed + mark + len(part.body).to_bytes(4, "big") + part.body
        proof = checks.newest(part.signatures, CERTIFICATIONS, what)
        proofs += [each for each in part.signatures if each.kind in CERTIFICATIONS and each.issuer == primary.key_id]
        if proof is None or checks.is_revoked(part.signatures, USER_ID_REVOCATION, what, since=proof.created):
            continue
        best = _newer(best, proof)
        if part.tag == USER_ID:
            user_ids.append(_shown(part.body))
    return Certificate(
        primary=primary,
        user_ids=tuple(user_ids),
        subkeys=tuple(_subkey(part, checks) for part in parts if part.tag == PUBLIC_SUBKEY and _is_version_4(part)),
        expires=_end(primary, best),
        flags=best.flags if best else None,
        is_proven=best is not None,
        weak_hash=_weak_hash(proofs),
        is_revoked=checks.is_revoked(own, KEY_REVOCATION, primary.hashed),
        packets=tuple(_kept(group, primary)),
    )


def _kept(group: list[Packet], primary: Key) -> Iterator[Packet]:
    """Yield the packets that are worth keeping: no picture, and no certification that names another key as its maker."""
    is_kept = True
    for each in group:
        if each.tag == SIGNATURE:
            signature = read_signature(each.body)
            foreign = signature and signature.kind in CERTIFICATIONS and signature.issuer not in (None, primary.key_id)
            if is_kept and not foreign:
                yield each
        elif each.tag != TRUST:
            is_kept = each.tag != USER_ATTRIBUTE
            if is_kept:
                yield each


def _weak_hash(proofs: list[Signature]) -> str | None:
    """Return the name of a hash that is too weak, when no self-signature has a better one."""
    if not proofs or any(each.hash in HASHES for each in proofs):
        return None
    return HASH_NAMES.get(proofs[0].hash, f"hash {proofs[0].hash}")


def _parts(group: list[Packet]) -> tuple[tuple[Signature, ...], list[_Part]]:
    """Return the signatures of the primary key itself, and the parts after it."""
    collected: list[tuple[int, bytes, list[Signature]]] = [(PUBLIC_KEY, b"", [])]
    for each in group[1:]:
        if each.tag == SIGNATURE:
            if (signature := read_signature(each.body)) is not None:
                collected[-1][2].append(signature)
        elif each.tag in (USER_ID, USER_ATTRIBUTE, PUBLIC_SUBKEY):
            collected.append((each.tag, each.body, []))
        elif each.tag != TRUST:
            raise Unreadable(f"it holds a packet of kind {each.tag}, which no certificate may hold")
    parts = [_Part(tag, body, tuple(signatures)) for tag, body, signatures in collected]
    return parts[0].signatures, parts[1:]


def _is_version_4(part: _Part) -> bool:
    return part.body[:1] == b"\x04"


def _subkey(part: _Part, checks: _Checks) -> Subkey:
    key = read_key(part.body)
    what = checks.primary.hashed + key.hashed
    binding = checks.newest(part.signatures, (BINDING,), what)
    return Subkey(
        key=key,
        expires=_end(key, binding),
        flags=binding.flags if binding else None,
        is_bound=binding is not None,
        is_revoked=checks.is_revoked(part.signatures, SUBKEY_REVOCATION, what),
    )


class _Checks:
    """Verify signatures of one certificate's primary key at one moment; only so many, whatever the certificate holds."""

    def __init__(self, primary: Key, now: datetime) -> None:
        self.primary = primary
        self._now = now
        self._left = MAX_CHECKS

    def newest(self, signatures: Sequence[Signature], kinds: tuple[int, ...], what: bytes) -> Signature | None:
        """Return the newest valid signature of some kinds over `what`."""
        asked = [each for each in signatures if each.kind in kinds and each.counts_at(self._now)]
        for each in sorted(asked, key=_when, reverse=True):
            if self._is_made(each, what):
                return each
        return None

    def is_revoked(
        self, signatures: Sequence[Signature], kind: int, what: bytes, *, since: datetime | None = None
    ) -> bool:
        """Return whether a valid revocation is there: of any date, or for a user id one not older than its newest proof."""
        asked = [each for each in signatures if each.kind == kind and each.created]
        return any((since is None or _when(each) >= since) and self._is_made(each, what) for each in asked)

    def _is_made(self, signature: Signature, what: bytes) -> bool:
        self._left -= 1
        if self._left < 0:
            raise Unreadable(f"it holds more than {MAX_CHECKS} signatures of its own")
        return signature.is_made_by(self.primary, what)


def _when(signature: Signature) -> datetime:
    assert signature.created is not None, "a signature without a time was left out before"
    return signature.created


def _newer(one: Signature | None, other: Signature) -> Signature:
    return one if one is not None and _when(one) > _when(other) else other


def _end(key: Key, signature: Signature | None) -> datetime | None:
    """Return when a key expires: counted from its own creation, not from the signature's."""
    return key.created + signature.key_expires_after if signature and signature.key_expires_after else None


def _shown(body: bytes) -> str:
    """Return a user id for people: printable, in one line, and short."""
    text = body.decode("utf-8", "replace")
    return "".join(each if each.isprintable() else "?" for each in text)[:120] or "(empty)"
