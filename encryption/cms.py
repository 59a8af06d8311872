"""The bytes of a CMS AuthEnvelopedData around a ciphertext, in DER (RFC 5083, 5084, 5652; docs/FORMAT.md, section 7).

The plaintext's size is known before the first byte and GCM adds none, so every length can be definite and the whole
structure before the ciphertext is written at once. Reading is strict by writing: what was read is written again, and
must be the same bytes. It does NOT encrypt, and reads no more of X.509 than issuer and serial number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from encryption.asn1 import (
    CONTENT,
    DATA,
    EXPLICIT_0,
    EXPLICIT_1,
    INTEGER,
    NOTHING,
    OCTETS,
    OID,
    SEQUENCE,
    SET,
    SHA256,
    ZERO,
    Front,
    element,
    head,
    issuer_and_serial,
    oid,
    tlv,
)
from encryption.errors import InvalidValue, MalformedHeader
from encryption.rsa_numbers import MAX_BITS, MIN_BITS
from encryption.wrapping import MAX_RECIPIENTS

MAX_PLAINTEXT_BYTES: Final = 2**30
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
MAX_RECIPIENTS_BYTES: Final = 65_536

MAC_HEAD: Final = bytes([OCTETS, TAG_BYTES])

_AUTH_ENVELOPED_DATA: Final = oid("2a864886f70d0109100117")
_AES_256_GCM: Final = oid("60864801650304012e")
_RSAES_OAEP: Final = oid("2a864886f70d010107")
_MGF1: Final = oid("2a864886f70d010108")


def _oaep(null: bytes) -> bytes:
    sha256 = tlv(SEQUENCE, SHA256, null)
    mgf1 = tlv(SEQUENCE, _MGF1, sha256)
    return tlv(SEQUENCE, _RSAES_OAEP, tlv(SEQUENCE, tlv(EXPLICIT_0, sha256), tlv(EXPLICIT_1, mgf1)))


OAEP_SHA256: Final = _oaep(NOTHING)
ACCEPTED_OAEP: Final = (OAEP_SHA256, _oaep(b""))  # RFC 4055 lets a writer leave the NULL out, as openssl does


def recipient_info(certificate: x509.Certificate, wrapped_key: bytes, algorithm: bytes = OAEP_SHA256) -> bytes:
    """Return a KeyTransRecipientInfo that names the certificate by issuer and serial number, as it does."""
    return tlv(SEQUENCE, ZERO, issuer_and_serial(certificate), algorithm, tlv(OCTETS, wrapped_key))


def sorted_recipients(recipient_infos: Iterable[bytes]) -> bytes:
    """Return the content of recipientInfos, in DER's order.

    Raises InvalidValue for recipients that no reader would take: their certificates may name an issuer of any length.
    """
    infos = b"".join(sorted(recipient_infos))
    if len(infos) > MAX_RECIPIENTS_BYTES:
        raise InvalidValue(
            f"the recipients take {len(infos):,} bytes in a CMS file; {MAX_RECIPIENTS_BYTES:,} are the most",
            hint="ask the partner for a certificate with a shorter issuer, or choose the format native for this feed",
        )
    return infos


def envelope_head(recipient_infos: Iterable[bytes], nonce: bytes, plaintext_bytes: int) -> bytes:
    """Return everything before the ciphertext; after it come MAC_HEAD and the tag. Raises InvalidValue."""
    return _envelope_head(sorted_recipients(recipient_infos), nonce, plaintext_bytes)


def _envelope_head(recipient_infos: bytes, nonce: bytes, plaintext_bytes: int) -> bytes:
    algorithm = tlv(SEQUENCE, _AES_256_GCM, tlv(SEQUENCE, tlv(OCTETS, nonce), tlv(INTEGER, bytes([TAG_BYTES]))))
    parts = DATA + algorithm + head(CONTENT, plaintext_bytes)
    parts = head(SEQUENCE, len(parts) + plaintext_bytes) + parts
    parts = ZERO + tlv(SET, recipient_infos) + parts
    rest = plaintext_bytes + len(MAC_HEAD) + TAG_BYTES
    parts = head(SEQUENCE, len(parts) + rest) + parts
    parts = _AUTH_ENVELOPED_DATA + head(EXPLICIT_0, len(parts) + rest) + parts
    return head(SEQUENCE, len(parts) + rest) + parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What stands before the ciphertext of a CMS file."""

    wrapped_keys: tuple[bytes, ...]
    nonce: bytes
    plaintext_bytes: int


def read_envelope(read: Callable[[int], bytes]) -> Envelope:
    """Read up to the first byte of ciphertext; `read(n)` returns n bytes, or fewer at the end of the file."""
    front = Front(read, "CMS", 2 * MAX_PLAINTEXT_BYTES)
    enter, take = front.enter, front.take
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
    if _envelope_head(recipient_infos, nonce, plaintext_bytes) != front.consumed:
        raise MalformedHeader(
            "this is not CMS as Sealift writes it: AuthEnvelopedData of data with AES-256-GCM is wanted"
        )
    return Envelope(wrapped_keys=read_wrapped_keys(recipient_infos), nonce=nonce, plaintext_bytes=plaintext_bytes)


def read_wrapped_keys(recipient_infos: bytes, accepted: Sequence[bytes] = ACCEPTED_OAEP) -> tuple[bytes, ...]:
    """Return the wrapped keys of recipientInfos whose algorithm is one of the accepted. Raises MalformedHeader."""
    wanted = "RSA-OAEP with SHA-256" if accepted is ACCEPTED_OAEP else "RSA with PKCS#1 v1.5"
    wrong = MalformedHeader(f"a recipient of the CMS file is not {wanted} for a certificate")
    infos: list[bytes] = []
    wrapped_keys: list[bytes] = []
    try:
        position = 0
        while position < len(recipient_infos):
            start = position
            _, content, position = element(recipient_infos, start)
            _, _, after_version = element(content, 0)
            _, name, after_id = element(content, after_version)
            _, _, after_algorithm = element(content, after_id)
            _, wrapped, _ = element(content, after_algorithm)
            algorithm = content[after_id:after_algorithm]
            infos.append(tlv(SEQUENCE, ZERO, tlv(SEQUENCE, name), algorithm, tlv(OCTETS, wrapped)))
            sound = infos[-1] == recipient_infos[start:position] and algorithm in accepted
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
