"""OpenPGP certificates for tests: any that a partner's program could make, and many that none should; and gpg beside them."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils, x25519
from encryption_support import NOW, rsa_key

from encryption.openpgp import Signer
from encryption.openpgp.armour import armoured
from encryption.openpgp.keys import key_of, read_key
from encryption.openpgp.packets import PUBLIC_KEY, PUBLIC_SUBKEY, USER_ID, number, packet
from encryption.openpgp.signatures import subpacket

CREATED, EXPIRES, KEY_EXPIRES, ISSUER, FLAGS, ISSUER_FINGERPRINT = 2, 3, 9, 16, 27, 33
ED25519, CV25519 = bytes.fromhex("2b06010401da470f01"), bytes.fromhex("2b060104019755010501")
P256 = bytes.fromhex("2a8648ce3d030107")
RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw
BEFORE = NOW - dt.timedelta(days=100)
SIGN, CERTIFY, ENCRYPT = 2, 1, 12
_HASHES = {2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512"}


@dataclass(frozen=True)
class Pair:
    """A key pair whose public half is the body of a packet."""

    private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey
    body: bytes

    @property
    def hashed(self) -> bytes:
        return b"\x99" + len(self.body).to_bytes(2, "big") + self.body

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha1(self.hashed).digest()

    @property
    def key_id(self) -> str:
        return self.fingerprint[-8:].hex().upper()


def rsa_pair(owner: str = "primary", bits: int = 3072, created: dt.datetime = BEFORE) -> Pair:
    key = rsa_key(owner, bits)
    return Pair(key, key_of(key.public_key(), created).body)


def _head(created: dt.datetime, algorithm: int) -> bytes:
    return b"\x04" + int(created.timestamp()).to_bytes(4, "big") + bytes([algorithm])


@functools.cache
def ed25519_pair(created: dt.datetime = BEFORE) -> Pair:
    key = ed25519.Ed25519PrivateKey.generate()
    return Pair(key, _curve(created, 22, ED25519, b"\x40" + key.public_key().public_bytes(*RAW)))


def cv25519_pair(created: dt.datetime = BEFORE, kdf: bytes = b"\x03\x01\x08\x07") -> Pair:
    key = x25519.X25519PrivateKey.generate()
    return Pair(key, _curve(created, 18, CV25519, b"\x40" + key.public_key().public_bytes(*RAW)) + kdf)


def p256_pair(algorithm: int, created: dt.datetime = BEFORE) -> Pair:
    """A key of a NIST curve: ECDSA (19) or ECDH (18)."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    body = _curve(created, algorithm, P256, key.public_key().public_bytes(*form))
    return Pair(key, body + (b"\x03\x01\x08\x07" if algorithm == 18 else b""))


def _curve(created: dt.datetime, algorithm: int, curve: bytes, point: bytes) -> bytes:
    return _head(created, algorithm) + bytes([len(curve)]) + curve + number(int.from_bytes(point, "big"))


def signature(
    signer: Pair,
    kind: int,
    what: bytes,
    *,
    created: dt.datetime | None = BEFORE,
    flags: int | None = None,
    days: int | None = None,
    more: bytes = b"",
    digest: int = 8,
) -> bytes:
    """A signature packet over `what`; `days` until the key expires, from BEFORE as keys are."""
    inside = more
    if created:
        inside += subpacket(CREATED, int(created.timestamp()).to_bytes(4, "big"))
    if flags is not None:
        inside += subpacket(FLAGS, bytes([flags]))
    if days is not None:
        inside += subpacket(KEY_EXPIRES, (days * 86_400).to_bytes(4, "big"))
    inside += subpacket(ISSUER_FINGERPRINT, b"\x04" + signer.fingerprint)
    algorithm = {rsa.RSAPrivateKey: 1, ed25519.Ed25519PrivateKey: 22}[_kind(signer.private)]
    head = bytes([4, kind, algorithm, digest]) + len(inside).to_bytes(2, "big") + inside
    hashed = hashlib.new(_HASHES[digest], what + head + b"\x04\xff" + len(head).to_bytes(4, "big")).digest()
    outside = subpacket(ISSUER, signer.fingerprint[-8:])
    return packet(2, head, len(outside).to_bytes(2, "big"), outside, hashed[:2], _values(signer, hashed, digest))


