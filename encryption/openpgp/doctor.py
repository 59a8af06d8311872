"""The key doctor's part for OpenPGP: what a partner's `.asc` file holds, which key in it will be used, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from encryption.certificates import PRIVATE_KEY_HINT
from encryption.diagnosis import Diagnosis, Problem, not_this
from encryption.errors import CertificateExpired, CertificateRevoked, RecipientError
from encryption.openpgp import armour
from encryption.openpgp.certificates import Certificate, grouped, read_certificates
from encryption.openpgp.recipients import (
    ADVISED_BITS,
    PgpRecipient,
    choose_key,
    choose_recipient,
    openpgp_expiry_warning,
)

# Key Vault holds 25,600 bytes in a secret, and two certificates must fit while one follows the other.
MAX_SECRET_BYTES: Final = 25_000


def diagnose_openpgp(data: bytes, now: datetime) -> Diagnosis:
    """Say what an OpenPGP file is. Never raises for any input."""
    form = "an armoured" if b"-----BEGIN PGP " in data else "a binary"
    try:
        certificates = read_certificates(data, now)
    except RecipientError as error:
        if error.hint == PRIVATE_KEY_HINT:
            return not_this("an OpenPGP private key", PRIVATE_KEY_HINT)
        kind = f"{form} OpenPGP file that cannot be used"
        return Diagnosis(kind=kind, problems=(Problem(text=str(error), fix=error.hint),))
    kind = f"{form} OpenPGP certificate" if len(certificates) == 1 else f"{len(certificates)} OpenPGP certificates"
    facts = [fact for each in certificates for fact in _facts(each, now)]
    faults = [Problem(text=str(each), fix=each.hint) for each in _faults(certificates, now)]
    text = as_text(certificates)
    try:
        chosen = choose_recipient(certificates, None, now)
    except RecipientError as error:
        grave = Problem(text=str(error), fix=error.hint)
        problems = tuple(faults if grave in faults else [*faults, grave])
        return Diagnosis(kind=kind, facts=tuple(facts), problems=problems, pem=text)
    if len(certificates) > 1:
        facts.append(("in use", f"the newest usable one: {grouped(chosen.certificate.fingerprint)}"))
    notes = [Problem(text=each.text, fix=each.fix, grave=False) for each in faults]
    return Diagnosis(kind=kind, facts=tuple(facts), problems=(*notes, *_notes(data, chosen, text, now)), pem=text)


def as_text(certificates: Sequence[Certificate]) -> bytes:
    """Return certificates as a secret holds them: armoured, one block each, without the signatures of others and pictures."""
    return b"".join(armour.armoured(armour.PUBLIC_KEY, each.to_bytes()) for each in certificates)


def add_to(present: bytes | None, new: bytes, now: datetime) -> bytes:
    """Return the text of a secret that holds `new` beside what is still of use of `present`.

    A certificate of the same key is replaced by its newer copy. Raises SeveralOwners where the owners differ.
    """
    certificates = read_certificates(new, now)
    known = {each.fingerprint for each in certificates}
    kept = [each for each in read_certificates(present, now) if each.fingerprint not in known] if present else []
    certificates += [each for each in kept if not _is_over(each, now)]
    choose_recipient(certificates, None, now)
    return as_text(certificates)


def _is_over(certificate: Certificate, now: datetime) -> bool:
    try:
        choose_key(certificate, now)
    except (CertificateExpired, CertificateRevoked):
        return True
    except RecipientError:
        return False
    return False


def _faults(certificates: Sequence[Certificate], now: datetime) -> list[RecipientError]:
    faults: list[RecipientError] = []
    for each in certificates:
        try:
            choose_key(each, now)
        except RecipientError as error:
            faults.append(error)
    return faults


def _notes(data: bytes, chosen: PgpRecipient, text: bytes, now: datetime) -> list[Problem]:
    """Return what does not stop anybody today."""
    notes: list[Problem] = []
    key = chosen.key.material
    if isinstance(key, RSAPublicKey) and key.key_size < ADVISED_BITS:
        words = f"the encryption key has {key.key_size} bits; {ADVISED_BITS} are advised"
        notes.append(Problem(text=words, fix="ask the partner for a longer key when they renew it", grave=False))
    if len(text) > MAX_SECRET_BYTES:
        words = f"it has {len(text):,} bytes; a secret holds {MAX_SECRET_BYTES:,}"
        notes.append(Problem(text=words, fix="ask for it with fewer user ids and subkeys"))
    if warning := openpgp_expiry_warning(data, now):
        fix = "add the renewed certificate to the same secret; both may stay"
        notes.append(Problem(text=warning, fix=fix, grave=False))
    return notes


def _facts(certificate: Certificate, now: datetime) -> list[tuple[str, str]]:
    facts = [("fingerprint", grouped(certificate.fingerprint))]
    facts += [("user id", each) for each in certificate.user_ids]
    facts.append(("key", f"{certificate.primary.name}, made {certificate.primary.created:%Y-%m-%d}"))
    try:
        key, end = choose_key(certificate, now)
    except RecipientError:
        facts.append(("expires", _end(certificate.expires, now)))
        return facts
    which = "primary key" if key == certificate.primary else "subkey"
    facts.append(("encryption", f"{which} {key.key_id.hex().upper()}: {key.name}, made {key.created:%Y-%m-%d}"))
    facts.append(("expires", _end(end, now)))
    return facts


def _end(end: datetime | None, now: datetime) -> str:
    return "never" if end is None else f"{end:%Y-%m-%d} ({(end - now).days} days left)"
