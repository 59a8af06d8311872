"""Who may receive OpenPGP: the one key of a partner's certificates that a session key is wrapped for
(docs/FORMAT.md, section 17).

`choose_key` picks the newest subkey that is bound, for encryption, not revoked and not expired. Several certificates in one text
are a rotation when they share an owner. A certificate is trusted because an operator put it into the vault.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from encryption import canonical
from encryption.certificates import WARN_DAYS
from encryption.errors import (
    CertificateExpired,
    CertificateNotYetValid,
    CertificateRevoked,
    NoEncryptionKey,
    RecipientError,
    SeveralOwners,
    UnreadableCertificate,
    UnsupportedKey,
)
from encryption.openpgp.certificates import AGAIN, Certificate, Subkey, read_certificates
from encryption.openpgp.keys import Key
from encryption.openpgp.signatures import ENCRYPT
from encryption.rsa_numbers import check_rsa_numbers, refuse_published_modulus
from encryption.wrapping import OPENPGP

MIN_BITS: Final = 2048
ADVISED_BITS: Final = 3072
_MAIL: Final = re.compile(r"<([^<>\s]+@[^<>\s]+)>\s*\Z|\A([^<>\s]+@[^<>\s]+)\Z")


@dataclass(frozen=True, slots=True)
class PgpRecipient:
    """One OpenPGP key that a session key may be wrapped for; dates were looked at when it was chosen."""

    key_id: str
    certificate: Certificate
    key: Key
    expires: datetime | None

    def __post_init__(self) -> None:
        canonical.text(self.key_id, canonical.KID, "a recipient's key id")

    @property
    def algorithm(self) -> str:
        """Return how a file key is wrapped for this recipient."""
        return OPENPGP

    def wrap(self, file_key: bytes) -> bytes:
        """Return the body of the packet that carries the file key, as OpenPGP's session key, for this recipient."""
        return self.key.wrap(file_key)

    @property
    def thumbprint(self) -> str:
        """Return base64url without padding of SHA-256 over the encryption key, in the form that its fingerprint hashes."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.key.hashed).digest()).rstrip(b"=").decode()


def choose_key(certificate: Certificate, now: datetime) -> tuple[Key, datetime | None]:
    """Return the key that a session key is wrapped for, and when it or its certificate expires.

    The newest usable subkey; the primary key itself only where the certificate has no subkey for encryption at all and says that
    the primary key is for it. Raises the leaf of RecipientError that says why there is none.
    """
    _check_certificate(certificate, now)
    faults: list[RecipientError] = []
    newest_first = sorted(certificate.subkeys, key=lambda each: each.key.created, reverse=True)
    candidates = [each for each in newest_first if each.is_bound and (each.flags or 0) & ENCRYPT]
    if not candidates and (certificate.flags or 0) & ENCRYPT:
        candidates = [Subkey(certificate.primary, certificate.expires, certificate.flags, True, False)]
    for each in candidates:
        try:
            _check_subkey(each, certificate, now)
            ends = [end for end in (each.expires, certificate.expires) if end]
            return each.key, min(ends, default=None)
        except RecipientError as error:
            faults.append(error)
    if faults:
        raise faults[0]
    raise NoEncryptionKey(f"{certificate.name} has no key for encryption: {_why_none(certificate)}")


def _why_none(certificate: Certificate) -> str:
    if any(each.is_bound and each.flags is None and each.key.can_encrypt for each in certificate.subkeys):
        return "its subkeys do not say what they are for"
    if any(not each.is_bound for each in certificate.subkeys):
        return "a subkey is not bound to it by a valid signature"
    return "it can only sign"


def _check_certificate(certificate: Certificate, now: datetime) -> None:
    if certificate.is_revoked:
        raise CertificateRevoked(f"{certificate.name} was revoked by its owner")
    if certificate.primary.material is None:
        raise UnsupportedKey(f"{certificate.name} has a primary key of {certificate.primary.name}")
    if not certificate.is_proven and certificate.weak_hash:
        raise UnsupportedKey(
            f"{certificate.name} is signed by itself with {certificate.weak_hash} only, which is broken"
        )
    if not certificate.is_proven:
        raise UnreadableCertificate(f"{certificate.name} has no valid self-signature", hint=AGAIN)
    _check_rsa(certificate.primary, certificate.name)
    _check_end(certificate.name, certificate.primary.created, certificate.expires, now)


def _check_subkey(subkey: Subkey, certificate: Certificate, now: datetime) -> None:
    who = f"the encryption key {subkey.key.key_id.hex().upper()} of {certificate.name}"
    if subkey.is_revoked:
        raise CertificateRevoked(f"{who} was revoked by its owner")
    if not subkey.key.can_encrypt:
        raise UnsupportedKey(f"{who} is {subkey.key.name}")
    _check_rsa(subkey.key, who)
    _check_end(who, subkey.key.created, subkey.expires, now)


def _check_end(who: str, created: datetime, expires: datetime | None, now: datetime) -> None:
    if expires is not None and expires <= now:
        raise CertificateExpired(f"{who} expired on {expires:%Y-%m-%d}")
    if created > now:
        raise CertificateNotYetValid(f"{who} is dated {created:%Y-%m-%d}, which is still to come")


def _check_rsa(key: Key, who: str) -> None:
    if not isinstance(key.material, RSAPublicKey):
        return
    numbers = key.material.public_numbers()
    refuse_published_modulus(who, numbers.n)
    check_rsa_numbers(who, numbers.n, numbers.e, min_bits=MIN_BITS)


def choose_recipient(certificates: Sequence[Certificate], key_id: str | None, now: datetime) -> PgpRecipient:
    """Return the newest usable certificate of one owner as the recipient. Raises the leaves of RecipientError."""
    check_owner(certificates)
    faults: list[RecipientError] = []
    for each in sorted(certificates, key=lambda each: each.primary.created, reverse=True):
        try:
            key, expires = choose_key(each, now)
            return PgpRecipient(key_id or key.fingerprint.hex().upper(), each, key, expires)
        except RecipientError as error:
            faults.append(error)
    raise faults[0]


def load_openpgp_recipients(data: bytes, key_id: str | None, now: datetime) -> list[PgpRecipient]:
    """Return the one recipient of an OpenPGP text; `key_id` is the vault's URI with version, else the key's fingerprint."""
    return [choose_recipient(read_certificates(data, now), key_id, now)]


def check_owner(certificates: Sequence[Certificate]) -> None:
    """Raise SeveralOwners unless every certificate shares a user id, or its mail address, with the newest one."""
    newest = max(certificates, key=lambda each: each.primary.created)
    if any(each is not newest and not _owners(each) & _owners(newest) for each in certificates):
        names = ", ".join(sorted({each.name for each in certificates}))
        raise SeveralOwners(f"the certificates are of several owners: {names}")


def _owners(certificate: Certificate) -> set[str]:
    found: set[str] = set()
    for user_id in certificate.user_ids:
        match = _MAIL.search(user_id)
        found.add((match[1] or match[2]).lower() if match else user_id)
    return found


def openpgp_expiry_warning(data: bytes, now: datetime) -> str | None:
    """Return words for people from 30 days before the certificate in use expires, unless a successor is beside it."""
    certificates = read_certificates(data, now)
    recipient = choose_recipient(certificates, None, now)
    if recipient.expires is None or recipient.expires - now >= timedelta(days=max(WARN_DAYS)):
        return None
    for other in certificates:
        try:
            _, end = choose_key(other, now)
        except RecipientError:
            continue
        if end is None or end > recipient.expires:
            return None
    days = (recipient.expires - now).days
    urgency = "now" if days < min(WARN_DAYS) else "soon"
    ends = f"{recipient.certificate.name} expires in {days} days, on {recipient.expires:%Y-%m-%d}"
    return f"{ends}: ask the partner {urgency} for a renewed certificate"
