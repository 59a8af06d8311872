"""The bytes of a CMS AuthEnvelopedData around a ciphertext, in DER (RFC 5083, 5084, 5652; docs/FORMAT.md, section 7).

The plaintext's size is known before the first byte and GCM adds none, so every length can be definite and the whole
structure before the ciphertext is written at once. Reading is strict by writing: what was read is written again, and
must be the same bytes. It does NOT encrypt, and reads no more of X.509 than issuer and serial number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from encryption.errors import InvalidValue, MalformedHeader
from encryption.rsa_numbers import MAX_BITS, MIN_BITS
from encryption.wrapping import MAX_RECIPIENTS

MAX_PLAINTEXT_BYTES: Final = 2**30
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
MAX_RECIPIENTS_BYTES: Final = 65_536

INTEGER, OCTETS, OID, SEQUENCE, SET, EXPLICIT_0, EXPLICIT_1, CONTENT = 0x02, 0x04, 0x06, 0x30, 0x31, 0xA0, 0xA1, 0x80

MAC_HEAD: Final = bytes([OCTETS, TAG_BYTES])


def tlv(tag: int, *parts: bytes) -> bytes:
    """Return one DER element."""
    body = b"".join(parts)
    return _head(tag, len(body)) + body


def _head(tag: int, length: int) -> bytes:
    if length < 0x80:
        return bytes([tag, length])
    encoded = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(encoded)]) + encoded


_ZERO: Final = tlv(INTEGER, b"\0")
_DATA: Final = tlv(OID, bytes.fromhex("2a864886f70d010701"))
_AUTH_ENVELOPED_DATA: Final = tlv(OID, bytes.fromhex("2a864886f70d0109100117"))
_AES_256_GCM: Final = tlv(OID, bytes.fromhex("60864801650304012e"))
_RSAES_OAEP: Final = tlv(OID, bytes.fromhex("2a864886f70d010107"))
_MGF1: Final = tlv(OID, bytes.fromhex("2a864886f70d010108"))
_SHA256: Final = tlv(OID, bytes.fromhex("608648016503040201"))


def _oaep(null: bytes) -> bytes:
    sha256 = tlv(SEQUENCE, _SHA256, null)
    mgf1 = tlv(SEQUENCE, _MGF1, sha256)
    return tlv(SEQUENCE, _RSAES_OAEP, tlv(SEQUENCE, tlv(EXPLICIT_0, sha256), tlv(EXPLICIT_1, mgf1)))


_OAEP_SHA256: Final = _oaep(b"\x05\0")
_ACCEPTED_OAEP: Final = (_OAEP_SHA256, _oaep(b""))  # RFC 4055 lets a writer leave the NULL out, as openssl does


def recipient_info(certificate: x509.Certificate, wrapped_key: bytes) -> bytes:
    """Return a KeyTransRecipientInfo that names the certificate by issuer and serial number, as it does."""
    _, tbs, _ = _element(certificate.tbs_certificate_bytes, 0)
    position = 0
    tag, _, end = _element(tbs, 0)
    if tag == EXPLICIT_0:  # the version, left out by version 1 certificates
        position = end
    start_of_serial = position
    _, _, end_of_serial = _element(tbs, start_of_serial)
    _, _, start_of_issuer = _element(tbs, end_of_serial)  # between them stands the signature's algorithm
    _, _, end_of_issuer = _element(tbs, start_of_issuer)
    serial, issuer = tbs[start_of_serial:end_of_serial], tbs[start_of_issuer:end_of_issuer]
    return _recipient_info(issuer + serial, _OAEP_SHA256, wrapped_key)


def _recipient_info(issuer_and_serial: bytes, algorithm: bytes, wrapped_key: bytes) -> bytes:
    return tlv(SEQUENCE, _ZERO, tlv(SEQUENCE, issuer_and_serial), algorithm, tlv(OCTETS, wrapped_key))


def envelope_head(recipient_infos: Iterable[bytes], nonce: bytes, plaintext_bytes: int) -> bytes:
    """Return everything before the ciphertext; after it come MAC_HEAD and the tag.

    Raises InvalidValue for recipients that no reader would take: their certificates may name an issuer of any length.
    """
    infos = b"".join(sorted(recipient_infos))
    if len(infos) > MAX_RECIPIENTS_BYTES:
        raise InvalidValue(
            f"the recipients take {len(infos):,} bytes in a CMS file; {MAX_RECIPIENTS_BYTES:,} are the most",
            hint="ask the partner for a certificate with a shorter issuer, or choose the format native for this feed",
        )
    return _envelope_head(infos, nonce, plaintext_bytes)


def _envelope_head(recipient_infos: bytes, nonce: bytes, plaintext_bytes: int) -> bytes:
    algorithm = tlv(SEQUENCE, _AES_256_GCM, tlv(SEQUENCE, tlv(OCTETS, nonce), tlv(INTEGER, bytes([TAG_BYTES]))))
    parts = _DATA + algorithm + _head(CONTENT, plaintext_bytes)
    parts = _head(SEQUENCE, len(parts) + plaintext_bytes) + parts
    parts = _ZERO + tlv(SET, recipient_infos) + parts
    rest = plaintext_bytes + len(MAC_HEAD) + TAG_BYTES
    parts = _head(SEQUENCE, len(parts) + rest) + parts
    parts = _AUTH_ENVELOPED_DATA + _head(EXPLICIT_0, len(parts) + rest) + parts
    return _head(SEQUENCE, len(parts) + rest) + parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What stands before the ciphertext of a CMS file."""

    wrapped_keys: tuple[bytes, ...]
    nonce: bytes
    plaintext_bytes: int


