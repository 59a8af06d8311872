"""OpenPGP messages and keys for the test vectors, written from docs/FORMAT.md, section 17, and RFC 9580; no code of encryption/.

Everything random comes from the caller, so the same scenario gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

MADE = 1767225600  # 2026-01-01, when every key of the vectors counts as made
CURVE = bytes.fromhex("0a2b060104019755010501")
PART = 65536
Bytes = Callable[[bytes], bytes]


def unchanged(data: bytes) -> bytes:
    return data


@dataclass(frozen=True)
class Sender:
    """Who signs, and what the signature is over in the end: `change` makes it one of something else."""

    key: rsa.RSAPrivateKey
    change: Bytes = unchanged


@dataclass(frozen=True)
class Shape:
    """How a message is wished, and what is broken in it."""

    compressed: bool = False
    armoured: bool = False
    mdc: Bytes = unchanged
    whole: Bytes = unchanged


def number(value: int) -> bytes:
    return value.bit_length().to_bytes(2, "big") + value.to_bytes((value.bit_length() + 7) // 8, "big")


def size_of(length: int) -> bytes:
    if length < 192:
        return bytes([length])
    if length < 8384:
        return (length - 192 + (192 << 8)).to_bytes(2, "big")
    return b"\xff" + length.to_bytes(4, "big")


def packet(tag: int, body: bytes) -> bytes:
    framed = b""
    while len(body) >= PART:
        framed, body = framed + b"\xf0" + body[:PART], body[PART:]
    return bytes([0xC0 | tag]) + framed + size_of(len(body)) + body


def rsa_body(key: rsa.RSAPublicKey) -> bytes:
    numbers = key.public_numbers()
    return b"\x04" + MADE.to_bytes(4, "big") + b"\x01" + number(numbers.n) + number(numbers.e)


def curve_body(key: x25519.X25519PublicKey) -> bytes:
    point = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    numbered = number(int.from_bytes(b"\x40" + point, "big"))
    return b"\x04" + MADE.to_bytes(4, "big") + b"\x12" + CURVE + numbered + b"\x03\x01\x08\x07"


def hashed(body: bytes) -> bytes:
    return b"\x99" + len(body).to_bytes(2, "big") + body


def fingerprint(body: bytes) -> bytes:
    return hashlib.sha1(hashed(body), usedforsecurity=False).digest()


def thumbprint(body: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(hashed(body)).digest()).rstrip(b"=").decode()


def wrap(
    subkey: rsa.RSAPrivateKey | x25519.X25519PrivateKey, session_key: bytes, chance: Callable[[int], bytes]
) -> tuple[bytes, bytes]:
    """Return the body of a PKESK packet, and that of the key it is for."""
    content = b"\x09" + session_key + (sum(session_key) & 0xFFFF).to_bytes(2, "big")
    if isinstance(subkey, rsa.RSAPrivateKey):
        public = subkey.public_key()
        body, numbers, size = rsa_body(public), public.public_numbers(), subkey.key_size // 8
        filler = bytes(byte or 1 for byte in chance(size - 3 - len(content)))
        block = int.from_bytes(b"\0\x02" + filler + b"\0" + content, "big")
        return b"\x03" + fingerprint(body)[-8:] + b"\x01" + number(pow(block, numbers.e, numbers.n)), body
    body = curve_body(subkey.public_key())
    ephemeral = x25519.X25519PrivateKey.from_private_bytes(chance(32))
    about = CURVE + b"\x12\x03\x01\x08\x07Anonymous Sender    " + fingerprint(body)
    wrapping_key = ConcatKDFHash(hashes.SHA256(), 16, about).derive(ephemeral.exchange(subkey.public_key()))
    wrapped = aes_key_wrap(wrapping_key, content + b"\x05" * 5)
    raw = ephemeral.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    point = number(int.from_bytes(b"\x40" + raw, "big"))
    return b"\x03" + fingerprint(body)[-8:] + b"\x12" + point + bytes([len(wrapped)]) + wrapped, body


def signature(sender: Sender, plaintext: bytes, created: int) -> bytes:
    body = rsa_body(sender.key.public_key())
    inside = b"\x05\x02" + created.to_bytes(4, "big") + b"\x16\x21\x04" + fingerprint(body)
    head = b"\x04\x00\x01\x08" + len(inside).to_bytes(2, "big") + inside
    digest = hashlib.sha256(sender.change(plaintext) + head + b"\x04\xff" + len(head).to_bytes(4, "big")).digest()
    value = sender.key.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
    outside = b"\x09\x10" + fingerprint(body)[-8:]
    about = len(outside).to_bytes(2, "big") + outside + digest[:2]
    return packet(2, head + about + number(int.from_bytes(value, "big")))


def message(
    session_key: bytes, prefix: bytes, wrapped: list[bytes], literal: tuple[str, int, bytes], sender: Sender | None, shape: Shape
) -> bytes:  # fmt: skip
    """Return a whole message; `literal` is name, time and content."""
    name, created, plaintext = literal
    content = packet(11, b"b" + bytes([len(name)]) + name.encode() + created.to_bytes(4, "big") + plaintext)
    if sender:
        one_pass = b"\x03\x00\x08\x01" + fingerprint(rsa_body(sender.key.public_key()))[-8:] + b"\x01"
        content = packet(4, one_pass) + content + signature(sender, plaintext, created)
    if shape.compressed:
        content = packet(8, b"\x02" + zlib.compress(content))
    content = prefix + prefix[-2:] + content + b"\xd3\x14"
    content += shape.mdc(hashlib.sha1(content, usedforsecurity=False).digest())
    sealed = Cipher(algorithms.AES(session_key), CFB(bytes(16))).encryptor().update(content)
    whole = shape.whole(b"".join(packet(1, each) for each in wrapped) + packet(18, b"\x01" + sealed))
    return armoured(whole) if shape.armoured else whole


def armoured(data: bytes) -> bytes:
    state = 0xB704CE
    for byte in data:
        state ^= byte << 16
        for _ in range(8):
            state = (state << 1) ^ (0x1864CFB if state & 0x800000 else 0)
        state &= 0xFFFFFF
    text = base64.b64encode(data).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    checksum = "=" + base64.b64encode(state.to_bytes(3, "big")).decode()
    return "\n".join(["-----BEGIN PGP MESSAGE-----", "", *lines, checksum, "-----END PGP MESSAGE-----", ""]).encode()