def _kind(key: object) -> type:
    return next(each for each in (rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey) if isinstance(key, each))


def _values(signer: Pair, hashed: bytes, digest: int) -> bytes:
    if isinstance(signer.private, rsa.RSAPrivateKey):
        algorithm = {2: hashes.SHA1(), 8: hashes.SHA256(), 9: hashes.SHA384(), 10: hashes.SHA512()}[digest]
        value = signer.private.sign(hashed, padding.PKCS1v15(), utils.Prehashed(algorithm))
        return number(int.from_bytes(value, "big"))
    assert isinstance(signer.private, ed25519.Ed25519PrivateKey)
    value = signer.private.sign(hashed)
    return number(int.from_bytes(value[:32], "big")) + number(int.from_bytes(value[32:], "big"))


@dataclass
class Builder:
    """A certificate that grows packet by packet."""

    primary: Pair = field(default_factory=rsa_pair)
    data: bytes = b""

    def __post_init__(self) -> None:
        self.data = self.data or packet(PUBLIC_KEY, self.primary.body)

    def direct(self, kind: int = 0x1F, **details: object) -> Builder:
        self.data += signature(self.primary, kind, self.primary.hashed, **details)  # type: ignore[arg-type]
        return self

    def user(self, name: str = "Partner <partner@example.org>", by: Pair | None = None, **details: object) -> Builder:
        encoded = name.encode()
        self.data += packet(USER_ID, encoded)
        return self.certify(encoded, by=by, **details)

    def certify(self, name: bytes, kind: int = 0x13, by: Pair | None = None, **details: object) -> Builder:
        what = self.primary.hashed + b"\xb4" + len(name).to_bytes(4, "big") + name
        details.setdefault("flags", SIGN | CERTIFY)
        self.data += signature(by or self.primary, kind, what, **details)  # type: ignore[arg-type]
        return self

    def subkey(self, pair: Pair, by: Pair | None = None, **details: object) -> Builder:
        self.data += packet(PUBLIC_SUBKEY, pair.body)
        return self.bind(pair, by=by, **details)

    def bind(self, pair: Pair, kind: int = 0x18, by: Pair | None = None, **details: object) -> Builder:
        if kind == 0x18:
            details.setdefault("flags", ENCRYPT)
        self.data += signature(by or self.primary, kind, self.primary.hashed + pair.hashed, **details)  # type: ignore[arg-type]
        return self

    def raw(self, data: bytes) -> Builder:
        self.data += data
        return self

    @property
    def asc(self) -> bytes:
        return armoured("PUBLIC KEY BLOCK", self.data)


def good(name: str = "Partner <partner@example.org>", **details: object) -> Builder:
    return Builder().user(name, **details).subkey(rsa_pair("subkey"))


def fingerprint_of(body: bytes) -> str:
    return read_key(body).fingerprint.hex().upper()


def signer_of(key: rsa.RSAPrivateKey, created: dt.datetime) -> Signer:
    """A signer whose private half is in this process."""
    scheme = padding.PKCS1v15(), utils.Prehashed(hashes.SHA256())
    return Signer(key_of(key.public_key(), created), lambda digest: key.sign(digest, *scheme))


# -- gpg --------------------------------------------------------------------------------------------------------------

GPG = shutil.which("gpg")


@dataclass(frozen=True)
class Gpg:
    """gpg with a home of its own."""

    home: Path

    def run(self, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run gpg without questions, at the moment of the tests."""
        moment = f"{NOW:%Y%m%dT%H%M%S}!"
        options = ["--homedir", str(self.home), "--batch", "--yes", "--trust-model", "always", "--pinentry-mode"]
        options += ["loopback", "--passphrase", "", "--faked-system-time", moment]
        return subprocess.run(["gpg", *options, *arguments], input=data, capture_output=True)


@contextmanager
def gpg_home() -> Iterator[Gpg]:
    home = Path(tempfile.mkdtemp(prefix="gpg-"))  # a socket's path must be short
    try:
        yield Gpg(home)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], capture_output=True)
        shutil.rmtree(home, ignore_errors=True)
