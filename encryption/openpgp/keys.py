"""OpenPGP public keys of version 4: RSA, Ed25519 and Cv25519 (RFC 4880, section 5.5; RFC 9580, sections 5.1, 5.5 and 11.5).

A `Key` is read from its packet, has a fingerprint, verifies signatures and wraps a session key, as far as its algorithm can.
Other algorithms are read too, because a certificate may hold them beside the key that counts; they can do nothing and have a
name. Why PKCS#1 v1.5 here and nowhere else: OpenPGP has no other RSA encryption.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, utils, x25519
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from encryption.openpgp.packets import PKESK, Reader, Unreadable, number, packet

RSA, RSA_ENCRYPT_ONLY, RSA_SIGN_ONLY, ECDH, EDDSA = 1, 2, 3, 18, 22
AES_256: Final = 9
RAW: Final = serialization.Encoding.Raw, serialization.PublicFormat.Raw

ALGORITHM_NAMES: Final = {
    RSA: "RSA", RSA_ENCRYPT_ONLY: "RSA (encrypt only)", RSA_SIGN_ONLY: "RSA (sign only)", 16: "ElGamal", 17: "DSA", ECDH: "ECDH",
    19: "ECDSA", 20: "ElGamal", EDDSA: "EdDSA", 25: "X25519", 26: "X448", 27: "Ed25519", 28: "Ed448",
}  # fmt: skip
_ED25519: Final = bytes.fromhex("2b06010401da470f01")
_CV25519: Final = bytes.fromhex("2b060104019755010501")
_CURVE_NAMES: Final = {
    _ED25519: "Ed25519", _CV25519: "Cv25519", bytes.fromhex("2a8648ce3d030107"): "NIST P-256",
    bytes.fromhex("2b81040022"): "NIST P-384", bytes.fromhex("2b81040023"): "NIST P-521",
    bytes.fromhex("2b2403030208010107"): "Brainpool P256r1", bytes.fromhex("2b240303020801010b"): "Brainpool P384r1",
    bytes.fromhex("2b240303020801010d"): "Brainpool P512r1", bytes.fromhex("2b8104000a"): "secp256k1",
}  # fmt: skip
HASHES: Final[dict[int, hashes.HashAlgorithm]] = {8: hashes.SHA256(), 9: hashes.SHA384(), 10: hashes.SHA512()}
SHA1: Final = 2
HASH_NAMES: Final = {1: "MD5", SHA1: "SHA-1", 3: "RIPEMD-160", 11: "SHA-224"}
_WRAP_KEY_BYTES: Final = {7: 16, 8: 24, 9: 32}  # AES-128, 192, 256
_ANONYMOUS_SENDER: Final = b"Anonymous Sender    "


@dataclass(frozen=True, slots=True)
class _Cv25519:
    """A Cv25519 key and how its owner wants the shared secret turned into a key."""

    public: x25519.X25519PublicKey = field(repr=False)
    kdf: bytes
    hash: hashes.HashAlgorithm
    wrap_key_bytes: int


Material = RSAPublicKey | ed25519.Ed25519PublicKey | _Cv25519 | None


@dataclass(frozen=True, slots=True)
class Key:
    """One public key packet of version 4."""

    body: bytes = field(repr=False)
    created: datetime
    algorithm: int
    name: str  # of the algorithm, for people
    material: Material = field(repr=False)  # None: nothing that is used here

    @property
    def hashed(self) -> bytes:
        """Return the key as fingerprints and signatures hash it."""
        return b"\x99" + len(self.body).to_bytes(2, "big") + self.body

    @property
    def fingerprint(self) -> bytes:
        """Return the 20 bytes of a version 4 fingerprint."""
        return hashlib.sha1(self.hashed, usedforsecurity=False).digest()

    @property
    def key_id(self) -> bytes:
        """Return the last 8 bytes of the fingerprint."""
        return self.fingerprint[-8:]

    @property
    def can_encrypt(self) -> bool:
        """Return whether the algorithm encrypts and is one that is written here."""
        if isinstance(self.material, RSAPublicKey):
            return self.algorithm != RSA_SIGN_ONLY
        return isinstance(self.material, _Cv25519)

    def verifies(self, signature: tuple[int, ...], digest: bytes, algorithm: hashes.HashAlgorithm) -> bool:
        """Return whether this key made a signature over a hash."""
        try:
            if isinstance(self.material, RSAPublicKey) and len(signature) == 1:
                value = signature[0].to_bytes((self.material.key_size + 7) // 8, "big")
                self.material.verify(value, digest, padding.PKCS1v15(), utils.Prehashed(algorithm))
            elif isinstance(self.material, ed25519.Ed25519PublicKey) and len(signature) == 2:
                self.material.verify(b"".join(each.to_bytes(32, "big") for each in signature), digest)
            else:
                return False
        except (InvalidSignature, OverflowError):
            return False
        return True

    def wrap(self, session_key: bytes) -> bytes:
        """Return the body of a version 3 PKESK packet for an AES-256 session key."""
        content = bytes([AES_256]) + session_key + (sum(session_key) & 0xFFFF).to_bytes(2, "big")
        head = b"\x03" + self.key_id + bytes([self.algorithm])
        if isinstance(self.material, RSAPublicKey):
            return head + number(int.from_bytes(self.material.encrypt(content, padding.PKCS1v15()), "big"))
        assert isinstance(self.material, _Cv25519), "the caller has asked can_encrypt"
        return head + self._wrap_for_curve(self.material, content)

    def _wrap_for_curve(self, key: _Cv25519, content: bytes) -> bytes:
        """ECDH with a key of one use, the one-step KDF of SP 800-56A and AES key wrap (RFC 9580, section 11.5)."""
        ephemeral = x25519.X25519PrivateKey.generate()
        parameters = bytes([len(_CV25519)]) + _CV25519 + bytes([ECDH, len(key.kdf)]) + key.kdf
        other_info = parameters + _ANONYMOUS_SENDER + self.fingerprint
        kdf = ConcatKDFHash(key.hash, key.wrap_key_bytes, other_info)
        padded = content + bytes([8 - len(content) % 8]) * (8 - len(content) % 8)
        wrapped = aes_key_wrap(kdf.derive(ephemeral.exchange(key.public)), padded)
        point = number(int.from_bytes(b"\x40" + ephemeral.public_key().public_bytes(*RAW), "big"))
        return point + bytes([len(wrapped)]) + wrapped


def read_key(body: bytes) -> Key:
    """Read the body of a public key packet. Raises Unreadable, also for a version other than 4."""
    reader = Reader(body)
    version = reader.integer(1)
    if version != 4:
        raise Unreadable(f"it is a key of version {version}; only version 4 is supported")
    created = datetime.fromtimestamp(reader.integer(4), UTC)
    algorithm = reader.integer(1)
    name = ALGORITHM_NAMES.get(algorithm, f"algorithm {algorithm}")
    material: Material = None
    try:
        if algorithm in (RSA, RSA_ENCRYPT_ONLY, RSA_SIGN_ONLY):
            rsa = _read_rsa(reader)
            name, material = f"RSA {rsa.key_size} bits", rsa
        elif algorithm in (ECDH, 19, EDDSA):
            curve = reader.take(reader.integer(1))
            name = f"{name} {_CURVE_NAMES.get(curve, 'of an unknown curve')}"
            material = _read_curve(algorithm, curve, reader)
    except Unreadable:
        raise
    except (ValueError, OverflowError) as error:
        raise Unreadable(f"its {name} key cannot be read") from error
    return Key(body, created, algorithm, name, material)


def _read_rsa(reader: Reader) -> RSAPublicKey:
    n, e = reader.number(), reader.number()
    if n.bit_length() > 16_384 or e.bit_length() > 64:
        raise ValueError(e)
    return RSAPublicNumbers(e, n).public_key()


def _read_curve(algorithm: int, curve: bytes, reader: Reader) -> Material:
    if (algorithm, curve) not in ((EDDSA, _ED25519), (ECDH, _CV25519)):
        return None
    point = reader.number().to_bytes(33, "big")
    if point[0] != 0x40:
        raise ValueError(point[0])
    if algorithm == EDDSA:
        return ed25519.Ed25519PublicKey.from_public_bytes(point[1:])
    kdf = reader.take(reader.integer(1))
    if len(kdf) != 3 or kdf[0] != 1 or kdf[1] not in HASHES or kdf[2] not in _WRAP_KEY_BYTES:
        raise ValueError(kdf)
    public = x25519.X25519PublicKey.from_public_bytes(point[1:])
    x25519.X25519PrivateKey.generate().exchange(public)  # ValueError for a point that makes every secret zero
    return _Cv25519(public, kdf, HASHES[kdf[1]], _WRAP_KEY_BYTES[kdf[2]])


def key_of(public: RSAPublicKey, created: datetime) -> Key:
    """Return the OpenPGP key that an RSA key is when it counts as made at `created`: our own signing key."""
    numbers = public.public_numbers()
    head = b"\x04" + int(created.timestamp()).to_bytes(4, "big") + bytes([RSA])
    return read_key(head + number(numbers.n) + number(numbers.e))


def pkesk(body: bytes) -> bytes:
    """Return the packet around what `Key.wrap` made."""
    return packet(PKESK, body)
