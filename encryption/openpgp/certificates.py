"""Who may receive OpenPGP: a partner's certificate, and the one key in it that a session key is wrapped for
(RFC 4880, sections 10 to 12; docs/FORMAT.md, section 8).

A `Certificate` is read from its packets with every signature verified that counts; `choose_key` picks the newest subkey that is bound,
for encryption, not revoked and not expired. Several certificates in one text are a rotation when they share an owner. It does NOT
ask key servers, and weighs no signature of others: a certificate is trusted because an operator put it into the vault.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from encryption import canonical
from encryption.certificates import PRIVATE_KEY_HINT, WARN_DAYS
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
from encryption.openpgp import armour
from encryption.openpgp.keys import Key, read_key
from encryption.openpgp.packets import (
    MARKER,
    PADDING,
    PUBLIC_KEY,
    PUBLIC_SUBKEY,
    SECRET_KEY,
    SECRET_SUBKEY,
    SIGNATURE,
    TRUST,
    USER_ATTRIBUTE,
    USER_ID,
    Packet,
    Unreadable,
    read_packets,
)
from encryption.openpgp.signatures import (
    BINDING,
    CERTIFICATIONS,
    DIRECT,
    ENCRYPT,
    KEY_REVOCATION,
    SUBKEY_REVOCATION,
    USER_ID_REVOCATION,
    Signature,
    read_signature,
)
from encryption.rsa_numbers import check_rsa_numbers, refuse_published_modulus
from encryption.wrapping import OPENPGP

MIN_BITS: Final = 2048
ADVISED_BITS: Final = 3072
MAX_BYTES: Final = 1_048_576  # keys with many certifications and a picture are that long, not longer
MAX_PACKETS: Final = 2_000
MAX_CERTIFICATES: Final = 20
MAX_CHECKS: Final = 200  # signatures that are verified for one certificate: a hostile one costs no more

_MAIL: Final = re.compile(r"<([^<>\s]+@[^<>\s]+)>\s*\Z|\A([^<>\s]+@[^<>\s]+)\Z")
_KINDS_BEFORE: Final = frozenset({MARKER, PADDING})


@dataclass(frozen=True, slots=True)
class _Part:
    """A user id or subkey, with the signatures that come after it."""

    tag: int
    body: bytes
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Subkey:
    """One key of a certificate, as its newest binding signature describes it."""

    key: Key
    expires: datetime | None
    flags: int | None  # None: bound by no valid signature, or by one that does not say what for
    is_bound: bool
    is_revoked: bool


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says at one moment, as far as its own signatures prove it."""

    primary: Key
    user_ids: tuple[str, ...]
    subkeys: tuple[Subkey, ...]
    expires: datetime | None
    flags: int | None
    is_proven: bool  # by a valid self-signature
    is_weakly_signed: bool  # there are self-signatures, but none with a hash that is accepted
    is_revoked: bool

    @property
    def fingerprint(self) -> str:
        """Return the primary key's fingerprint in hex, upper case."""
        return self.primary.fingerprint.hex().upper()

    @property
    def name(self) -> str:
        """Return words for people that name this certificate."""
        return f"OpenPGP certificate '{self.user_ids[0] if self.user_ids else self.fingerprint[-16:]}'"


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


def grouped(fingerprint: str) -> str:
    """Return a fingerprint in groups of four, as it is read out on the telephone."""
    groups = [fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4)]
    middle = len(groups) // 2
    return " ".join(groups[:middle]) + "  " + " ".join(groups[middle:])


def is_openpgp(data: bytes) -> bool:
    """Tell whether some bytes begin like OpenPGP, in armour or without."""
    if b"-----BEGIN PGP " in data:
        return True
    first = data[0] if data else 0
    tag = first & 0x3F if first & 0x40 else first >> 2 & 0x0F
    return bool(first & 0x80) and tag in (PUBLIC_KEY, SECRET_KEY)


def read_certificates(data: bytes, now: datetime) -> list[Certificate]:
    """Return the certificates of a text or of binary data, in order.

    Raises UnreadableCertificate, also for a private key among them and for a file that is cut.
    """
    if len(data) > MAX_BYTES:
        raise UnreadableCertificate(f"the text has {len(data):,} bytes; OpenPGP certificates are never so long")
    try:
        packets = list(_all_packets(data))
        _refuse_secret(each.tag for each in packets)
        return [_read(group, now) for group in _groups(packets)]
    except Unreadable as error:
        raise UnreadableCertificate(f"this is no OpenPGP certificate that can be used: {error}", hint=_AGAIN) from error


_AGAIN: Final = "ask for it again, as an attachment: gpg --armor --export NAME"


def _all_packets(data: bytes) -> Iterable[Packet]:
    contents = [data]
    if b"-----BEGIN PGP " in data:
        blocks = list(armour.read_blocks(data))
        if any(kind.startswith("PRIVATE KEY") for kind, _ in blocks):
            _refuse_secret([SECRET_KEY])
        if any(kind != armour.PUBLIC_KEY for kind, _ in blocks):
            raise Unreadable(f"it holds a PGP {next(k for k, _ in blocks if k != armour.PUBLIC_KEY)}")
        contents = [content for _, content in blocks]
    count = 0
    for content in contents:
        for each in read_packets(content):
            count += 1
            if count > MAX_PACKETS:
                raise Unreadable(f"it has more than {MAX_PACKETS:,} packets")
            yield each


def _refuse_secret(tags: Iterable[int]) -> None:
    if any(tag in (SECRET_KEY, SECRET_SUBKEY) for tag in tags):
        raise UnreadableCertificate("it holds an OpenPGP private key", hint=PRIVATE_KEY_HINT)


