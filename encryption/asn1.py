"""What the CMS formats are made of: DER elements, BER of a length that is not known yet, and reading both (X.690).

It does NOT know what an element means: cms.py, smime.py and signed_data.py do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography import x509

from encryption.errors import MalformedHeader

INTEGER, BITS, OCTETS, NULL, OID, UTF8 = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C
UTC_TIME, LONG_TIME, SEQUENCE, SET, OCTETS_IN_PARTS = 0x17, 0x18, 0x30, 0x31, 0x24
EXPLICIT_0, EXPLICIT_1, EXPLICIT_3, CONTENT, CONTENT_IN_PARTS = 0xA0, 0xA1, 0xA3, 0x80, 0xA0

SEGMENT_BYTES: Final = 65_536  # of content in each OCTET STRING but the last
_SEGMENT_HEAD: Final = b"\x04\x83\x01\x00\x00"
END: Final = b"\0\0"  # of an element that began by `open_element`


def tlv(tag: int, *parts: bytes) -> bytes:
    """Return one DER element."""
    body = b"".join(parts)
    return head(tag, len(body)) + body


def head(tag: int, length: int) -> bytes:
    """Return tag and length, in as few bytes as they take."""
    if length < 0x80:
        return bytes([tag, length])
    encoded = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(encoded)]) + encoded


def open_element(tag: int) -> bytes:
    """Return the start of an element that lasts until its END."""
    return bytes([tag, 0x80])


def oid(hexadecimal: str) -> bytes:
    """Return an object identifier, given its content."""
    return tlv(OID, bytes.fromhex(hexadecimal))


ZERO: Final = tlv(INTEGER, b"\0")
ONE: Final = tlv(INTEGER, b"\1")
NOTHING: Final = tlv(NULL)
DATA: Final = oid("2a864886f70d010701")
SHA256: Final = oid("608648016503040201")
SHA256_ALGORITHM: Final = tlv(SEQUENCE, SHA256, NOTHING)
RSA_ENCRYPTION: Final = tlv(SEQUENCE, oid("2a864886f70d010101"), NOTHING)


class Segments:
    """Cut a stream into OCTET STRINGs of SEGMENT_BYTES; the last one may be shorter. Of nothing there is one that is empty."""

    def __init__(self) -> None:
        self._waiting = b""
        self._is_begun = False

    def update(self, data: bytes | memoryview) -> bytes:
        """Return the segments that are whole by now."""
        if not self._waiting and len(data) == SEGMENT_BYTES:  # as most pieces are
            self._is_begun = True
            return _SEGMENT_HEAD + data
        data, made = self._waiting + data, []
        whole = len(data) - len(data) % SEGMENT_BYTES
        for start in range(0, whole, SEGMENT_BYTES):
            made += [_SEGMENT_HEAD, data[start : start + SEGMENT_BYTES]]
        self._waiting = data[whole:]
        self._is_begun |= whole > 0
        return b"".join(made)

    def finish(self) -> bytes:
        """Return the last segment."""
        return b"" if self._is_begun and not self._waiting else tlv(OCTETS, self._waiting)


def element(data: bytes, position: int) -> tuple[int, bytes, int]:
    """Return tag, content and the position after an element that is whole in memory; IndexError when it does not."""
    tag, first = data[position], data[position + 1]
    start = position + 2
    if first & 0x80:
        start += first & 0x7F
        length = int.from_bytes(data[position + 2 : start], "big")
    else:
        length = first
    if start + length > len(data):
        raise IndexError(start)
    return tag, data[start : start + length], start + length


def issuer_and_serial(certificate: x509.Certificate) -> bytes:
    """Return what names a certificate: its issuer and serial number, byte for byte as it has them."""
    _, tbs, _ = element(certificate.tbs_certificate_bytes, 0)
    position = 0
    tag, _, end = element(tbs, 0)
    if tag == EXPLICIT_0:  # the version, left out by version 1 certificates
        position = end
    start_of_serial = position
    _, _, end_of_serial = element(tbs, start_of_serial)
    _, _, start_of_issuer = element(tbs, end_of_serial)  # between them stands the signature's algorithm
    _, _, end_of_issuer = element(tbs, start_of_issuer)
    return tlv(SEQUENCE, tbs[start_of_issuer:end_of_issuer], tbs[start_of_serial:end_of_serial])


class Front:
    """Read the elements at the front of a stream; `read(n)` returns n bytes, or fewer at its end. Raises MalformedHeader.

    `consumed` is all that was read, so that a caller can write the same again and compare.
    """

    def __init__(self, read: Callable[[int], bytes], kind: str, largest: int) -> None:
        self._read, self._kind, self._largest = read, kind, largest
        self.consumed = bytearray()

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        piece = self._read(count)
        if len(piece) != count:
            raise MalformedHeader(f"the {self._kind} file ends before its ciphertext begins")
        self.consumed.extend(piece)
        return piece

    def open_element(self, tag: int) -> None:
        """Enter an element of indefinite length."""
        found = self.take(2)
        if found != open_element(tag):
            raise MalformedHeader(
                f"this is not {self._kind} as Sealift writes it: {found.hex(' ')} stands where {tag:02x} 80 belongs"
            )

    def enter(self, tag: int, largest: int | None = None) -> int:
        """Enter an element of definite length and return that."""
        found, first = self.take(2)
        if found != tag:
            raise MalformedHeader(
                f"this is not {self._kind} as Sealift writes it: tag {found:#04x} stands where {tag:#04x} belongs"
            )
        if first > 0x84 or first == 0x80:
            raise MalformedHeader(f"this is not {self._kind} as Sealift writes it: DER with definite lengths is wanted")
        length = int.from_bytes(self.take(first & 0x7F), "big") if first & 0x80 else first
        allowed = self._largest if largest is None else largest
        if length > allowed:
            raise MalformedHeader(
                f"an element of the {self._kind} file claims {length:,} bytes; {allowed:,} are allowed"
            )
        return length
