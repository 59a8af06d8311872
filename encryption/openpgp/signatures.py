"""OpenPGP signatures of version 4: reading what a certificate holds, making what a message and our own certificate need
(RFC 4880, section 5.2; RFC 9580, section 5.2).

A `Signature` is what its bytes say; `is_made_by` checks whether they are true. A subpacket is believed only when it is
hashed. A critical one that is not known here makes the signature invalid, as the standard wants. SHA-1 is verified for
revocations only: refusing to believe a revocation would be the unsafe side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives import hashes

from encryption.openpgp.keys import HASHES, RSA, SHA1, Key
from encryption.openpgp.packets import ONE_PASS, SIGNATURE, Reader, Unreadable, length, number, packet

BINARY, CERTIFICATIONS, BINDING, DIRECT = 0x00, (0x10, 0x11, 0x12, 0x13), 0x18, 0x1F
KEY_REVOCATION, SUBKEY_REVOCATION, USER_ID_REVOCATION = 0x20, 0x28, 0x30
REVOCATIONS: Final = (KEY_REVOCATION, SUBKEY_REVOCATION, USER_ID_REVOCATION)
CERTIFY, SIGN, ENCRYPT = 0x01, 0x02, 0x0C

_CREATED, _EXPIRES, _KEY_EXPIRES, _ISSUER, _FLAGS, _ISSUER_FINGERPRINT = 2, 3, 9, 16, 27, 33
# May be critical without harm: what they say is used, or does not matter when one only encrypts.
_KNOWN: Final = frozenset({2, 3, 4, 5, 7, 9, 11, 12, 16, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35})
_SHA256: Final = 8

# The exact signer of a digest: 32 bytes of SHA-256 in, a PKCS#1 v1.5 signature out.
SignDigest = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature packet says; times are None where it has none."""

    kind: int
    algorithm: int
    hash: int
    created: datetime | None
    expires_after: timedelta | None
    key_expires_after: timedelta | None
    flags: int | None
    issuer: bytes | None  # the key id that it names; anybody may have written that
    understood: bool
    trailer: bytes
    start_of_hash: bytes
    value: tuple[int, ...]

    def is_made_by(self, key: Key, what: bytes) -> bool:
        """Return whether `key` made this signature over `what`; never for a hash that is too weak, but see the module."""
        algorithm = HASHES.get(self.hash)
        if self.hash == SHA1 and self.kind in REVOCATIONS:
            algorithm = hashes.SHA1()  # noqa: S303  # see the module's docstring
        if algorithm is None:
            return False
        digest = hashlib.new(algorithm.name, what + self.trailer, usedforsecurity=False).digest()
        return digest[:2] == self.start_of_hash and key.verifies(self.value, digest, algorithm)

    def counts_at(self, now: datetime) -> bool:
        """Return whether the signature's own times allow to believe it, and nothing in it is beyond us."""
        if self.created is None or self.created > now or not self.understood:
            return False
        return self.expires_after is None or now < self.created + self.expires_after


def read_signature(body: bytes) -> Signature | None:
    """Read the body of a signature packet; None for another version. Raises Unreadable."""
    reader = Reader(body)
    if reader.integer(1) != 4:
        return None
    kind, algorithm, digest = reader.integer(1), reader.integer(1), reader.integer(1)
    hashed = reader.take(reader.integer(2))
    unhashed = reader.take(reader.integer(2))  # anybody may have put these there: only the issuer is looked for in them
    start_of_hash = reader.take(2)
    value: list[int] = []
    if algorithm in (RSA, 3, 17, 19, 22):
        while not reader.is_empty:
            value.append(reader.number())
    found, understood = _read_subpackets(hashed)
    issuer = _issuer(found) or _issuer(_read_subpackets(unhashed)[0])
    trailer = body[: 6 + len(hashed)]
    return Signature(
        kind=kind,
        algorithm=algorithm,
        hash=digest,
        created=_time(found.get(_CREATED)),
        expires_after=_span(found.get(_EXPIRES)),
        key_expires_after=_span(found.get(_KEY_EXPIRES)),
        flags=found[_FLAGS][0] if found.get(_FLAGS) else None,
        issuer=issuer,
        understood=understood,
        trailer=trailer + b"\x04\xff" + len(trailer).to_bytes(4, "big"),
        start_of_hash=start_of_hash,
        value=tuple(value),
    )


def _read_subpackets(data: bytes) -> tuple[dict[int, bytes], bool]:
    """Return the subpackets by kind, the first of each, and whether every critical one is known."""
    reader, found, understood = Reader(data), dict[int, bytes](), True
    while not reader.is_empty:
        content = reader.take(reader.subpacket_length())
        if not content:
            raise Unreadable("a signature has a subpacket without a kind")
        kind = content[0] & 0x7F
        understood = understood and (content[0] < 0x80 or (kind in _KNOWN and kind != 20))
        found.setdefault(kind, content[1:])
    return found, understood


def _issuer(found: dict[int, bytes]) -> bytes | None:
    return found.get(_ISSUER) or found.get(_ISSUER_FINGERPRINT, b"")[-8:] or None


def _time(content: bytes | None) -> datetime | None:
    return datetime.fromtimestamp(int.from_bytes(content, "big"), UTC) if content and len(content) == 4 else None


def _span(content: bytes | None) -> timedelta | None:
    """Return a time span; none and zero both mean without end."""
    seconds = int.from_bytes(content, "big") if content and len(content) == 4 else 0
    return timedelta(seconds=seconds) if seconds else None


@dataclass(frozen=True, slots=True)
class Signer:
    """A key of ours that makes signatures; the private half is wherever `sign_digest` has it."""

    key: Key
    sign_digest: SignDigest

    def one_pass(self) -> bytes:
        """Return the packet before the data that says which signature comes after it."""
        return packet(ONE_PASS, bytes([3, BINARY, _SHA256, RSA]), self.key.key_id, b"\x01")

    def sign(self, hashed: hashlib._Hash, kind: int, created: datetime, *subpackets: bytes) -> bytes:
        """Return the signature packet over what was hashed by SHA-256 so far, with more hashed subpackets."""
        moment = int(created.timestamp()).to_bytes(4, "big")
        issuer = b"\x04" + self.key.fingerprint
        inside = b"".join([subpacket(_CREATED, moment), subpacket(_ISSUER_FINGERPRINT, issuer), *subpackets])
        head = bytes([4, kind, RSA, _SHA256]) + len(inside).to_bytes(2, "big") + inside
        hashed.update(head + b"\x04\xff" + len(head).to_bytes(4, "big"))
        digest = hashed.digest()
        outside = subpacket(_ISSUER, self.key.key_id)
        value = number(int.from_bytes(self.sign_digest(digest), "big"))
        return packet(SIGNATURE, head, len(outside).to_bytes(2, "big"), outside, digest[:2], value)


def subpacket(kind: int, content: bytes) -> bytes:
    """Return one subpacket of a signature."""
    return length(1 + len(content)) + bytes([kind]) + content
