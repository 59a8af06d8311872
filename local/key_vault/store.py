"""What the Key Vault stand-in keeps: secrets with versions, RSA keys with their operations, certificates of keys.

The shapes are those of Key Vault's REST API (7.x and 2025-07-01). Values live in memory only and never reach a log.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.x509.oid import NameOID

MAX_SECRET_BYTES = 25_600
ALL_OPERATIONS = ("encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey")
_SIGNATURES: dict[str, tuple[hashes.HashAlgorithm, bool]] = {
    "PS256": (hashes.SHA256(), True),
    "PS384": (hashes.SHA384(), True),
    "PS512": (hashes.SHA512(), True),
    "RS256": (hashes.SHA256(), False),
    "RS384": (hashes.SHA384(), False),
    "RS512": (hashes.SHA512(), False),
}
_WRAPPINGS: dict[str, hashes.HashAlgorithm] = {"RSA-OAEP-256": hashes.SHA256(), "RSA-OAEP": hashes.SHA1()}  # noqa: S303


class Refused(Exception):
    """An answer in Key Vault's error shape: status, code, message and, where Azure has one, the inner code."""

    def __init__(self, status: int, code: str, message: str, inner: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        error: dict[str, Any] = {"code": code, "message": message}
        if inner is not None:
            error["innererror"] = {"code": inner}
        self.body = {"error": error}


def not_found(kind: str, name: str) -> Refused:
    """Azure's own 404: kind is 'Secret', 'Key' or 'Certificate'."""
    return Refused(
        404,
        f"{kind}NotFound",
        f"A {kind.lower()} with (name/id) {name} was not found in this key vault. If you recently deleted this "
        f"{kind.lower()} you may be able to recover it using the correct recovery command.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    name: str
    version: str
    value: str = field(repr=False)
    content_type: str | None
    attributes: dict[str, Any]
    tags: dict[str, str]

    def describe(self, vault: str, *, with_value: bool, with_version: bool = True) -> dict[str, Any]:
        content: dict[str, Any] = {
            "id": f"{vault}/secrets/{self.name}" + (f"/{self.version}" if with_version else ""),
            "attributes": self.attributes,
            "tags": self.tags,
        }
        if self.content_type is not None:
            content["contentType"] = self.content_type
        return content | ({"value": self.value} if with_value else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    name: str
    version: str
    private_key: rsa.RSAPrivateKey = field(repr=False)
    operations: tuple[str, ...]
    attributes: dict[str, Any]

    def kid(self, vault: str) -> str:
        return f"{vault}/keys/{self.name}/{self.version}"

    def describe(self, vault: str) -> dict[str, Any]:
        numbers = self.private_key.public_key().public_numbers()
        return {
            "key": {
                "kid": self.kid(vault),
                "kty": "RSA",
                "key_ops": list(self.operations),
                "n": encode(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)),
                "e": encode(numbers.e.to_bytes(3)),
            },
            "attributes": self.attributes,
        }

    def operate(self, operation: str, body: dict[str, Any]) -> bytes | bool:
        """Carry out sign, verify, wrapkey or unwrapkey; the private key never leaves this object."""
        allowed = {name.lower() for name in self.operations}
        if operation not in allowed:
            raise Refused(
                403, "Forbidden", f"Operation {operation} is not permitted on this key.", "KeyOperationForbidden"
            )
        algorithm = body.get("alg")
        if operation in ("sign", "verify"):
            if algorithm not in _SIGNATURES:
                raise Refused(400, "BadParameter", f"Property alg has invalid value {algorithm!r} for an RSA key.")
            return self._sign_or_verify(operation, algorithm, body)
        if algorithm not in _WRAPPINGS:
            raise Refused(400, "BadParameter", f"Property alg has invalid value {algorithm!r} for an RSA key.")
        digest = _WRAPPINGS[algorithm]
        scheme = padding.OAEP(padding.MGF1(digest), digest, None)
        if operation in ("wrapkey", "encrypt"):
            return self.private_key.public_key().encrypt(decode(body["value"]), scheme)
        try:
            return self.private_key.decrypt(decode(body["value"]), scheme)
        except ValueError:
            raise Refused(400, "BadParameter", "The parameter is incorrect.") from None

    def _sign_or_verify(self, operation: str, algorithm: str, body: dict[str, Any]) -> bytes | bool:
        digest, is_pss = _SIGNATURES[algorithm]
        value = decode(body["digest"] if operation == "verify" else body["value"])
        if len(value) != digest.digest_size:
            raise Refused(400, "BadParameter", f"Invalid length of 'value': {len(value)} bytes for {algorithm}.")
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if is_pss:
            scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
        if operation == "sign":
            return self.private_key.sign(value, scheme, utils.Prehashed(digest))
        try:
            self.private_key.public_key().verify(decode(body["value"]), value, scheme, utils.Prehashed(digest))
        except InvalidSignature:
            return False
        return True


class Store:
    """Secrets, keys and certificates by name, newest version last; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: dict[str, list[Secret]] = {}
        self._keys: dict[str, list[Key]] = {}
        self._certificates: dict[str, bytes] = {}

    def set_secret(self, name: str, body: dict[str, Any]) -> Secret:
        value = body.get("value")
        if not isinstance(value, str):
            raise Refused(400, "BadParameter", "The request body has no 'value'.")
        if len(value.encode()) > MAX_SECRET_BYTES:
            raise Refused(400, "BadParameter", f"Secret value is longer than {MAX_SECRET_BYTES} bytes.")
        secret = Secret(
            name=name,
            version=new_version(),
            value=value,
            content_type=body.get("contentType"),
            attributes=_attributes(body.get("attributes") or {}),
            tags=dict(body.get("tags") or {}),
        )
        with self._lock:
            self._secrets.setdefault(name, []).append(secret)
        return secret

    def secret(self, name: str, version: str | None) -> Secret:
        secret = _version(self.secret_versions(name), version)
        if secret is None:
            raise not_found("Secret", name if version is None else f"{name}/{version}")
        if not secret.attributes["enabled"]:
            raise Refused(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled")
        return secret

    def secret_versions(self, name: str) -> list[Secret]:
        with self._lock:
            return list(self._secrets.get(name, []))

    def secret_names(self) -> list[str]:
        with self._lock:
            return sorted(self._secrets)

    def delete_secret(self, name: str) -> Secret:
        with self._lock:
            versions = self._secrets.pop(name, None)
        if versions is None:
            raise not_found("Secret", name)
        return versions[-1]

    def create_key(self, name: str, bits: int, operations: Sequence[str]) -> Key:
        """Make a new version of an RSA key, and the self-signed certificate that shows its public half."""
        private_key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        key = Key(
            name=name,
            version=new_version(),
            private_key=private_key,
            operations=tuple(operations),
            attributes=_attributes({}) | {"exportable": False},
        )
        certificate = _self_signed(name, private_key)
        with self._lock:
            self._keys.setdefault(name, []).append(key)
            self._certificates[name] = certificate
        return key

    def key(self, name: str, version: str | None) -> Key:
        with self._lock:
            versions = list(self._keys.get(name, []))
        key = _version(versions, version)
        if key is None:
            raise not_found("Key", name if version is None else f"{name}/{version}")
        return key

    def certificate(self, name: str, vault: str) -> dict[str, Any]:
        with self._lock:
            cer = self._certificates.get(name)
        if cer is None:
            raise not_found("Certificate", name)
        key = self.key(name, None)
        return {
            "id": f"{vault}/certificates/{name}/{key.version}",
            "kid": key.kid(vault),
            "sid": f"{vault}/secrets/{name}/{key.version}",
            "x5t": encode(hashlib.sha1(cer).digest()),  # noqa: S324 - x5t is SHA-1 by definition
            "cer": base64.b64encode(cer).decode(),
            "attributes": key.attributes,
            "policy": {"key_props": {"exportable": False, "kty": "RSA", "key_size": key.private_key.key_size}},
        }


def new_version() -> str:
    return secrets.token_hex(16)


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


T = TypeVar("T", Secret, Key)


def _version(versions: list[T], version: str | None) -> T | None:
    if version is None:
        return versions[-1] if versions else None
    return next((item for item in versions if item.version == version), None)


def _attributes(given: dict[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    kept = {name: given[name] for name in ("exp", "nbf") if given.get(name) is not None}
    return {
        "enabled": given.get("enabled") is not False,
        "created": now,
        "updated": now,
        "recoveryLevel": "Recoverable",
    } | kept


def _self_signed(name: str, key: rsa.RSAPrivateKey) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=730))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.DER)
