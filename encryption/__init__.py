"""The sealed file: bytes in, bytes out; certificates, formats, manifest. docs/FORMAT.md is the spec.

    sealing = seal(chunks, file=FileInfo(...), recipients=[...], format="native")
    for piece in sealing: ...
    sealing.result, sealing.metadata

This package knows no Azure and no files; `encryption.vault` is its one edge and is imported by name only.
"""

from __future__ import annotations

from encryption.certificates import Recipient, load_recipients, load_verification_key
from encryption.errors import (
    CannotOpen,
    CertificateExpired,
    CertificateNotYetValid,
    CertificateRevoked,
    EncryptionError,
    FileTooLarge,
    InvalidValue,
    KeyTooSmall,
    MalformedHeader,
    MalformedManifest,
    NoEncryptionKey,
    NotRsa,
    PublishedKey,
    RecipientError,
    SecretMissing,
    SeveralOwners,
    SignatureInvalid,
    SizeMismatch,
    UnreadableCertificate,
    UnsupportedKey,
    VaultError,
    VaultForbidden,
    VaultUnreachable,
    WeakKey,
    WrongUsage,
)
from encryption.header import FileInfo, Header
from encryption.manifest import ColumnSum, Manifest, ManifestFile, keys_json, read_keys_json, verify_signature
from encryption.opening import open_cms, open_detached, open_sealed, open_smime, read_header
from encryption.openpgp import OpenPgp
from encryption.sealing import EXTENSIONS, FORMATS, RESULT_KEY, SealedFile, Sealing, seal
from encryption.signed_data import FileSigner
from encryption.smime import Smime
from encryption.wrapping import WrappedKey

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "RESULT_KEY",
    "CannotOpen",
    "CertificateExpired",
    "CertificateNotYetValid",
    "CertificateRevoked",
    "ColumnSum",
    "EncryptionError",
    "FileInfo",
    "FileSigner",
    "FileTooLarge",
    "Header",
    "InvalidValue",
    "KeyTooSmall",
    "MalformedHeader",
    "MalformedManifest",
    "Manifest",
    "ManifestFile",
    "NoEncryptionKey",
    "NotRsa",
    "OpenPgp",
    "PublishedKey",
    "Recipient",
    "RecipientError",
    "SealedFile",
    "Sealing",
    "SecretMissing",
    "SeveralOwners",
    "SignatureInvalid",
    "SizeMismatch",
    "Smime",
    "UnreadableCertificate",
    "UnsupportedKey",
    "VaultError",
    "VaultForbidden",
    "VaultUnreachable",
    "WeakKey",
    "WrappedKey",
    "WrongUsage",
    "keys_json",
    "load_recipients",
    "load_verification_key",
    "open_cms",
    "open_detached",
    "open_sealed",
    "open_smime",
    "read_header",
    "read_keys_json",
    "seal",
    "verify_signature",
]
