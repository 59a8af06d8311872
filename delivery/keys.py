"""Host-key pins and private keys, in every form partners and vaults hand them over.

A pin is a full public key line (`ssh-ed25519 AAAA… comment`, or a known_hosts line): only the whole key lets a client
ask for exactly that kind of key in the handshake. Fingerprints are made from it for people and for ADF; none is
accepted as a pin.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from delivery.errors import BadHostKey, BadPrivateKey

if TYPE_CHECKING:
    import paramiko

KEYS_KEPT = 16

# An RSA host key may sign with either hash; SHA-1 ("ssh-rsa" as a signature) is never offered.
_SIGNATURES = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """One server key: its algorithm and the public key as it travels in the handshake."""

    algorithm: str
    blob: bytes
    bits: int

    @property
    def sha256(self) -> str:
        """The fingerprint OpenSSH prints: `SHA256:…`."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def adf_fingerprint(self) -> str:
        """What the SFTP connector of Data Factory compares: algorithm, bits, MD5 in hex pairs."""
        digest = hashlib.md5(self.blob, usedforsecurity=False).hexdigest()
        return f"{self.algorithm} {self.bits} {':'.join(re.findall('..', digest))}"

    @property
    def line(self) -> str:
        return f"{self.algorithm} {base64.b64encode(self.blob).decode()}"

    @property
    def signatures(self) -> tuple[str, ...]:
        """The signature algorithms to ask the server for, so that it shows this kind of key."""
        return _SIGNATURES[self.algorithm]


def parse_host_key(line: str) -> HostKey:
    """Read one pin; a host name in front (known_hosts) and a comment behind are allowed and ignored."""
    text = line.strip()
    if text.startswith("@"):
        raise BadHostKey(
            f"host key pin starts with '{text.split()[0]}'",
            hint="pin the server's own key: certificates and revocations are not supported",
        )
    if text.upper().startswith(("SHA256:", "MD5:")):
        raise BadHostKey(
            f"host key pin is a fingerprint: {text}",
            hint="pin the whole public key, as `ssh-keyscan HOST` prints it, after comparing its fingerprint",
        )
    words = text.split()
    start = next((index for index, word in enumerate(words[:2]) if word in _SIGNATURES), None)
    if start is None or len(words) < start + 2:
        known = ", ".join(_SIGNATURES)
        raise BadHostKey(
            f"host key pin is not a public key line: {text[:40]!r}", hint=f"it starts with one of: {known}"
        )
    algorithm, encoded = words[start], words[start + 1]
    try:
        blob = base64.b64decode(encoded, validate=True)
        public = serialization.load_ssh_public_key(f"{algorithm} {encoded}".encode())
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise BadHostKey(
            f"host key pin is damaged: {text[:40]!r}", hint="copy the line again: one line, no breaks, no quotes"
        ) from error
    return HostKey(algorithm=algorithm, blob=blob, bits=_bits(public))


@lru_cache(maxsize=KEYS_KEPT)
def load_private_key(text: str | bytes, passphrase: str | None = None) -> paramiko.PKey:
    """Read an RSA, ECDSA or Ed25519 key from PEM, PKCS#8 or OpenSSH text, or from base64 of any of these.

    The last keys are kept: reading one takes longer than a login, for its numbers are checked. A key that is replaced has
    another text.
    """
    import paramiko  # a quarter of the app's start; most invocations deliver nothing

    data = _pem(text)
    password = passphrase.encode() if passphrase else None
    try:
        if b"BEGIN OPENSSH PRIVATE KEY" in data:
            key: object = serialization.load_ssh_private_key(data, password)
        else:
            key = serialization.load_pem_private_key(data, password)
    except TypeError as error:  # cryptography's way to say that a passphrase is missing, or not needed
        hint = "store the passphrase beside the key" if password is None else "remove the passphrase: the key has none"
        raise BadPrivateKey("private key and passphrase do not fit: " + str(error), hint=hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = "check the passphrase" if password else "store the key again, whole, from its BEGIN to its END line"
        raise BadPrivateKey("private key cannot be read", hint=hint) from error
    if isinstance(key, rsa.RSAPrivateKey):
        return paramiko.RSAKey(key=key)  # as it is: reading it once more would check its numbers once more
    if isinstance(key, ec.EllipticCurvePrivateKey):
        kind: type[paramiko.ECDSAKey | paramiko.Ed25519Key] = paramiko.ECDSAKey
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        kind = paramiko.Ed25519Key
    else:
        raise BadPrivateKey(
            f"private key is of a kind SSH cannot use: {type(key).__name__}",
            hint="make one with: ssh-keygen -t rsa -b 4096 -m PEM",
        )
    openssh = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return kind.from_private_key(io.StringIO(openssh.decode()))


def describe_private_key(key: paramiko.PKey) -> str:
    """Kind, size and fingerprint, in the words of `ssh-keygen -l`."""
    return f"{key.algorithm_name} {key.get_bits()} {key.fingerprint}"


def _pem(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    data = data.strip().lstrip(b"\xef\xbb\xbf")
    if b"-----BEGIN" not in data:
        try:
            data = base64.b64decode(b"".join(data.split()), validate=True).strip()
        except binascii.Error as error:
            hint = "it must be PEM, PKCS#8 or OpenSSH text, or base64 of these"
            if data.startswith(b"PuTTY-User-Key-File"):
                hint = "convert it: puttygen KEY.ppk -O private-openssh -o KEY"
            elif data.startswith((b"ssh-", b"ecdsa-")):
                hint = "this is the public half; the other file, without .pub, is the private key"
            raise BadPrivateKey("private key is in no known form", hint=hint) from error
    if b"PRIVATE KEY" not in data:
        raise BadPrivateKey(
            "this text holds no private key", hint="certificates and public keys go to the partner, not here"
        )
    if b"\n" not in data and b"\\n" in data:  # pasted through JSON once too often
        data = data.replace(b"\\n", b"\n")
    return data.replace(b"\r\n", b"\n") + b"\n"


def _bits(public: object) -> int:
    if isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return public.key_size
    return 256
