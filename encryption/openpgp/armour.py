"""ASCII armour: reading and writing it, with its checksum (RFC 4880, section 6; docs/FORMAT.md, section 17).

Reading takes armour as mail programs leave it: text around it, several blocks, several headers, other line ends. A checksum
that is there must be right; RFC 9580 lets it be absent. Writing makes lines of 64 characters and always a checksum.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final

from encryption.base64_lines import Lines
from encryption.openpgp.packets import Unreadable

MESSAGE: Final = "MESSAGE"
PUBLIC_KEY: Final = "PUBLIC KEY BLOCK"
_CRC_START: Final = 0xB704CE
_CRC_POLYNOMIAL: Final = 0x1864CFB
_BLOCK: Final = re.compile(rb"-----BEGIN PGP ([A-Z0-9 ,/]{1,40})-----[ \t]*\r?\n(.*?)-----END PGP \1-----", re.DOTALL)
_HEADER: Final = re.compile(rb"[A-Za-z][A-Za-z-]{0,39}: ?.*")


def _make_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 16
        for _ in range(8):
            value = value << 1 ^ (_CRC_POLYNOMIAL if value & 0x800000 else 0)
        table.append(value)
    return tuple(table)


_TABLE: Final = _make_table()
# x^3826 = x^24 + x + 1 modulo the polynomial, and so for every power of 2 in place of x. Folding a large number by this takes
# a few shifts of the whole of it; a loop over its bytes takes 20 times as long.
_FOLD_BITS, _FOLD_TO = 3826, 24


def crc24(data: bytes | memoryview, state: int = _CRC_START) -> int:
    """Return the checksum after `data`, from the state before it."""
    value = state << 8 * len(data) ^ int.from_bytes(data, "big") << 24
    factor = 1 << max(0, (value.bit_length() // _FOLD_BITS).bit_length() - 1)
    while factor:
        while high := value >> _FOLD_BITS * factor:
            value = value & (1 << _FOLD_BITS * factor) - 1 ^ high << _FOLD_TO * factor ^ high << factor ^ high
        factor >>= 1
    # Small by now: below 480 bytes.
    state = 0
    for byte in value.to_bytes((value.bit_length() + 7) // 8, "big"):
        # A number, not a message: what leaves at the top comes back in reduced form, and the byte enters at the bottom.
        state = (state << 8 & 0xFFFFFF | byte) ^ _TABLE[state >> 16]
    return state


class Armour:
    """Write armour around bytes that come in pieces."""

    def __init__(self, kind: str) -> None:
        self._kind = kind.encode()
        self._head = b"-----BEGIN PGP " + self._kind + b"-----\n\n"
        self._lines = Lines()
        self._crc = _CRC_START

    def update(self, piece: bytes) -> bytes:
        """Return the lines that are whole by now."""
        self._crc = crc24(piece, self._crc)
        head, self._head = self._head, b""
        return head + self._lines.update(piece)

    def finish(self) -> bytes:
        """Return what is left, the checksum and the last line."""
        head, self._head = self._head, b""
        checksum = b"=" + base64.b64encode(self._crc.to_bytes(3, "big")) + b"\n"
        return head + self._lines.finish() + checksum + b"-----END PGP " + self._kind + b"-----\n"


def armoured(kind: str, data: bytes) -> bytes:
    """Return the armour around some bytes."""
    armour = Armour(kind)
    return armour.update(data) + armour.finish()


def read_blocks(text: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield kind and content of every block of a text. Raises Unreadable for a block that is cut or damaged."""
    begun = text.count(b"-----BEGIN PGP ")
    blocks = _BLOCK.findall(text)
    if len(blocks) != begun:
        raise Unreadable("its armour is cut or damaged")
    for kind, inner in blocks:
        yield kind.decode(), _read_block(inner)


def _read_block(inner: bytes) -> bytes:
    lines = [line.strip() for line in inner.splitlines()]
    while lines and _HEADER.fullmatch(lines[0]):
        del lines[0]
    lines = [line for line in lines if line]
    checksum = lines.pop() if lines and len(lines[-1]) == 5 and lines[-1].startswith(b"=") else None
    try:
        data = base64.b64decode(b"".join(lines), validate=True)
        expected = checksum and base64.b64decode(checksum[1:], validate=True)
    except binascii.Error:
        raise Unreadable("its armour is damaged: it is not base64") from None
    if expected is not None and crc24(data).to_bytes(3, "big") != expected:
        raise Unreadable("its armour is damaged: the checksum differs")
    return data
