"""A partner's OpenPGP desk on this machine, without gpg: makes a key pair, opens messages, verifies their signature.

It is written from RFC 9580 anew and shares no code with `encryption`, so it can prove what that writes; it holds a message
in memory. For tests and for the demo where gpg is not installed. It does NOT protect its keys and knows RSA and
Cv25519 only.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

_SECRET_KEY, _PUBLIC_KEY, _SECRET_SUBKEY, _USER_ID, _PUBLIC_SUBKEY = 5, 6, 7, 13, 14
_CREATED, _ISSUER, _KEY_FLAGS, _ISSUER_FINGERPRINT = 2, 16, 27, 33
_POSITIVE, _BINDING = 0x13, 0x18
_CURVE = bytes.fromhex("2b060104019755010501")
_RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw


class NotOpened(Exception):
    """A message for another key, or one that was changed or cut, or that is not signed by the expected key."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What was in a message."""

    name: str
    content: bytes = field(repr=False)
    is_signed: bool


@dataclass(frozen=True, slots=True)
class Desk:
    """A key pair of a partner: an RSA key that certifies and a subkey that decrypts."""

    user_id: str
    created: datetime
    primary: rsa.RSAPrivateKey = field(repr=False)
    subkey: rsa.RSAPrivateKey | x25519.X25519PrivateKey = field(repr=False)

    @classmethod
    def make(cls, user_id: str, created: datetime, *, bits: int = 3072, curve: bool = False) -> Desk:
        """Return a desk with new keys."""
        subkey = x25519.X25519PrivateKey.generate() if curve else rsa.generate_private_key(65537, bits)
        return cls(user_id, created.replace(microsecond=0), rsa.generate_private_key(65537, bits), subkey)

    @property
    def primary_body(self) -> bytes:
        """Return the body of the public key packet."""
        return self._rsa_body(self.primary)

    @property
    def fingerprint(self) -> str:
        """Return the primary key's fingerprint in hex, upper case."""
        return _fingerprint(self.primary_body).hex().upper()

    @property
    def subkey_body(self) -> bytes:
        """Return the body of the public subkey packet."""
        if isinstance(self.subkey, rsa.RSAPrivateKey):
            return self._rsa_body(self.subkey)
        point = _number(int.from_bytes(b"\x40" + self.subkey.public_key().public_bytes(*_RAW), "big"))
        return self._head(18) + bytes([len(_CURVE)]) + _CURVE + point + b"\x03\x01\x08\x07"

    def _head(self, algorithm: int) -> bytes:
        return b"\x04" + int(self.created.timestamp()).to_bytes(4, "big") + bytes([algorithm])

    def _rsa_body(self, key: rsa.RSAPrivateKey) -> bytes:
        numbers = key.public_key().public_numbers()
        return self._head(1) + _number(numbers.n) + _number(numbers.e)

    def certificate(self) -> bytes:
        """Return the public half in armour, as a partner mails it."""
        key, subkey = _packet(_PUBLIC_KEY, self.primary_body), _packet(_PUBLIC_SUBKEY, self.subkey_body)
        return _armoured("PUBLIC KEY BLOCK", self._joined(key, subkey))

    def secret(self) -> bytes:
        """Return the private half in armour, without a password: gpg imports it."""
        key = _packet(_SECRET_KEY, self.primary_body, _secret(self.primary))
        subkey = _packet(_SECRET_SUBKEY, self.subkey_body, _secret(self.subkey))
        return _armoured("PRIVATE KEY BLOCK", self._joined(key, subkey))

    def _joined(self, key: bytes, subkey: bytes) -> bytes:
        name, primary = self.user_id.encode(), _hashed(self.primary_body)
        proof = self._sign(_POSITIVE, primary + b"\xb4" + len(name).to_bytes(4, "big") + name, b"\x03")
        bound = self._sign(_BINDING, primary + _hashed(self.subkey_body), b"\x0c")
        return key + _packet(_USER_ID, name) + proof + subkey + bound

    def _sign(self, kind: int, what: bytes, flags: bytes) -> bytes:
        """Return the primary key's signature packet over `what`."""
        inside = _subpacket(_CREATED, int(self.created.timestamp()).to_bytes(4, "big")) + _subpacket(_KEY_FLAGS, flags)
        inside += _subpacket(_ISSUER_FINGERPRINT, b"\x04" + _fingerprint(self.primary_body))
        head = bytes([4, kind, 1, 8]) + len(inside).to_bytes(2, "big") + inside
        digest = hashlib.sha256(what + head + b"\x04\xff" + len(head).to_bytes(4, "big")).digest()
        value = self.primary.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
        outside = _subpacket(_ISSUER, _fingerprint(self.primary_body)[-8:])
        about = len(outside).to_bytes(2, "big") + outside + digest[:2]
        return _packet(2, head, about, _number(int.from_bytes(value, "big")))

    def open(self, message: bytes, sender: rsa.RSAPublicKey | None = None) -> Opened:
        """Open a message; with a sender its signature must be that key's. Raises NotOpened."""
        try:
            return self._open(_without_armour(message), sender)
        except (ValueError, IndexError, KeyError, InvalidSignature, zlib.error) as error:
            raise NotOpened("it cannot be opened") from error

    def _open(self, message: bytes, sender: rsa.RSAPublicKey | None) -> Opened:
        packets = list(_packets(message))
        *recipients, (tag, sealed) = packets
        if tag != 18 or sealed[0] != 1 or any(each != 1 for each, _ in recipients):
            raise NotOpened("it is not a well-formed message")
        algorithm = self.subkey_body[5:6]
        wanted = b"\x03" + _fingerprint(self.subkey_body)[-8:] + algorithm
        mine = [body for _, body in recipients if body.startswith(wanted)]
        content = _unseal(self._session_key(mine[0]), sealed[1:])
        packets = list(_packets(content))
        if packets[0][0] == 8:
            packets = list(_packets(zlib.decompress(packets[0][1][1:])))
        return _opened(packets, sender)

    def _session_key(self, body: bytes) -> bytes:
        if isinstance(self.subkey, rsa.RSAPrivateKey):
            size = (self.subkey.key_size + 7) // 8
            content = self.subkey.decrypt(body[12:].rjust(size, b"\0"), padding.PKCS1v15())
        else:
            point, rest = body[13:45], body[45:]
            shared = self.subkey.exchange(x25519.X25519PublicKey.from_public_bytes(point))
            about = bytes([len(_CURVE)]) + _CURVE + b"\x12\x03\x01\x08\x07Anonymous Sender    "
            about += _fingerprint(self.subkey_body)
            wrapping_key = ConcatKDFHash(hashes.SHA256(), 16, about).derive(shared)
            padded = aes_key_unwrap(wrapping_key, rest[1 : 1 + rest[0]])
            content = padded[: -padded[-1]]
        key, checksum = content[1:-2], int.from_bytes(content[-2:], "big")
        if content[0] != 9 or len(key) != 32 or sum(key) & 0xFFFF != checksum:
            raise NotOpened("its session key is malformed")
        return key


