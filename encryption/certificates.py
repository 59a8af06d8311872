"""Who may receive: X.509 certificates with RSA keys (docs/FORMAT.md, sections 4 and 14).

A `Recipient` has passed every check that needs no clock; `load_recipients` adds the dates and chooses the newest valid
certificate of a bundle. A bundle may be a whole chain: those who issued the partner's certificate are recognised and never
receive. It does NOT check chains or revocation: the partner's certificate is trusted because an operator put it into the
vault, as an SSH host key is.
"""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.utils import CryptographyDeprecationWarning

from encryption import canonical
from encryption.errors import (
    CertificateExpired,
    CertificateNotYetValid,
    NotRsa,
    RecipientError,
    SeveralOwners,
    SignatureInvalid,
    UnreadableCertificate,
    WrongUsage,
)
from encryption.rsa_numbers import check_rsa_key, check_rsa_numbers, refuse_published_modulus
from encryption.wrapping import ALGORITHM, SCHEMES

MAX_PEM_BYTES: Final = 262_144
WARN_DAYS: Final = (30, 7)

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
_PEM_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class Recipient:
    """One certificate that a file key may be wrapped for; dates are not its business."""

    key_id: str
    certificate: x509.Certificate
    algorithm: str = ALGORITHM  # how a file key is wrapped; S/MIME files may have another
    public_key: RSAPublicKey = field(init=False, repr=False, compare=False)  # the RSA key that wraps
    thumbprint: str = field(init=False)  # the `x5t#S256` of RFC 7515

    def __post_init__(self) -> None:
        canonical.text(self.key_id, canonical.KID, "a recipient's key id")
        check_key(self.certificate)
        # Read once: a batch wraps a key of every file for the same recipient.
        object.__setattr__(self, "public_key", public_key_of(self.certificate))
        object.__setattr__(self, "thumbprint", thumbprint(self.certificate))

    def wrap(self, file_key: bytes) -> bytes:
        """Return the file key under this certificate's RSA key."""
        return self.public_key.encrypt(file_key, SCHEMES[self.algorithm])

    @property
    def expires(self) -> datetime:
        """Return the certificate's last moment."""
        return self.certificate.not_valid_after_utc


def thumbprint(certificate: x509.Certificate) -> str:
    """Return base64url without padding of SHA-256 over the DER, as RFC 7515 names `x5t#S256`."""
    return base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()


def describe(certificate: x509.Certificate) -> str:
    """Return a certificate's name for people."""
    return f"certificate '{subject_of(certificate)}'"


def subject_of(certificate: x509.Certificate) -> str:
    """Return the subject as text, short; it is only for people to read."""
    try:
        return certificate.subject.rfc4514_string()[:120] or "(no name)"
    except ValueError:
        return "(a name that cannot be read)"


def public_key_of(certificate: x509.Certificate) -> RSAPublicKey:
    """Return the certificate's RSA key; raises NotRsa for any other and for one that cannot be read."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise NotRsa(f"{describe(certificate)} holds a key that cannot be read") from error
    if not isinstance(key, RSAPublicKey):
        raise NotRsa(f"{describe(certificate)} holds no RSA key")
    return key


def check_key(certificate: x509.Certificate) -> None:
    """Raise the leaf of RecipientError that says why this certificate may not receive."""
    who = describe(certificate)
    key = public_key_of(certificate)
    if certificate.public_key_algorithm_oid == x509.PublicKeyAlgorithmOID.RSASSA_PSS:
        raise WrongUsage(f"{who} has an RSA key that may only sign (RSASSA-PSS)")
    check_rsa_key(who, key)
    usage = extension_of(certificate, x509.KeyUsage)
    if usage and not usage.key_encipherment:
        raise WrongUsage(f"{who} does not allow key encipherment (its keyUsage extension)")


def extension_of(certificate: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    """Return one extension of a certificate, or None; raises UnreadableCertificate when they cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise UnreadableCertificate(f"{describe(certificate)} has extensions that cannot be read") from error


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """Return all certificates of a PEM text, in order; other blocks (a private key!) are an error."""
    if len(pem) > MAX_PEM_BYTES:
        raise UnreadableCertificate(f"the text has {len(pem):,} bytes; certificates are never so long")
    if b"PRIVATE KEY-----" in pem:
        raise UnreadableCertificate("the text holds a private key where a certificate is wanted", hint=PRIVATE_KEY_HINT)
    blocks = _PEM_CERTIFICATE.findall(pem)
    if not blocks or len(blocks) != pem.count(b"-----BEGIN "):
        raise UnreadableCertificate("the text is not one or more PEM certificates")
    return [decode_certificate(x509.load_pem_x509_certificate, block) for block in blocks]


