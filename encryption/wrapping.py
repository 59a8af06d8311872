"""A wrapped file key, and unwrapping it with a private key (docs/FORMAT.md, section 4).

Why RSA-OAEP with SHA-256 for both hashes: PKCS#1 v1.5 has been an oracle for 25 years, and openssl, Java, Node and .NET
all have this form. S/MIME files alone may have the old one, for the programs that know no other (section 18). It does NOT make
the file key: sealing.py does, anew for every attempt.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from encryption import canonical
from encryption.errors import InvalidValue
from encryption.rsa_numbers import MAX_BITS, MIN_BITS, OAEP

ALGORITHM: Final = "RSA-OAEP-256"
PKCS1: Final = "RSA1_5"
OPENPGP: Final = "OpenPGP-PKESK"  # the wrapped key is the body of a version 3 PKESK packet
FILE_KEY_BYTES: Final = 32
MAX_RECIPIENTS: Final = 8

SCHEMES: Final[dict[str, padding.AsymmetricPadding]] = {ALGORITHM: OAEP, PKCS1: padding.PKCS1v15()}

_MEMBERS: Final = frozenset({"alg", "kid", "wrapped_key", "x5t#S256"})
_BYTES: Final = {**dict.fromkeys((ALGORITHM, PKCS1), (MIN_BITS // 8, MAX_BITS // 8)), OPENPGP: (64, 12 + MAX_BITS // 8)}


class Receiver(Protocol):
    """For whom a file key is wrapped: an X.509 `Recipient` or an OpenPGP one."""

    @property
    def key_id(self) -> str: ...
    @property
    def thumbprint(self) -> str: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def expires(self) -> datetime | None: ...
    def wrap(self, file_key: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """The file key under one recipient's public key."""

    kid: str
    thumbprint: str
    wrapped_key: bytes = field(repr=False)
    alg: str = ALGORITHM

    def __post_init__(self) -> None:
        if self.alg not in (OPENPGP, PKCS1):
            canonical.constant(self.alg, ALGORITHM, "alg")
        canonical.text(self.kid, canonical.KID, "kid")
        canonical.text(self.thumbprint, canonical.THUMBPRINT, "x5t#S256")
        smallest, largest = _BYTES[self.alg]
        if not smallest <= len(self.wrapped_key) <= largest:
            raise InvalidValue(f"wrapped_key has {len(self.wrapped_key)} bytes; {smallest} to {largest} are allowed")

    def to_json(self) -> dict[str, Any]:
        """Return the recipient as headers and keys.json carry it."""
        wrapped = canonical.write_base64(self.wrapped_key)
        return {"alg": self.alg, "kid": self.kid, "wrapped_key": wrapped, "x5t#S256": self.thumbprint}

    @classmethod
    def from_json(cls, value: object, where: str, algorithm: str = ALGORITHM) -> WrappedKey:
        """Read one recipient strictly."""
        found = canonical.members(value, _MEMBERS, where)
        wrapped = canonical.base64_bytes(found["wrapped_key"], *_BYTES[algorithm], f"{where}.wrapped_key")
        canonical.constant(found["alg"], algorithm, f"{where}.alg")
        try:
            return cls(kid=found["kid"], thumbprint=found["x5t#S256"], wrapped_key=wrapped, alg=found["alg"])
        except InvalidValue as error:
            raise InvalidValue(f"{where}.{error}") from error


def algorithms_of(format: str) -> tuple[str, ...]:  # noqa: A002  # the field's word
    """Return how the file key of a format may be wrapped."""
    return {"openpgp": (OPENPGP,), "smime": (PKCS1, ALGORITHM)}.get(format, (ALGORITHM,))


def read_recipients(value: object, where: str, algorithms: tuple[str, ...] = (ALGORITHM,)) -> tuple[WrappedKey, ...]:
    """Read an array of 1 to 8 recipients, none of them twice, all wrapped in the same of these ways."""
    found = canonical.items(value, 1, MAX_RECIPIENTS, where)
    first = found[0].get("alg") if isinstance(found[0], dict) else None
    algorithm = first if first in algorithms else algorithms[0]
    wrapped = tuple(WrappedKey.from_json(each, f"{where}[{index}]", algorithm) for index, each in enumerate(found))
    if len({each.thumbprint for each in wrapped}) != len(wrapped):
        raise InvalidValue(f"{where} names a certificate twice")
    return wrapped


def wrap_for_all(file_key: bytes, recipients: Iterable[Receiver]) -> tuple[WrappedKey, ...]:
    """Wrap the file key once for every recipient; the order is kept, a certificate given twice is wrapped once."""
    chosen = list({each.thumbprint: each for each in recipients}.values())
    if not 1 <= len(chosen) <= MAX_RECIPIENTS:
        raise InvalidValue(f"{len(chosen)} recipients were given; 1 to {MAX_RECIPIENTS} are allowed")
    return tuple(
        WrappedKey(kid=each.key_id, thumbprint=each.thumbprint, wrapped_key=each.wrap(file_key), alg=each.algorithm)
        for each in chosen
    )


def unwrap(
    wrapped_keys: Iterable[bytes], private_key: RSAPrivateKey, scheme: padding.AsymmetricPadding = OAEP
) -> bytes:
    """Return the file key, or 32 random bytes when this private key unwraps none.

    With random bytes the opening fails later, at the same place and with the same error as for a changed file, so
    nobody who can watch an opener learns whether an RSA padding was right.
    """
    fitting = [each for each in wrapped_keys if len(each) == (private_key.key_size + 7) // 8]
    if scheme is SCHEMES[PKCS1] and len(fitting) > 1:
        fitting = [each for each in fitting if _is_padded_for(each, private_key)]
    for wrapped in fitting:
        try:
            file_key = private_key.decrypt(wrapped, scheme)
        except ValueError:
            continue
        if len(file_key) == FILE_KEY_BYTES:
            return file_key
    return os.urandom(FILE_KEY_BYTES)


def _is_padded_for(wrapped: bytes, private_key: RSAPrivateKey) -> bool:
    """Return whether a PKCS#1 v1.5 block of a file key is for this private key.

    OpenSSL answers a block for another key with a made-up message (implicit rejection), which has 32 bytes once in 500 times:
    of several recipients the wrong one would be taken. So the padding is looked at by hand, blinded, as a reader may only do
    when the bytes of the file were proven before (docs/FORMAT.md, section 18).
    """
    numbers = private_key.private_numbers()
    n, e = numbers.public_numbers.n, numbers.public_numbers.e
    blinding = secrets.randbelow(n - 2) + 2
    hidden = int.from_bytes(wrapped, "big") * pow(blinding, e, n) % n
    left, right = pow(hidden, numbers.dmp1, numbers.p), pow(hidden, numbers.dmq1, numbers.q)
    opened = (right + numbers.q * (numbers.iqmp * (left - right) % numbers.p)) * pow(blinding, -1, n) % n
    block = opened.to_bytes(len(wrapped), "big")
    end = len(block) - FILE_KEY_BYTES - 1
    return block.startswith(b"\0\2") and block.find(b"\0", 2) == end
