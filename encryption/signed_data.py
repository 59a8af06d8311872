"""CMS SignedData around a file, and our own certificate that verifies it (RFC 5652, section 5; docs/FORMAT.md, section 18).

The signature is RSA with PKCS#1 v1.5 and SHA-256 over the signed attributes: one call to the holder of the key, after the
last byte. It does NOT hold a private key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from encryption.asn1 import (
    BITS,
    DATA,
    END,
    EXPLICIT_0,
    EXPLICIT_3,
    INTEGER,
    LONG_TIME,
    NOTHING,
    OCTETS,
    OCTETS_IN_PARTS,
    ONE,
    RSA_ENCRYPTION,
    SEQUENCE,
    SET,
    SHA256_ALGORITHM,
    UTC_TIME,
    UTF8,
    Segments,
    issuer_and_serial,
    oid,
    open_element,
    tlv,
)

SIGNED_DATA: Final = oid("2a864886f70d010702")
_CONTENT_TYPE: Final = oid("2a864886f70d010903")
_MESSAGE_DIGEST: Final = oid("2a864886f70d010904")
_SIGNING_TIME: Final = oid("2a864886f70d010905")
_SHA256_WITH_RSA: Final = tlv(SEQUENCE, oid("2a864886f70d01010b"), NOTHING)
_COMMON_NAME: Final = oid("550403")
_BASIC_CONSTRAINTS, _KEY_USAGE, _PURPOSES, _KEY_ID = oid("551d13"), oid("551d0f"), oid("551d25"), oid("551d0e")
_EMAIL_PROTECTION: Final = oid("2b06010505070304")
_TRUE: Final = b"\x01\x01\xff"
_DIGITAL_SIGNATURE: Final = tlv(BITS, b"\x07\x80")
_NEVER: Final = tlv(LONG_TIME, b"99991231235959Z")  # RFC 5280, 4.1.2.5: it has no well-defined end

# Everything before the first segment of content.
HEAD: Final = b"".join([
    open_element(SEQUENCE), SIGNED_DATA, open_element(EXPLICIT_0),
    open_element(SEQUENCE), ONE, tlv(SET, SHA256_ALGORITHM),
    open_element(SEQUENCE), DATA, open_element(EXPLICIT_0), open_element(OCTETS_IN_PARTS),
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileSigner:
    """Our certificate, and what signs a digest (32 bytes of SHA-256) with its key: RSA, PKCS#1 v1.5."""

    certificate: x509.Certificate
    sign: Callable[[bytes], bytes] = field(repr=False)


class SignedData:
    """A signed file being written: `head`, then `update` for each piece, then `finish`."""

    head = HEAD

    def __init__(self, signer: FileSigner, created: datetime) -> None:
        self._signer, self._created = signer, created
        self._digest = hashlib.sha256()
        self._segments = Segments()

    def update(self, piece: bytes | memoryview) -> bytes:
        """Return the next bytes."""
        self._digest.update(piece)
        return self._segments.update(piece)

    def finish(self) -> bytes:
        """Return what waits, our certificate and the signature. Raises what the signer raises."""
        encoded = self._signer.certificate.public_bytes(serialization.Encoding.DER)
        return b"".join([
            self._segments.finish(), END * 3, tlv(EXPLICIT_0, encoded), tlv(SET, self._signer_info()), END * 3,
        ])  # fmt: skip

    def _signer_info(self) -> bytes:
        attributes = b"".join(
            sorted([
                tlv(SEQUENCE, _CONTENT_TYPE, tlv(SET, DATA)),
                tlv(SEQUENCE, _SIGNING_TIME, tlv(SET, _time(self._created))),
                tlv(SEQUENCE, _MESSAGE_DIGEST, tlv(SET, tlv(OCTETS, self._digest.digest()))),
            ])
        )  # fmt: skip
        signature = self._signer.sign(hashlib.sha256(tlv(SET, attributes)).digest())
        return tlv(
            SEQUENCE, ONE, issuer_and_serial(self._signer.certificate), SHA256_ALGORITHM, tlv(EXPLICIT_0, attributes),
            RSA_ENCRYPTION, tlv(OCTETS, signature),
        )  # fmt: skip


def own_smime_certificate(
    key: RSAPublicKey, name: str, made: datetime, sign: Callable[[bytes], bytes]
) -> x509.Certificate:
    """Return our self-signed certificate: the same bytes each time for one key, name and date, since RSA signs the same way.

    It has no end: a partner trusts it because its fingerprint was compared, and a new key is a new certificate.
    """
    info = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    serial = b"\x40" + hashlib.sha256(info).digest()[:15]  # positive, and in as few bytes as it takes
    owner = tlv(SEQUENCE, tlv(SET, tlv(SEQUENCE, _COMMON_NAME, tlv(UTF8, name.encode()))))
    extensions = [
        tlv(SEQUENCE, _BASIC_CONSTRAINTS, _TRUE, tlv(OCTETS, tlv(SEQUENCE))),
        tlv(SEQUENCE, _KEY_USAGE, _TRUE, tlv(OCTETS, _DIGITAL_SIGNATURE)),
        tlv(SEQUENCE, _PURPOSES, tlv(OCTETS, tlv(SEQUENCE, _EMAIL_PROTECTION))),
        tlv(SEQUENCE, _KEY_ID, tlv(OCTETS, tlv(OCTETS, serial))),
    ]
    body = tlv(
        SEQUENCE, tlv(EXPLICIT_0, tlv(INTEGER, b"\2")), tlv(INTEGER, serial), _SHA256_WITH_RSA, owner,
        tlv(SEQUENCE, _time(made), _NEVER), owner, info, tlv(EXPLICIT_3, tlv(SEQUENCE, *extensions)),
    )  # fmt: skip
    signature = sign(hashlib.sha256(body).digest())
    return x509.load_der_x509_certificate(tlv(SEQUENCE, body, _SHA256_WITH_RSA, tlv(BITS, b"\0" + signature)))


def _time(moment: datetime) -> bytes:
    """Return a time as X.509 and CMS want it: with two digits of the year until 2049."""
    moment = moment.astimezone(UTC)
    if moment.year < 2050:
        return tlv(UTC_TIME, f"{moment:%y%m%d%H%M%SZ}".encode())
    return tlv(LONG_TIME, f"{moment:%Y%m%d%H%M%SZ}".encode())
