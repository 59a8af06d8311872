"""An encoder of whole batches for the test vectors, written from docs/FORMAT.md alone; it shares no code with encryption/.

So every vector also checks that two independent readings of the specification agree. Everything random (file keys, salts,
nonces, OAEP seeds, PSS salts) comes from SHAKE-256 of the vector's name: the same name gives the same bytes. That is why
RSA padding is done by hand here: no library lets its caller choose the seed, and encryption/ deliberately does not either.
"""

from __future__ import annotations

import base64
import datetime as dt
import functools
import hashlib
import hmac
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pgp_messages import MADE, Sender, Shape, message
from pgp_messages import thumbprint as pgp_thumbprint
from pgp_messages import wrap as pgp_wrap

KEYS = Path(__file__).parent / "keys"
BATCH = "northwind.accruals.2026-11-21.1"
CHUNK = 16384
ORDER = {"sender": 3072, "other-sender": 3072, "partner": 3072, "partner-4096": 4096, "escrow": 3072, "stranger": 3072}

# --------------------------------------------------------------------------------------------------- deterministic chance


class Chance:
    """Bytes that look random and are the same in every run."""

    def __init__(self, name: str) -> None:
        self._stream = hashlib.shake_256(b"sealift test vector " + name.encode()).digest(1 << 16)
        self._used = 0

    def __call__(self, count: int) -> bytes:
        self._used += count
        assert self._used <= len(self._stream)
        return self._stream[self._used - count : self._used]


def plaintext_of(name: str, size: int) -> bytes:
    return hashlib.shake_256(b"plaintext " + name.encode()).digest(size)


# ------------------------------------------------------------------------------------------ RSA with a chosen seed or salt