def _groups(packets: Iterable[Packet]) -> list[list[Packet]]:
    """Cut the packets where a new certificate begins."""
    groups: list[list[Packet]] = []
    for each in packets:
        if each.tag == PUBLIC_KEY:
            groups.append([])
        elif each.tag in _KINDS_BEFORE:
            continue
        if not groups:
            raise Unreadable("it does not begin with a public key")
        groups[-1].append(each)
    if not 1 <= len(groups) <= MAX_CERTIFICATES:
        raise Unreadable(f"it holds {len(groups)} certificates; 1 to {MAX_CERTIFICATES} are read")
    return groups


def _read(group: list[Packet], now: datetime) -> Certificate:
    """Read one certificate: the primary key, then user ids and subkeys, each with the signatures after it."""
    primary = read_key(group[0].body)
    own, parts = _parts(group)
    checks = _Checks(primary, now)
    user_ids, best = [], checks.newest(own, (DIRECT,), primary.hashed)
    has_signature = any(each.kind == DIRECT for each in own)
    for part in parts:
        if part.tag not in (USER_ID, USER_ATTRIBUTE):
            continue
        mark = b"\xb4" if part.tag == USER_ID else b"\xd1"
        what = primary.hashed + mark + len(part.body).to_bytes(4, "big") + part.body
        proof = checks.newest(part.signatures, CERTIFICATIONS, what)
        has_signature = has_signature or any(each.kind in CERTIFICATIONS for each in part.signatures)
        if proof is None or checks.is_revoked(part.signatures, USER_ID_REVOCATION, what, since=proof.created):
            continue
        best = _newer(best, proof)
        if part.tag == USER_ID:
            user_ids.append(_shown(part.body))
    return Certificate(
        primary=primary,
        user_ids=tuple(user_ids),
        subkeys=tuple(_subkey(part, checks) for part in parts if part.tag == PUBLIC_SUBKEY and _is_version_4(part)),
        expires=_end(primary, best),
        flags=best.flags if best else None,
        is_proven=best is not None,
        is_weakly_signed=best is None and has_signature,
        is_revoked=checks.is_revoked(own, KEY_REVOCATION, primary.hashed),
    )


def _parts(group: list[Packet]) -> tuple[tuple[Signature, ...], list[_Part]]:
    """Return the signatures of the primary key itself, and the parts after it."""
    collected: list[tuple[int, bytes, list[Signature]]] = [(PUBLIC_KEY, b"", [])]
    for each in group[1:]:
        if each.tag == SIGNATURE:
            if (signature := read_signature(each.body)) is not None:
                collected[-1][2].append(signature)
        elif each.tag in (USER_ID, USER_ATTRIBUTE, PUBLIC_SUBKEY):
            collected.append((each.tag, each.body, []))
        elif each.tag != TRUST:
            raise Unreadable(f"it holds a packet of kind {each.tag}, which belongs into no certificate")
    parts = [_Part(tag, body, tuple(signatures)) for tag, body, signatures in collected]
    return parts[0].signatures, parts[1:]


def _is_version_4(part: _Part) -> bool:
    return part.body[:1] == b"\x04"


def _subkey(part: _Part, checks: _Checks) -> Subkey:
    key = read_key(part.body)
    what = checks.primary.hashed + key.hashed
    binding = checks.newest(part.signatures, (BINDING,), what)
    return Subkey(
        key=key,
        expires=_end(key, binding),
        flags=binding.flags if binding else None,
        is_bound=binding is not None,
        is_revoked=checks.is_revoked(part.signatures, SUBKEY_REVOCATION, what),
    )


class _Checks:
    """Verify signatures of one certificate's primary key at one moment; only so many, whatever the certificate holds."""

    def __init__(self, primary: Key, now: datetime) -> None:
        self.primary = primary
        self._now = now
        self._left = MAX_CHECKS

    def newest(self, signatures: Sequence[Signature], kinds: tuple[int, ...], what: bytes) -> Signature | None:
        """Return the newest valid signature of some kinds over `what`."""
        asked = [each for each in signatures if each.kind in kinds and each.counts_at(self._now)]
        for each in sorted(asked, key=_when, reverse=True):
            if self._is_made(each, what):
                return each
        return None

    def is_revoked(
        self, signatures: Sequence[Signature], kind: int, what: bytes, *, since: datetime | None = None
    ) -> bool:
        """Tell whether a valid revocation is there: of any date, or for a user id one not older than its newest proof."""
        asked = [each for each in signatures if each.kind == kind and each.created]
        return any((since is None or _when(each) >= since) and self._is_made(each, what) for each in asked)

    def _is_made(self, signature: Signature, what: bytes) -> bool:
        self._left -= 1
        if self._left < 0:
            raise Unreadable(f"it holds more than {MAX_CHECKS} signatures of its own")
        return signature.is_made_by(self.primary, what)


def _when(signature: Signature) -> datetime:
    assert signature.created is not None, "a signature without a time was left out before"
    return signature.created


def _newer(one: Signature | None, other: Signature) -> Signature:
    return one if one is not None and _when(one) > _when(other) else other


def _end(key: Key, signature: Signature | None) -> datetime | None:
    """Return when a key expires: counted from its own creation, not from the signature's."""
    return key.created + signature.key_expires_after if signature and signature.key_expires_after else None


def _shown(body: bytes) -> str:
    """Return a user id for people: printable, in one line, and short."""
    text = body.decode("utf-8", "replace")
    return "".join(each if each.isprintable() else "?" for each in text)[:120] or "(empty)"


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
    if certificate.is_weakly_signed:
        raise UnsupportedKey(f"{certificate.name} has no valid self-signature with SHA-256 or better")
    if not certificate.is_proven:
        raise UnreadableCertificate(f"{certificate.name} has no self-signature", hint=_AGAIN)
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
