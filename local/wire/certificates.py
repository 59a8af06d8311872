"""A throw-away certificate authority for one run: every local address is HTTPS, trusted by this bundle alone.

The authority's private key lives in memory only. Nothing is added to the system's trust, and the bundle holds no public
authority, so a process that is given it can reach nothing but the services of this run.
"""

from __future__ import annotations

import ipaddress
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS = 7  # --keep may leave a stack up for a while; a forgotten one ends by itself


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, without a moment in which others could."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


class CertificateAuthority:
    """An authority whose certificate is `bundle`; issue() makes server certificates for the loopback addresses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.bundle = folder / "ca.pem"
        self._lock = threading.Lock()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._make_authority()
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to trust this authority, and no other."""
        return {"REQUESTS_CA_BUNDLE": str(self.bundle), "SSL_CERT_FILE": str(self.bundle)}

    def issue(self, name: str) -> tuple[Path, Path]:
        """Make a certificate for 127.0.0.1, ::1, localhost and `name`; return the files (certificate, private key)."""
        with self._lock:
            certificate_path, key_path = self.folder / f"{name}.pem", self.folder / f"{name}.key"
            if certificate_path.exists() and key_path.exists():
                return certificate_path, key_path
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = self._make_leaf(name, key.public_key())
            write_private(
                key_path,
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                ),
            )
            certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
            return certificate_path, key_path

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(AUTHORITY_NAME)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _make_authority(self) -> x509.Certificate:
        return (
            self._builder(AUTHORITY_NAME, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _make_leaf(self, name: str, public_key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        names: list[x509.GeneralName] = [x509.DNSName("localhost")]
        if name != "localhost":
            names.append(x509.DNSName(name))
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
        return (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), public_key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )


AUTHORITY_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sealift throw-away authority")])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
