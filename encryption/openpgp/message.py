"""Write one OpenPGP message: encrypted, signed, compressed if wished, in armour if wished (docs/FORMAT.md, section 17).

Everything streams: a piece goes in, its framed and encrypted form comes out, and no more than one part of 64 KiB waits
anywhere. The signature comes after the last byte, inside the encryption: one call to the holder of the signing key. It does
NOT make the session key and never sees the file's name in any other role than the literal packet's.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from encryption.openpgp import armour
from encryption.openpgp.keys import pkesk
from encryption.openpgp.packets import COMPRESSED, LITERAL, SEIPD, Parts
from encryption.openpgp.signatures import BINARY, Signer

_BLOCK_BYTES: Final = 16
_STEP_BYTES: Final = 32 * 1024  # measured: hashed and encrypted while it is in the fastest cache
_MDC_HEAD: Final = b"\xd3\x14"
_ZLIB: Final = b"\x02"

Stage = tuple[Callable[[bytes | memoryview], bytes], Callable[[], bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPgp:
    """How a partner wants OpenPGP files; what is not said is as most partners take it, but unsigned."""

    signer: Signer | None = None
    armour: bool = False
    compress: bool = False
    extension: str = ".pgp"


class Message:
    """One message being written: `head`, then `update` for each piece, then `finish`."""

    def __init__(
        self, session_key: bytes, wrapped_keys: Iterable[bytes], name: str, created: datetime, options: OpenPgp
    ) -> None:
        self._options = options
        self._created = created
        self._signed = hashlib.sha256() if options.signer else None
        self._literal = Parts(LITERAL)
        encoded = name.encode()
        head = b"b" + bytes([len(encoded)]) + encoded + int(created.timestamp()).to_bytes(4, "big")
        self._inner = _compressing() if options.compress else (bytes, bytes)
        self._outer = _Encryption(session_key)
        self._armour = armour.Armour(armour.MESSAGE) if options.armour else None
        self.head = self._out(b"".join(pkesk(each) for each in wrapped_keys) + self._outer.head)
        before = options.signer.one_pass() if options.signer else b""
        self.head += self._inside(before + self._literal.update(head))

    def update(self, piece: bytes | memoryview) -> bytes:
        """Return the next bytes of the message."""
        if self._signed:
            self._signed.update(piece)
        return self._inside(self._literal.update(piece))

    def finish(self) -> bytes:
        """Return the last bytes: what waits, the signature, the integrity check. Raises what the signer raises."""
        after = b""
        if self._options.signer and self._signed:
            after = self._options.signer.sign(self._signed, BINARY, self._created)
        last = self._inside(self._literal.finish() + after)
        last += self._out(self._outer.update(self._inner[1]()) + self._outer.finish())
        return last + (self._armour.finish() if self._armour else b"")

    def _inside(self, data: bytes) -> bytes:
        """Take bytes of the encrypted packet's content through compression and encryption."""
        return self._out(self._outer.update(self._inner[0](data)))

    def _out(self, data: bytes) -> bytes:
        return self._armour.update(data) if self._armour else data


def _compressing() -> Stage:
    """Return a compressed data packet as a stage: zlib at its default level, as gpg writes it."""
    parts, stream = Parts(COMPRESSED), zlib.compressobj()
    waiting = [_ZLIB]

    def update(data: bytes | memoryview) -> bytes:
        first = waiting.pop() if waiting else b""
        return parts.update(first + stream.compress(data))

    return update, lambda: parts.update(stream.flush()) + parts.finish()


class _Encryption:
    """An encrypted packet with integrity protection, version 1: AES-256 in CFB, and SHA-1 over what was encrypted.

    The first 16 bytes are random and the next two repeat the last of them, so the zero IV never meets the same block twice.
    """

    def __init__(self, session_key: bytes) -> None:
        self._parts = Parts(SEIPD)
        self._hash = hashlib.sha1(usedforsecurity=False)
        self._cipher = Cipher(algorithms.AES(session_key), CFB(bytes(_BLOCK_BYTES))).encryptor()
        prefix = os.urandom(_BLOCK_BYTES)
        self.head = self._parts.update(b"\x01")
        self.head += self.update(prefix + prefix[-2:])

    def update(self, data: bytes) -> bytes:
        """Return what is ready of the packet after more content."""
        made, view = [], memoryview(data)
        for start in range(0, len(view), _STEP_BYTES):
            step = view[start : start + _STEP_BYTES]
            self._hash.update(step)
            made.append(self._cipher.update(step))
        return self._parts.update(made[0] if len(made) == 1 else b"".join(made))

    def finish(self) -> bytes:
        """Return the rest of the packet, with the hash over all content and its own head."""
        self._hash.update(_MDC_HEAD)
        last = self._parts.update(self._cipher.update(_MDC_HEAD + self._hash.digest()) + self._cipher.finalize())
        return last + self._parts.finish()