def mgf1(seed: bytes, length: int) -> bytes:
    blocks = (hashlib.sha256(seed + counter.to_bytes(4, "big")).digest() for counter in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def oaep(key: rsa.RSAPublicKey, message: bytes, seed: bytes) -> bytes:
    """RSAES-OAEP-ENCRYPT of RFC 8017, section 7.1.1."""
    size = key.key_size // 8
    data = hashlib.sha256(b"").digest() + bytes(size - len(message) - 66) + b"\x01" + message
    masked_data = xor(data, mgf1(seed, size - 33))
    block = b"\0" + xor(seed, mgf1(masked_data, 32)) + masked_data
    return pow(int.from_bytes(block, "big"), key.public_numbers().e, key.public_numbers().n).to_bytes(size, "big")


def pkcs1(key: rsa.RSAPublicKey, message: bytes, seed: bytes) -> bytes:
    """RSAES-PKCS1-V1_5-ENCRYPT of RFC 8017, section 7.2.1; the padding has no zero byte."""
    size = key.key_size // 8
    filling = hashlib.shake_256(seed).digest(size - len(message) - 3).replace(b"\0", b"\xff")
    block = int.from_bytes(b"\0\x02" + filling + b"\0" + message, "big")
    return pow(block, key.public_numbers().e, key.public_numbers().n).to_bytes(size, "big")


def pss(key: rsa.RSAPrivateKey, message: bytes, salt: bytes) -> bytes:
    """RSASSA-PSS-SIGN of RFC 8017, section 8.1.1."""
    size = key.key_size // 8
    digest = hashlib.sha256(bytes(8) + hashlib.sha256(message).digest() + salt).digest()
    data = bytes(size - len(salt) - 34) + b"\x01" + salt
    masked = bytearray(xor(data, mgf1(digest, size - 33)))
    masked[0] &= 0x7F
    numbers = key.private_numbers()
    block = int.from_bytes(bytes(masked) + digest + b"\xbc", "big")
    left, right = pow(block, numbers.dmp1, numbers.p), pow(block, numbers.dmq1, numbers.q)
    return (right + numbers.q * (numbers.iqmp * (left - right) % numbers.p)).to_bytes(size, "big")


# -------------------------------------------------------------------------------------------------------------- the keys


def make_missing_keys() -> None:
    KEYS.mkdir(exist_ok=True)
    for name, bits in ORDER.items():
        if (KEYS / f"{name}.cert.pem").exists():
            continue
        key = rsa.generate_private_key(65537, bits)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"sealift test vector {name}")])
        usage = {"digital_signature": "sender" in name, "key_encipherment": "sender" not in name}
        others = ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
        builder = (
            x509.CertificateBuilder(subject, subject, key.public_key(), 1000 + list(ORDER).index(name))
            .not_valid_before(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
            .not_valid_after(dt.datetime(2126, 1, 1, tzinfo=dt.UTC))
            .add_extension(
                x509.KeyUsage(**usage, **dict.fromkeys(others, False), encipher_only=False, decipher_only=False),
                critical=True,
            )
        )
        pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        (KEYS / f"{name}.key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))
        (KEYS / f"{name}.pub.pem").write_bytes(key.public_key().public_bytes(pem, spki))
        (KEYS / f"{name}.cert.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))


@functools.cache
def certificate(name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((KEYS / f"{name}.cert.pem").read_bytes())


@functools.cache
def public_key(name: str) -> rsa.RSAPublicKey:
    key = certificate(name).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    return key


@functools.cache
def private_key(name: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key((KEYS / f"{name}.key.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@functools.cache
def thumbprint(name: str) -> str:
    return base64.urlsafe_b64encode(certificate(name).fingerprint(hashes.SHA256())).rstrip(b"=").decode()


PGP_KEYS = ("partner", "escrow", "stranger")
CREATED = 1795312800  # 2026-11-22T02:00:00Z


@functools.cache
def pgp_subkey(name: str) -> rsa.RSAPrivateKey | x25519.X25519PrivateKey:
    """The key that OpenPGP files are sealed for: an RSA key for the partner, Cv25519 for all others."""
    if name == "partner":
        return private_key("partner-4096")
    return x25519.X25519PrivateKey.from_private_bytes(Chance(f"OpenPGP subkey of {name}")(32))


def make_missing_pgp_keys() -> None:
    """Write what gpg imports: the private keys of those who open, and the sender's certificate."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from local.openpgp_desk import Desk

    made = dt.datetime.fromtimestamp(MADE, dt.UTC)
    for name in PGP_KEYS:
        desk = Desk(f"sealift test vector {name}", made, private_key(name), pgp_subkey(name))
        (KEYS / f"{name}.pgp.asc").write_bytes(desk.secret())
    sender = Desk("sealift test vector sender", made, private_key("other-sender"), pgp_subkey("sender"))
    (KEYS / "sender.pgp.asc").write_bytes(sender.certificate())


# ------------------------------------------------------------------------------------------------------------ the encoder


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def chunked(file_key: bytes, salt: bytes, context: bytes, plaintext: bytes) -> list[bytes]:
    """The Cobblestone-256 body in parts: salt, commitment, then every chunk."""
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
    first = hmac.digest(file_key, info + b"\x01", "sha512")
    okm = (first + hmac.digest(file_key, first + info + b"\x02", "sha512"))[:76]
    cipher, base = AESGCM(okm[:32]), int.from_bytes(okm[32:44], "big")
    chunks = [plaintext[start : start + CHUNK] for start in range(0, len(plaintext) + 1, CHUNK)]
    sealed = [cipher.encrypt((base ^ i).to_bytes(12, "big"), chunk, None) for i, chunk in enumerate(chunks)]
    return [salt, okm[44:], *sealed]


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    length = (
        bytes([size])
        if size < 128
        else bytes([0x80 | -(-size.bit_length() // 8)]) + size.to_bytes(-(-size.bit_length() // 8), "big")
    )
    return bytes([tag]) + length + body


def oid(hexadecimal: str) -> bytes:
    return der(0x06, bytes.fromhex(hexadecimal))


SHA256_ALGORITHM = der(0x30, oid("608648016503040201"), b"\x05\0")
MGF1_ALGORITHM = der(0x30, oid("2a864886f70d010108"), SHA256_ALGORITHM)
OAEP_ALGORITHM = der(0x30, oid("2a864886f70d010107"), der(0x30, der(0xA0, SHA256_ALGORITHM), der(0xA1, MGF1_ALGORITHM)))
PKCS1_ALGORITHM = der(0x30, oid("2a864886f70d010101"), b"\x05\0")
AES_256_GCM, AES_256_CBC = "60864801650304012e", "60864801650304012a"


def named(recipient: str) -> bytes:
    """Issuer and serial number of a certificate."""
    own = certificate(recipient)
    return der(0x30, own.issuer.public_bytes(), der(0x02, own.serial_number.to_bytes(2, "big")))


def recipient_infos(
    recipients: tuple[str, ...],
    wrapped: list[dict[str, Any]],
    wrapping: bytes,
    version: bytes = b"\x02\x01\0",
) -> list[bytes]:
    return [
        der(0x30, version, named(each), wrapping, der(0x04, base64.b64decode(entry["wrapped_key"])))
        for each, entry in zip(recipients, wrapped, strict=True)
    ]


SEGMENT = 65_536


def segments(content: bytes, size: int = SEGMENT) -> bytes:
    cut = [content[start : start + size] for start in range(0, len(content), size)] or [b""]
    return b"".join(der(0x04, each) for each in cut)


def signed_data(plaintext: bytes) -> bytes:
    """A ContentInfo with SignedData by the key of other-sender, which signs files."""
    kind = oid("2a864886f70d010701")
    attributes = b"".join(sorted([
        der(0x30, oid("2a864886f70d010903"), der(0x31, kind)),
        der(0x30, oid("2a864886f70d010905"), der(0x31, der(0x17, b"261122020000Z"))),
        der(0x30, oid("2a864886f70d010904"), der(0x31, der(0x04, hashlib.sha256(plaintext).digest()))),
    ]))  # fmt: skip
    signature = private_key("other-sender").sign(der(0x31, attributes), padding.PKCS1v15(), hashes.SHA256())
    signer = der(
        0x30, b"\x02\x01\x01", named("other-sender"), SHA256_ALGORITHM, der(0xA0, attributes), PKCS1_ALGORITHM,
        der(0x04, signature),
    )  # fmt: skip
    own = certificate("other-sender").public_bytes(serialization.Encoding.DER)
    return b"".join([
        b"\x30\x80", oid("2a864886f70d010702"), b"\xa0\x80", b"\x30\x80\x02\x01\x01", der(0x31, SHA256_ALGORITHM),
        b"\x30\x80", kind, b"\xa0\x80\x24\x80", segments(plaintext), bytes(6),
        der(0xA0, own), der(0x31, signer), bytes(6),
    ])  # fmt: skip


MIME_HEAD = (
    b'MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"\r\n'
    b'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="smime.p7m"\r\n\r\n'
)


def armoured(data: bytes, kind: str) -> bytes:
    text, end = base64.b64encode(data), b"\r\n" if kind == "mime" else b"\n"
    lines = b"".join(text[start : start + 64] + end for start in range(0, len(text), 64))
    return {"pem": b"-----BEGIN CMS-----\n" + lines + b"-----END CMS-----\n", "mime": MIME_HEAD + lines, "none": data}[
        kind
    ]


class Scenario:
    """A batch in the making. Its parts may be changed at any stage; `write` makes what is left consistent."""

    def __init__(self, name: str, comment: str, expect: str = "ok") -> None:
        self.name, self.comment, self.expect = name, comment, expect
        self.chance = Chance(name)
        self.key, self.sender, self.batch, self.strict = "partner", "sender", BATCH, False
        self.chosen: str | None = None
        self.prefix = BATCH + "."
        self.stored: dict[str, bytes] = {}
        self.lines: list[dict[str, Any]] = []
        self.keys: list[dict[str, Any]] = []
        self.opened: dict[str, str] = {}
        self.opened_by_openpgp: dict[str, str] | None = None
        self.sums: list[dict[str, str]] | None = None
        self.change_keys: Callable[[dict[str, Any]], object] = lambda _: None
        self.change_manifest: Callable[[dict[str, Any]], object] = lambda _: None
        self.encode_manifest: Callable[[dict[str, Any]], bytes] = canonical
        self.sign: Callable[[bytes], bytes] = lambda data: pss(private_key("sender"), data, self.chance(32))
        self.finish: Callable[[dict[str, bytes]], object] = lambda _: None

    def wrap(self, file_key: bytes, recipients: tuple[str, ...], alg: str = "RSA-OAEP-256") -> list[dict[str, Any]]:
        encrypt = pkcs1 if alg == "RSA1_5" else oaep
        return [
            {
                "alg": alg,
                "kid": f"https://example.vault.azure.net/secrets/{each}-certificate/0123456789abcdef0123456789abcdef",
                "wrapped_key": base64.b64encode(encrypt(public_key(each), file_key, self.chance(32))).decode(),
                "x5t#S256": thumbprint(each),
            }
            for each in recipients
        ]

    def add(
        self,
        file: str,
        kind: str,
        plaintext: bytes,
        sealed: bytes,
        recipients: list[dict[str, Any]],
        detached: dict[str, str] | None = None,
        extension: str | None = None,
    ) -> None:
        """List a sealed file in manifest and keys.json."""
        endings = {"native": ".sealed", "detached": ".enc", "cms": ".cms"}
        sealed_name = file + (endings[kind] if extension is None else extension)
        self.stored[sealed_name] = sealed
        self.keys.append(
            {"name": file, "recipients": recipients, "sealed_name": sealed_name, "sealed_sha256": sha256(sealed)}
        )
        self.lines.append(
            {
                "detached": detached,
                "format": kind,
                "name": file,
                "plaintext_bytes": len(plaintext),
                "recipients": [{"kid": each["kid"], "x5t#S256": each["x5t#S256"]} for each in recipients],
                "rows": None if kind == "cms" else 7,
                "sealed_bytes": len(sealed),
                "sealed_name": sealed_name,
                "sealed_sha256": sha256(sealed),
            }
        )
        if self.expect == "ok":
            self.opened[file] = sha256(plaintext)

    def summing(self, totals: dict[str, str], *by_file: dict[str, str]) -> Scenario:
        """Make the manifest one of version 2: sums by column, of each file and of the batch."""

        def as_list(sums: dict[str, str]) -> list[dict[str, str]]:
            return [{"column": column, "sum": total} for column, total in sums.items()]

        for line, sums in zip(self.lines, by_file, strict=True):
            line["sums"] = as_list(sums)
        self.sums = as_list(totals)
        return self

    def native(
        self,
        size: int = 20,
        *,
        file: str = "a.csv",
        recipients: tuple[str, ...] = ("partner",),
        header: Callable[[dict[str, Any]], object] = lambda _: None,
        encode: Callable[[dict[str, Any]], bytes] = canonical,
        after: Callable[[dict[str, Any]], object] = lambda _: None,
        frame: Callable[[bytes], bytes] = lambda encoded: b"SEALIFT\x01" + len(encoded).to_bytes(4, "big") + encoded,
        body: Callable[[list[bytes]], list[bytes]] = lambda parts: parts,
        listed: int | None = None,
        same_keys: bool = True,
    ) -> Scenario:
        """Seal a native file. `header` changes the header before, `after` after the body was bound to it."""
        plaintext, file_key = plaintext_of(file, size), self.chance(32)
        wrapped = self.wrap(file_key, recipients)
        document: dict[str, Any] = {
            "batch": self.batch,
            "body": "cobblestone-256",
            "created": "2026-11-22T02:00:00Z",
            "name": file,
            "plaintext_bytes": size if listed is None else listed,
            "recipients": json.loads(json.dumps(wrapped)),
            "type": "sealift-file",
            "version": 1,
        }
        header(document)
        parts = chunked(file_key, self.chance(24), hashlib.sha256(frame(encode(document))).digest(), plaintext)
        after(document)
        sealed = frame(encode(document)) + b"".join(body(parts))
        self.add(file, "native", plaintext, sealed, document["recipients"] if same_keys else wrapped)
        if listed is not None:
            self.lines[-1]["plaintext_bytes"] = listed
        return self

    def detached(
        self,
        size: int = 20,
        *,
        file: str = "d.csv",
        recipients: tuple[str, ...] = ("partner",),
        data: Callable[[bytes], bytes] = lambda sealed: sealed,
        line: Callable[[dict[str, Any]], object] = lambda _: None,
    ) -> Scenario:
        plaintext, file_key, nonce = plaintext_of(file, size), self.chance(32), self.chance(12)
        wrapped = self.wrap(file_key, recipients)
        sealed = AESGCM(file_key).encrypt(nonce, plaintext, None)
        key_file = base64.b64decode(wrapped[0]["wrapped_key"])
        self.stored[f"{file}.key"] = key_file
        outside = {
            "key_name": f"{file}.key",
            "key_sha256": sha256(key_file),
            "nonce": nonce.hex(),
            "tag": sealed[-16:].hex(),
        }
        line(outside)
        self.add(file, "detached", plaintext, data(sealed[:-16]), wrapped, outside)
        return self

    def cms(
        self,
        size: int = 20,
        *,
        file: str = "c.csv",
        recipients: tuple[str, ...] = ("partner",),
        algorithm: str = AES_256_GCM,
        wrapping: bytes = OAEP_ALGORITHM,
        version: bytes = b"\x02\x01\0",
        order: Callable[[list[bytes]], list[bytes]] = sorted,
        data: Callable[[bytes], bytes] = lambda sealed: sealed,
        mac: Callable[[bytes], bytes] = lambda tag: tag,
        nonce: Callable[[bytes], bytes] = lambda nonce: nonce,
        whole: Callable[[bytes], bytes] = lambda whole: whole,
    ) -> Scenario:
        plaintext, file_key, chosen = plaintext_of(file, size), self.chance(32), self.chance(12)
        wrapped = self.wrap(file_key, recipients)
        if algorithm == AES_256_GCM:
            message = AESGCM(file_key).encrypt(chosen, plaintext, None)
        else:
            block = plaintext + bytes([16 - size % 16]) * (16 - size % 16)
            message = Cipher(algorithms.AES(file_key), modes.CBC(chosen + bytes(4))).encryptor().update(block) + bytes(
                16
            )
        infos = recipient_infos(recipients, wrapped, wrapping, version)
        content = der(
            0x30,
            oid("2a864886f70d010701"),
            der(0x30, oid(algorithm), der(0x30, der(0x04, nonce(chosen)), der(0x02, b"\x10"))),
            der(0x80, data(message[:-16])),
        )
        envelope = der(0x30, b"\x02\x01\0", der(0x31, *order(infos)), content, der(0x04, mac(message[-16:])))
        self.add(file, "cms", plaintext, whole(der(0x30, oid("2a864886f70d0109100117"), der(0xA0, envelope))), wrapped)
        return self

    def smime(
        self,
        size: int = 20,
        *,
        file: str = "s.csv",
        recipients: tuple[str, ...] = ("partner",),
        alg: str = "RSA1_5",
        wrapping: bytes | None = None,
        sign: bool = False,
        armour: str = "none",
        extension: str = ".p7m",
        cipher: str = AES_256_CBC,
        order: Callable[[list[bytes]], list[bytes]] = sorted,
        content: Callable[[bytes], bytes] = lambda content: content,
        padded: Callable[[bytes], bytes] = lambda padded: padded,
        parts: Callable[[bytes], bytes] = segments,
        whole: Callable[[bytes], bytes] = lambda whole: whole,
        text: Callable[[bytes], bytes] = lambda text: text,
    ) -> Scenario:
        plaintext, file_key, iv = plaintext_of(file, size), self.chance(32), self.chance(16)
        wrapped = self.wrap(file_key, recipients, alg)
        inner = content(signed_data(plaintext) if sign else plaintext)
        count = 16 - len(inner) % 16
        block = padded(inner + bytes([count]) * count)
        sealed = Cipher(algorithms.AES(file_key), modes.CBC(iv)).encryptor().update(block)
        way = wrapping or (PKCS1_ALGORITHM if alg == "RSA1_5" else OAEP_ALGORITHM)
        data = b"".join([
            b"\x30\x80", oid("2a864886f70d010703"), b"\xa0\x80", b"\x30\x80\x02\x01\0",
            der(0x31, *order(recipient_infos(recipients, wrapped, way))),
            b"\x30\x80", oid("2a864886f70d010701"), der(0x30, oid(cipher), der(0x04, iv)), b"\xa0\x80",
            parts(sealed), bytes(10),
        ])  # fmt: skip
        self.add(file, "smime", plaintext, text(armoured(whole(data), armour)), wrapped, extension=extension)
        return self

    def openpgp(
        self,
        size: int = 20,
        *,
        recipients: tuple[str, ...] = ("partner",),
        sender: Sender | None = Sender(private_key("other-sender")),  # noqa: B008  # a value that nobody changes
        shape: Shape = Shape(),  # noqa: B008
        extension: str = ".pgp",
        opens: bool = True,
    ) -> Scenario:
        """Seal an OpenPGP file; `opens` says whether an OpenPGP program may open it."""
        file, session_key, prefix = "p.csv", self.chance(32), self.chance(16)
        plaintext = plaintext_of(file, size)
        made = {each: pgp_wrap(pgp_subkey(each), session_key, self.chance) for each in recipients}
        wrapped = [
            {
                "alg": "OpenPGP-PKESK",
                "kid": f"https://example.vault.azure.net/secrets/{each}-certificate/0123456789abcdef0123456789abcdef",
                "wrapped_key": base64.b64encode(body).decode(),
                "x5t#S256": pgp_thumbprint(key),
            }
            for each, (body, key) in made.items()
        ]
        bodies = [body for body, _ in made.values()]
        sealed = message(session_key, prefix, bodies, (file, CREATED, plaintext), sender, shape)
        self.add(file, "openpgp", plaintext, sealed, wrapped, extension=extension)
        self.opened_by_openpgp = {file: sha256(plaintext)} if opens else {}
        return self

    def write(self, folder: Path) -> None:
        rows = [line["rows"] for line in self.lines]
        keys: dict[str, Any] = {"batch": self.batch, "files": self.keys, "type": "sealift-keys", "version": 1}
        self.change_keys(keys)
        keys_bytes = canonical(keys)
        manifest: dict[str, Any] = {
            "batch": self.batch,
            "created": "2026-11-22T02:00:10Z",
            "feed": "accruals",
            "files": self.lines,
            "keys_sha256": sha256(keys_bytes),
            "partner": "northwind",
            "previous_manifest_sha256": sha256(b"the manifest of the day before"),
            "record_head": None,
            "sequence": 42,
            "signature": "RSA-PSS-SHA256",
            "signing_key": "https://example.vault.azure.net/keys/sealift-signing/0123456789abcdef0123456789abcdef",
            "totals": {
                "files": len(self.lines),
                "plaintext_bytes": sum(line["plaintext_bytes"] for line in self.lines),
                "rows": None if None in rows else sum(rows),
                "sealed_bytes": sum(line["sealed_bytes"] for line in self.lines),
            },
            "type": "sealift-manifest",
            "version": 1,
            "window_end": "2026-11-22T00:00:00Z",
            "window_start": "2026-11-21T00:00:00Z",
        }
        if self.sums is not None:
            manifest["totals"]["sums"] = self.sums
            manifest["version"] = 2
        self.change_manifest(manifest)
        manifest_bytes = self.encode_manifest(manifest)
        stored = self.stored | {
            f"{self.prefix}keys.json": keys_bytes,
            f"{self.prefix}manifest.json": manifest_bytes,
            f"{self.prefix}manifest.json.sig": self.sign(manifest_bytes),
        }
        self.finish(stored)
        vector = {
            "batch": self.chosen,
            "comment": self.comment,
            "expect": self.expect,
            "files": {name: base64.b64encode(data).decode() for name, data in stored.items()},
            "key": self.key,
            "plaintexts": self.opened,
            "sender": self.sender,
            "strict": self.strict,
        }
        if self.opened_by_openpgp is not None:
            vector["opened_by_openpgp"] = self.opened_by_openpgp
        (folder / f"{self.name}.json").write_text(json.dumps(vector, indent=1, sort_keys=True) + "\n", encoding="ascii")
