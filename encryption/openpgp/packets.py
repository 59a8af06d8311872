"""OpenPGP packets: frames, lengths, numbers (RFC 4880, section 4; RFC 9580, section 4; docs/FORMAT.md, section 17).

Reading takes whole packets out of memory, in old and new framing; a packet with a partial or indeterminate length is
refused, because only data packets have one and certificates hold none. Writing makes new framing only: definite lengths, or
partial ones of 64 KiB for a packet whose end is not known yet. It does NOT know what a packet means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from encryption.errors import MalformedHeader

PKESK, SIGNATURE, ONE_PASS, SECRET_KEY, PUBLIC_KEY, SECRET_SUBKEY = 1, 2, 4, 5, 6, 7
COMPRESSED, MARKER, LITERAL, TRUST, USER_ID, PUBLIC_SUBKEY = 8, 10, 11, 12, 13, 14
USER_ATTRIBUTE, SEIPD, MDC, PADDING = 17, 18, 19, 21

PART_BYTES: Final = 64 * 1024
_PART_HEAD: Final = bytes([0xE0 | (PART_BYTES.bit_length() - 1)])


class Unreadable(ValueError):
    """Bytes that are not OpenPGP; the text says why. A caller that reads for a person makes it an error with a hint."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One whole packet."""

    tag: int
    body: bytes


def packet(tag: int, *parts: bytes) -> bytes:
    """Return one packet with a definite length."""
    body = b"".join(parts)
    return bytes([0xC0 | tag]) + length(len(body)) + body


def length(size: int) -> bytes:
    """Return a definite length in as few bytes as it takes (RFC 9580, section 4.2.1)."""
    if size < 192:
        return bytes([size])
    if size < 8384:
        return bytes([192 + (size - 192 >> 8), size - 192 & 0xFF])
    return b"\xff" + size.to_bytes(4, "big")


def number(value: int) -> bytes:
    """Return a multiprecision integer: its length in bits, then its bytes."""
    return value.bit_length().to_bytes(2, "big") + value.to_bytes((value.bit_length() + 7) // 8, "big")


class Reader:
    """Take values from the front of some bytes; asking for more than there is raises Unreadable."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def is_empty(self) -> bool:
        """Return whether every byte was taken."""
        return self._position == len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if count > len(self._data) - self._position:
            raise Unreadable("it is cut: a length goes beyond its end")
        self._position += count
        return self._data[self._position - count : self._position]

    def integer(self, count: int) -> int:
        """Return the next `count` bytes as a number."""
        return int.from_bytes(self.take(count), "big")

    def number(self) -> int:
        """Return a multiprecision integer."""
        return self.integer((self.integer(2) + 7) // 8)

    def definite_length(self) -> int:
        """Return a length in the form that packets in new framing and subpackets share."""
        first = self.integer(1)
        if first < 192:
            return first
        if first == 255:
            return self.integer(4)
        if first < 224:
            return (first - 192 << 8) + self.integer(1) + 192
        raise Unreadable("a packet has a partial length")

    def subpacket_length(self) -> int:
        """Return the length of a subpacket: as that of a packet, but with no partial form."""
        first = self.integer(1)
        if first < 192:
            return first
        return self.integer(4) if first == 255 else (first - 192 << 8) + self.integer(1) + 192


def read_packets(data: bytes) -> Iterator[Packet]:
    """Yield the packets of some bytes. Raises Unreadable where they are cut, or no packets at all."""
    reader = Reader(data)
    while not reader.is_empty:
        first = reader.integer(1)
        if not first & 0x80:
            raise Unreadable("it is not made of OpenPGP packets")
        if first & 0x40:
            yield Packet(first & 0x3F, reader.take(reader.definite_length()))
        elif first & 3 == 3:
            raise Unreadable("a packet has no length")
        else:
            yield Packet(first >> 2 & 0x0F, reader.take(reader.integer(1 << (first & 3))))


class Parts:
    """Frame a packet whose size is not known yet: parts of 64 KiB, and a last one with a definite length.

    A body below 64 KiB is one packet with a definite length, so the first part always has the 512 bytes that RFC 9580 wants.
    """

    def __init__(self, tag: int) -> None:
        self._head = bytes([0xC0 | tag])
        self._waiting: list[bytes | memoryview] = []
        self._waiting_bytes = 0

    def update(self, piece: bytes | memoryview) -> bytes:
        """Take a piece of the body; return the whole parts that it makes."""
        made: list[bytes | memoryview] = []
        view = memoryview(piece)
        while self._waiting_bytes + len(view) >= PART_BYTES:
            end = PART_BYTES - self._waiting_bytes
            made += [self._head, _PART_HEAD, *self._waiting, view[:end]]
            self._head, self._waiting, self._waiting_bytes = b"", [], 0
            view = view[end:]
        if len(view):
            self._waiting.append(view)
            self._waiting_bytes += len(view)
        return b"".join(made)

    def finish(self) -> bytes:
        """Return the last part."""
        return b"".join([self._head, length(self._waiting_bytes), *self._waiting])


@dataclass(frozen=True, slots=True)
class SealedMessage:
    """What can be seen of a message without a key."""

    key_ids: tuple[tuple[str, int], ...]  # key id in hex and public key algorithm, one for each recipient
    head_bytes: int  # where the encrypted packet begins


def read_message(read: Callable[[int], bytes]) -> SealedMessage:
    """Read a binary message up to its encrypted packet; `read(n)` returns n bytes, or fewer at the end.

    Raises MalformedHeader for anything but version 3 PKESK packets and a version 1 SEIPD packet after them.
    """
    recipients: list[tuple[str, int]] = []
    consumed = 0

    def take(count: int) -> bytes:
        nonlocal consumed
        piece = read(count)
        if len(piece) != count:
            raise MalformedHeader("the OpenPGP file ends before its encrypted packet")
        consumed += count
        return piece

    while True:
        start, first = consumed, take(1)[0]
        if first == 0xC0 | SEIPD:
            _read_start_of_seipd(take)
            if not recipients:
                raise MalformedHeader("the OpenPGP file names no recipient")
            return SealedMessage(tuple(recipients), start)
        if first != 0xC0 | PKESK or len(recipients) == 8:
            raise MalformedHeader("this is not OpenPGP as Sealift writes it: key packets, then an encrypted packet")
        size = take(1)[0]
        if size >= 192:
            size = (size - 192 << 8) + take(1)[0] + 192
        body = take(size)
        if size < 10 or body[0] != 3:
            raise MalformedHeader(f"a key packet of the OpenPGP file has version {body[:1].hex() or 'none'}, not 3")
        recipients.append((body[1:9].hex().upper(), body[9]))


def _read_start_of_seipd(take: Callable[[int], bytes]) -> None:
    first = take(1)[0]
    take({True: 1, False: 0}[192 <= first < 224] if first != 255 else 4)
    if take(1)[0] != 1:
        raise MalformedHeader("the encrypted packet of the OpenPGP file is not of version 1")