def sender_of(certificate: bytes) -> tuple[str, rsa.RSAPublicKey]:
    """Return fingerprint (hex, upper case) and key of a sender's armoured certificate. Raises NotOpened."""
    try:
        ((tag, body), *_) = _packets(_without_armour(certificate, b"PUBLIC KEY BLOCK"))
        modulus, rest = _read_number(body[6:])
        exponent, _ = _read_number(rest)
        if (tag, body[5]) != (_PUBLIC_KEY, 1):
            raise NotOpened("the sender's key is not an RSA key")
        return _fingerprint(body).hex().upper(), rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except (ValueError, IndexError) as error:
        raise NotOpened("the sender's certificate cannot be read") from error


def _read_number(data: bytes) -> tuple[int, bytes]:
    end = 2 + (int.from_bytes(data[:2], "big") + 7) // 8
    return int.from_bytes(data[2:end], "big"), data[end:]


def _packet(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4, "big") + body


def _subpacket(kind: int, content: bytes) -> bytes:
    return bytes([1 + len(content), kind]) + content


def _number(value: int) -> bytes:
    return value.bit_length().to_bytes(2, "big") + value.to_bytes((value.bit_length() + 7) // 8, "big")


def _fingerprint(body: bytes) -> bytes:
    return hashlib.sha1(_hashed(body), usedforsecurity=False).digest()


def _armoured(kind: str, data: bytes) -> bytes:
    lines = base64.encodebytes(data).decode()
    checksum = base64.b64encode(_checksum(data)).decode()
    return f"-----BEGIN PGP {kind}-----\n\n{lines}={checksum}\n-----END PGP {kind}-----\n".encode()


def _secret(key: rsa.RSAPrivateKey | x25519.X25519PrivateKey) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        p, q = sorted((numbers.p, numbers.q))
        values = b"".join(_number(each) for each in (numbers.d, p, q, pow(p, -1, q)))
    else:
        scalar = bytearray(key.private_bytes_raw())
        scalar[0] &= 248
        scalar[31] = scalar[31] & 127 | 64
        values = _number(int.from_bytes(scalar[::-1], "big"))
    return b"\0" + values + (sum(values) & 0xFFFF).to_bytes(2, "big")


def _hashed(body: bytes) -> bytes:
    return b"\x99" + len(body).to_bytes(2, "big") + body


def _without_armour(message: bytes, kind: bytes = b"MESSAGE") -> bytes:
    if not message.startswith(b"-----BEGIN PGP " + kind + b"-----\n\n"):
        return message
    lines = message.splitlines()
    if lines[-1] != b"-----END PGP " + kind + b"-----":
        raise NotOpened("its armour is cut")
    data = base64.b64decode(b"".join(lines[2:-2]), validate=True)
    if lines[-2] != b"=" + base64.b64encode(_checksum(data)):
        raise NotOpened("its checksum differs")
    return data


def _checksum(data: bytes) -> bytes:
    state, table = 0xB704CE, _checksums()
    for byte in data:
        state = state << 8 & 0xFFFFFF ^ table[state >> 16 ^ byte]
    return state.to_bytes(3, "big")


@functools.cache
def _checksums() -> list[int]:
    """Return what each byte does to the checksum (RFC 9580, section 6.1.1)."""
    table = []
    for byte in range(256):
        state = byte << 16
        for _ in range(8):
            state = state << 1 ^ (0x1864CFB if state & 0x800000 else 0)
        table.append(state)
    return table


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and body; IndexError where a packet is cut."""
    at = 0
    while at < len(data):
        tag, body, is_last = data[at], b"", False
        at += 1
        if tag < 0xC0:
            raise NotOpened("a packet is not in the new framing")
        while not is_last:
            size, at, is_last = _length(data, at)
            if not is_last and not body and size < 512:
                raise NotOpened("the first part of a packet is too short")
            if at + size > len(data):
                raise IndexError(size)
            body, at = body + data[at : at + size], at + size
        yield tag & 0x3F, body


def _length(data: bytes, at: int) -> tuple[int, int, bool]:
    first = data[at]
    if first < 192:
        return first, at + 1, True
    if first < 224:
        return (first - 192 << 8) + data[at + 1] + 192, at + 2, True
    if first < 255:
        return 1 << (first & 31), at + 1, False
    return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5, True


def _unseal(key: bytes, sealed: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(key), CFB(bytes(16))).decryptor()
    content = decryptor.update(sealed) + decryptor.finalize()
    if content[-22:-20] != b"\xd3\x14" or hashlib.sha1(content[:-20]).digest() != content[-20:]:  # noqa: S324
        raise NotOpened("its integrity check fails")
    if content[14:16] != content[16:18]:
        raise NotOpened("its prefix does not repeat")
    return content[18:-22]


def _opened(packets: list[tuple[int, bytes]], sender: rsa.RSAPublicKey | None) -> Opened:
    tags = [tag for tag, _ in packets]
    if tags not in ([11], [4, 11, 2]) or (sender is not None and len(tags) == 1):
        raise NotOpened("it does not hold one signed file")
    literal = packets[tags.index(11)][1]
    size = literal[1]
    name, content = literal[2 : 2 + size].decode(), literal[6 + size :]
    if sender is not None:
        signature = packets[2][1]
        hashed_bytes = 6 + int.from_bytes(signature[4:6], "big")
        head, rest = signature[:hashed_bytes], signature[hashed_bytes:]
        value = rest[4 + int.from_bytes(rest[:2], "big") :]
        trailer = head + b"\x04\xff" + len(head).to_bytes(4, "big")
        whole = value[2:].rjust((sender.key_size + 7) // 8, b"\0")
        sender.verify(whole, content + trailer, padding.PKCS1v15(), hashes.SHA256())
    return Opened(name, content, len(tags) == 3)
