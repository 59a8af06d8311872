"""Keys, certificates and sealed files for the tests of encryption/; RSA keys are made once per process."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from encryption import CannotOpen, FileInfo, FileSigner, Recipient, SealedFile, Sealing, seal
from encryption.openpgp import PgpRecipient, load_openpgp_recipients
from encryption.signed_data import own_smime_certificate
from encryption.wrapping import Receiver
from local.openpgp_desk import Desk, NotOpened

NOW = dt.datetime(2026, 11, 22, 2, 0, 0, tzinfo=dt.UTC)
BATCH = "northwind.accruals.2026-11-21.1"
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
    "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def rsa_key(owner: str = "partner", bits: int = 3072, exponent: int = 65537) -> rsa.RSAPrivateKey:
    return _rsa_key(owner, bits, exponent)


@functools.cache
def _rsa_key(_owner: str, bits: int, exponent: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(exponent, bits)


def make_certificate(
    key: Any = None,
    *,
    owner: str = "partner",
    first_day: int = -10,
    last_day: int = 365,
    usage: tuple[str, ...] | None = ("key_encipherment",),
    issuer: str = "",
    authority: bool | None = None,
    company: str = "",
) -> x509.Certificate:
    """A certificate around NOW, self-signed unless an issuer is named; days count from there."""
    key = key or rsa_key(owner)
    subject = name(owner, company)
    builder = (
        x509.CertificateBuilder(
            name(issuer) if issuer else subject, subject, key.public_key(), x509.random_serial_number()
        )
        .not_valid_before(NOW + dt.timedelta(days=first_day))
        .not_valid_after(NOW + dt.timedelta(days=last_day))
    )
    if usage is not None:
        builder = builder.add_extension(x509.KeyUsage(**{each: each in usage for each in USAGES}), critical=True)
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    signer = key if isinstance(key, rsa.RSAPrivateKey) and not issuer else rsa_key(issuer or "issuer")
    return builder.sign(signer, hashes.SHA256())


def certificate_of_today(key: Any, owner: str = "partner", *extensions: x509.ExtensionType) -> x509.Certificate:
    """A certificate that programs which look at the machine's clock take for valid."""
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name(owner), name(owner), key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=99))
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return builder.sign(key, hashes.SHA256())


def name(owner: str, company: str = "") -> x509.Name:
    parts = [(x509.NameOID.ORGANIZATION_NAME, company)] * bool(company) + [(x509.NameOID.COMMON_NAME, owner)]
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def private_pem(key: Any, password: bytes | None = None) -> bytes:
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection))


def public_pem(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))


@functools.cache
def recipient(owner: str, bits: int = 3072) -> Recipient:
    return Recipient(f"https://vault.example/secrets/{owner}/1", make_certificate(rsa_key(owner, bits), owner=owner))


@functools.cache
def desk(owner: str = "partner") -> Desk:
    """A partner's OpenPGP keys; the RSA keys are those of the certificates."""
    return Desk(f"{owner} <{owner}@example.org>", NOW - dt.timedelta(days=10), rsa_key(owner), rsa_key(owner))


@functools.cache
def pgp_recipient(owner: str = "partner") -> PgpRecipient:
    key_id = f"https://vault.example/secrets/{owner}/1"
    return load_openpgp_recipients(desk(owner).certificate(), key_id, NOW)[0]


def sign_digest(digest: bytes) -> bytes:
    """Sign as Key Vault does for RS256."""
    return rsa_key("smime sender").sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))


@functools.cache
def smime_signer() -> FileSigner:
    """The signer of S/MIME files; programs look at the clock of the machine, so the key is of yesterday."""
    made = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(days=1)
    public_key = rsa_key("smime sender").public_key()
    return FileSigner(own_smime_certificate(public_key, "sealift-smime", made, sign_digest), sign_digest)


def receiver(owner: str, format: str) -> Receiver:  # noqa: A002
    """The recipient of a file of the format."""
    return pgp_recipient(owner) if format == "openpgp" else recipient(owner)


def open_openpgp(data: bytes, owner: str = "partner") -> bytes:
    """Open with the partner's own program, which shares no code with the one that wrote."""
    try:
        return desk(owner).open(data).content
    except NotOpened:
        raise CannotOpen from None


def file_info(size: int, **changes: Any) -> FileInfo:
    values: dict[str, Any] = {"batch": BATCH, "name": "a.csv", "plaintext_bytes": size, "created": NOW}
    return FileInfo(**values | changes)


def start(plaintext: bytes, format: str = "native", *owners: str) -> Sealing:  # noqa: A002  # the field's word
    recipients = [receiver(each, format) for each in owners or ("partner",)]
    return seal([plaintext], file=file_info(len(plaintext)), recipients=recipients, format=format)


def sealed(plaintext: bytes, format: str = "native", *owners: str) -> tuple[bytes, SealedFile]:  # noqa: A002
    sealing = start(plaintext, format, *owners)
    return b"".join(sealing), sealing.result
