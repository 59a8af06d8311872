"""S/MIME files: CMS EnvelopedData with AES-256-CBC, signed inside and armoured if wished (RFC 5652; docs/FORMAT.md, section 18).

Everything streams, with lengths not known beforehand, so there is no limit of size. CBC has no tag: a program that opens such
a file has verified the signed manifest, or verifies the signature inside. Reading is strict by writing, as in cms.py. It does
NOT make the file key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from encryption.asn1 import (
    CONTENT_IN_PARTS,
    DATA,
    END,
    EXPLICIT_0,
    INTEGER,
    OCTETS,
    OID,
    RSA_ENCRYPTION,
    SEQUENCE,
    SET,
    ZERO,
    Front,
    Segments,
    oid,
    open_element,
    tlv,
)
from encryption.cms import ACCEPTED_OAEP, MAX_RECIPIENTS_BYTES, OAEP_SHA256, read_wrapped_keys, sorted_recipients
from encryption.errors import MalformedHeader
from encryption.signed_data import FileSigner, SignedData
from encryption.smime_armour import ArmourKind, armour
from encryption.wrapping import ALGORITHM, PKCS1

KeyTransport = Literal["pkcs1v15", "oaep"]
KEY_TRANSPORTS: Final[tuple[str, ...]] = get_args(KeyTransport)
EXTENSIONS: Final = (".p7m", "")
BLOCK_BYTES: Final = 16
TAIL: Final = END * 5

_ENVELOPED_DATA: Final = oid("2a864886f70d010703")
_AES_256_CBC: Final = oid("60864801650304012a")
_TRANSPORTS: Final = {PKCS1: RSA_ENCRYPTION, ALGORITHM: OAEP_SHA256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Smime:
    """How a partner wants S/MIME files; what is not said is what every program opens, unsigned."""

    key_transport: KeyTransport = "pkcs1v15"
    signer: FileSigner | None = None
    armour: ArmourKind = "none"
    extension: str = ".p7m"

    @property
    def algorithm(self) -> str:
        """Return how the file key is wrapped."""
        return PKCS1 if self.key_transport == "pkcs1v15" else ALGORITHM


def transport_of(algorithm: str) -> bytes:
    """Return the identifier of a way to wrap the file key."""
    return _TRANSPORTS[algorithm]


class SmimeMessage:
    """One file being written: `head`, then `update` for each piece, then `finish`."""

    def __init__(self, file_key: bytes, recipient_infos: Iterable[bytes], created: datetime, options: Smime) -> None:
        iv = os.urandom(BLOCK_BYTES)
        self._cipher = Cipher(algorithms.AES(file_key), modes.CBC(iv)).encryptor()
        self._segments = Segments()
        self._content_bytes = 0
        self._armour = armour(options.armour)
        self._signed = SignedData(options.signer, created) if options.signer else None
        self.head = self._armour.update(envelope_head(sorted_recipients(recipient_infos), iv))
        if self._signed:
            self.head += self._encrypt(self._signed.head)

    def update(self, piece: bytes | memoryview) -> bytes:
        """Return the next bytes of the file."""
        return self._encrypt(self._signed.update(piece) if self._signed else piece)

    def finish(self) -> bytes:
        """Return the last bytes: what waits, the signature, the padding, the ends. Raises what the signer raises."""
        last = self._encrypt(self._signed.finish()) if self._signed else b""
        missing = BLOCK_BYTES - self._content_bytes % BLOCK_BYTES
        last += self._encrypt(bytes([missing]) * missing)
        self._cipher.finalize()
        return last + self._armour.update(self._segments.finish() + TAIL) + self._armour.finish()

    def _encrypt(self, content: bytes | memoryview) -> bytes:
        self._content_bytes += len(content)
        return self._armour.update(self._segments.update(self._cipher.update(content)))


def envelope_head(recipient_infos: bytes, iv: bytes) -> bytes:
    """Return everything before the first segment of ciphertext; after the last comes TAIL."""
    return b"".join([
        open_element(SEQUENCE), _ENVELOPED_DATA, open_element(EXPLICIT_0),
        open_element(SEQUENCE), ZERO, tlv(SET, recipient_infos),
        open_element(SEQUENCE), DATA, tlv(SEQUENCE, _AES_256_CBC, tlv(OCTETS, iv)), open_element(CONTENT_IN_PARTS),
    ])  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SmimeEnvelope:
    """What stands before the ciphertext of an S/MIME file, its armour taken off."""

    wrapped_keys: tuple[bytes, ...]
    key_transport: KeyTransport
    iv: bytes
    head_bytes: int

    def is_signed(self, file_bytes: int, plaintext_bytes: int) -> bool:
        """Return whether a file of that size holds more than the plaintext: a signature takes 900 bytes and more."""
        unsigned = (plaintext_bytes // BLOCK_BYTES + 1) * BLOCK_BYTES
        return file_bytes - self.head_bytes - unsigned - 5 * (unsigned // 65_536) > 64


def read_smime_envelope(read: Callable[[int], bytes]) -> SmimeEnvelope:
    """Read up to the first segment; `read(n)` returns n bytes, or fewer at the end of the file. Raises MalformedHeader."""
    front = Front(read, "S/MIME", MAX_RECIPIENTS_BYTES)
    front.open_element(SEQUENCE)
    front.take(front.enter(OID, 32))
    front.open_element(EXPLICIT_0)
    front.open_element(SEQUENCE)
    front.take(front.enter(INTEGER, 1))
    recipient_infos = front.take(front.enter(SET))
    front.open_element(SEQUENCE)
    front.take(front.enter(OID, 32))
    iv = front.take(front.enter(SEQUENCE, 64))[-BLOCK_BYTES:]
    front.open_element(CONTENT_IN_PARTS)
    if envelope_head(recipient_infos, iv) != front.consumed:
        raise MalformedHeader(
            "this is not S/MIME as Sealift writes it: EnvelopedData of data with AES-256-CBC is wanted"
        )
    transport: KeyTransport = "pkcs1v15" if RSA_ENCRYPTION in recipient_infos else "oaep"
    wrapped = read_wrapped_keys(recipient_infos, (RSA_ENCRYPTION,) if transport == "pkcs1v15" else ACCEPTED_OAEP)
    return SmimeEnvelope(wrapped_keys=wrapped, key_transport=transport, iv=iv, head_bytes=len(front.consumed))