def decode_certificate(loader: Callable[[bytes], x509.Certificate], data: bytes) -> x509.Certificate:
    """Return one certificate; raises UnreadableCertificate for anything that the loader dislikes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return loader(data)
    except (ValueError, x509.InvalidVersion) as error:
        raise UnreadableCertificate("the certificate cannot be decoded") from error


PRIVATE_KEY_HINT: Final = (
    "a private key belongs to its owner alone: if a partner sent it, delete it and tell them to make a new pair "
    "and to send only the certificate"
)


def load_recipients(pem: bytes, key_id: str | None, now: datetime) -> list[Recipient]:
    """Return the newest valid certificate of a PEM bundle as the one recipient that a new file is wrapped for.

    `key_id` is the vault's URI with version; without one the thumbprint is the name. Only the partner's own certificates
    are looked at (`own_certificates`). When none of them can be used, the error is that of the newest.
    """
    newest_first = sorted(
        own_certificates(read_certificates(pem)), key=lambda each: each.not_valid_before_utc, reverse=True
    )
    faults: list[RecipientError] = []
    for certificate in newest_first:
        try:
            check_dates(certificate, now)
            refuse_published(certificate)
            return [Recipient(key_id or thumbprint(certificate), certificate)]
        except RecipientError as error:
            faults.append(error)
    raise faults[0]


def own_certificates(bundle: list[x509.Certificate]) -> list[x509.Certificate]:
    """Return the certificates of a bundle that are the partner's own: old and new ones, without those who issued them.

    All must have one common name (or one subject, where there is none): a renewed certificate may differ in the rest. Raises
    SeveralOwners, and UnreadableCertificate when a name that has to be compared cannot be read.
    """
    if len(bundle) == 1:
        return bundle
    own = [each for each in bundle if not is_issuer(each, bundle)]
    if len({_owner(each) for each in own}) != 1:
        names = ", ".join(sorted({f"'{subject_of(each)}'" for each in own or bundle}))
        raise SeveralOwners(f"the certificates are of several owners: {names}")
    return own


def is_issuer(certificate: x509.Certificate, bundle: list[x509.Certificate]) -> bool:
    """Return whether a certificate stands above another one of its bundle, so that its key is an authority's.

    That is one whose subject issued a certificate of another subject, and an authority (basicConstraints) beside others that
    are none. An authority of the same owner as one of those is a rotation, not a chain: `openssl req -x509` calls every
    self-signed certificate an authority.
    """
    try:
        if any(each.issuer == certificate.subject != each.subject for each in bundle):
            return True
        owners = {_owner(each) for each in bundle if not _is_authority(each)}
        return bool(owners) and _owner(certificate) not in owners
    except ValueError as error:
        raise UnreadableCertificate("a certificate of the bundle has a name that cannot be read") from error


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = extension_of(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _owner(certificate: x509.Certificate) -> object:
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return common[0].value if common else certificate.subject


def expiry_warning(pem: bytes, now: datetime) -> str | None:
    """Return words for people from 30 days before the certificate in use ends, unless a successor is in the bundle."""
    (recipient,) = load_recipients(pem, None, now)
    days = (recipient.expires - now).days
    if days >= max(WARN_DAYS) or any(_succeeds(each, recipient) for each in own_certificates(read_certificates(pem))):
        return None
    urgency = "now" if days < min(WARN_DAYS) else "soon"
    ends = f"{describe(recipient.certificate)} ends in {days} days, on {recipient.expires:%Y-%m-%d}"
    return f"{ends}: ask the partner {urgency} for its successor"


def _succeeds(other: x509.Certificate, recipient: Recipient) -> bool:
    return other.not_valid_before_utc <= recipient.expires < other.not_valid_after_utc


def check_dates(certificate: x509.Certificate, now: datetime) -> None:
    """Raise when the certificate is expired or not yet valid."""
    if now > certificate.not_valid_after_utc:
        raise CertificateExpired(f"{describe(certificate)} expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if now < certificate.not_valid_before_utc:
        raise CertificateNotYetValid(f"{describe(certificate)} starts {certificate.not_valid_before_utc:%Y-%m-%d}")


def refuse_published(certificate: x509.Certificate) -> None:
    """Raise when everybody has the private key: it belongs to the test vectors."""
    refuse_published_modulus(describe(certificate), public_key_of(certificate).public_numbers().n)


def load_verification_key(pem: bytes) -> RSAPublicKey:
    """Return the RSA key of a PEM certificate or a PEM public key that verifies manifests."""
    try:
        if b"-----BEGIN CERTIFICATE-----" in pem:
            key = x509.load_pem_x509_certificate(pem).public_key()
        else:
            loaded = serialization.load_pem_public_key(pem)
            key = loaded  # type: ignore[assignment]  # one union of key types against another; RSA is checked below
    except ValueError as error:
        raise SignatureInvalid("the verification key is neither a PEM certificate nor a PEM public key") from error
    if not isinstance(key, RSAPublicKey):
        raise SignatureInvalid("the verification key is not an RSA key")
    try:
        check_rsa_numbers("the sender", key.public_numbers().n, key.public_numbers().e)
    except RecipientError as error:
        raise SignatureInvalid(f"the verification key cannot be trusted: {error}") from error
    return key