def read_envelope(read: Callable[[int], bytes]) -> Envelope:
    """Read up to the first byte of ciphertext; `read(n)` returns n bytes, or fewer at the end of the file."""
    consumed = bytearray()

    def take(count: int) -> bytes:
        piece = read(count)
        if len(piece) != count:
            raise MalformedHeader("the CMS file ends before its ciphertext begins")
        consumed.extend(piece)
        return piece

    def enter(tag: int, largest: int = 2 * MAX_PLAINTEXT_BYTES) -> int:
        found, first = take(2)
        if found != tag:
            raise MalformedHeader(
                f"this is not CMS as Sealift writes it: tag {found:#04x} stands where {tag:#04x} belongs"
            )
        if first > 0x84 or first == 0x80:
            raise MalformedHeader("this is not CMS as Sealift writes it: DER with definite lengths is wanted")
        length = int.from_bytes(take(first & 0x7F), "big") if first & 0x80 else first
        if length > largest:
            raise MalformedHeader(f"an element of the CMS file claims {length:,} bytes; {largest:,} are allowed")
        return length

    enter(SEQUENCE)
    take(enter(OID, 32))
    enter(EXPLICIT_0)
    enter(SEQUENCE)
    take(enter(INTEGER, 1))
    recipient_infos = take(enter(SET, MAX_RECIPIENTS_BYTES))
    enter(SEQUENCE)
    take(enter(OID, 32))
    algorithm = take(enter(SEQUENCE, 64))
    plaintext_bytes = enter(CONTENT, MAX_PLAINTEXT_BYTES)
    nonce = algorithm[-3 - NONCE_BYTES : -3]
    if _envelope_head(recipient_infos, nonce, plaintext_bytes) != consumed:
        raise MalformedHeader(
            "this is not CMS as Sealift writes it: AuthEnvelopedData of data with AES-256-GCM is wanted"
        )
    return Envelope(wrapped_keys=_read_wrapped_keys(recipient_infos), nonce=nonce, plaintext_bytes=plaintext_bytes)


def _read_wrapped_keys(recipient_infos: bytes) -> tuple[bytes, ...]:
    wrong = MalformedHeader("a recipient of the CMS file is not RSA-OAEP with SHA-256 for a certificate")
    infos: list[bytes] = []
    wrapped_keys: list[bytes] = []
    try:
        position = 0
        while position < len(recipient_infos):
            start = position
            _, content, position = _element(recipient_infos, start)
            _, _, after_version = _element(content, 0)
            _, issuer_and_serial, after_id = _element(content, after_version)
            _, _, after_algorithm = _element(content, after_id)
            _, wrapped, _ = _element(content, after_algorithm)
            algorithm = content[after_id:after_algorithm]
            infos.append(_recipient_info(issuer_and_serial, algorithm, wrapped))
            sound = infos[-1] == recipient_infos[start:position] and algorithm in _ACCEPTED_OAEP
            if not sound or not MIN_BITS // 8 <= len(wrapped) <= MAX_BITS // 8:
                raise wrong
            wrapped_keys.append(wrapped)
    except IndexError as error:
        raise wrong from error
    if not 1 <= len(infos) <= MAX_RECIPIENTS:
        raise MalformedHeader(f"the CMS file has {len(infos)} recipients; 1 to {MAX_RECIPIENTS} are allowed")
    if infos != sorted(infos):
        raise MalformedHeader("the recipients of the CMS file are not in the order that DER wants")
    return tuple(wrapped_keys)


def _element(data: bytes, position: int) -> tuple[int, bytes, int]:
    """Return tag, content and the position after an element that lies whole in memory; IndexError when it does not."""
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
