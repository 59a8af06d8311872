"""The key doctor: says what a file that should be a partner's certificate really is, and what to do about it.

Partners send keys in every form there is. `diagnose` recognises the usual ones, looks at each certificate in them and
puts every fault into words that can be sent back. It reads, and never repairs; private keys are recognised by their
frame only and never decoded, in whatever form they come.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from contextlib import suppress
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from encryption.certificates import (
    MAX_PEM_BYTES,
    PRIVATE_KEY_HINT,
    check_dates,
    check_key,
    decode_certificate,
    describe,
    expiry_warning,
    extension_of,
    load_recipients,
    own_certificates,
    public_key_of,
    refuse_published,
    subject_of,
    thumbprint,
)
from encryption.diagnosis import Diagnosis, Problem, not_this
from encryption.errors import NotRsa, RecipientError, UnreadableCertificate
from encryption.openpgp import is_openpgp
from encryption.openpgp.doctor import diagnose_openpgp

_DOCUMENT_ENCRYPTION: Final = x509.ObjectIdentifier("1.3.6.1.4.1.311.80.1")
_WANTED: Final = "ask the partner for the certificate: a text file that begins with -----BEGIN CERTIFICATE-----"
_MAKE_CERTIFICATE: Final = (
    "a bare public key has no owner and no dates; the partner can wrap it: "
    "openssl req -x509 -new -key private.pem -subj /CN=NAME -days 730 -addext keyUsage=critical,keyEncipherment -out cert.pem"
)
_FROM_PKCS7: Final = (
    "openssl pkcs7 -inform DER -in FILE -print_certs -out cert.pem, then keep the partner's own certificate"
)
_FROM_PKCS12: Final = (
    "it holds a private key as a rule, which must not leave the partner; they should run: "
    "openssl pkcs12 -in FILE -clcerts -nokeys -out cert.pem"
)

_ISSUER_FIX: Final = "nothing is ever sealed for it; it may stay in the file, and ./sealift keys import leaves it out"

# What is in the first line of a PEM block, without BEGIN: what it is, and the fix.
_PEM_KINDS: Final[dict[bytes, tuple[str, str]]] = {
    b"CERTIFICATE REQUEST": ("a certificate request", "it waits for a signature; ask for the certificate made of it"),
    b"NEW CERTIFICATE REQUEST": ("a certificate request", "ask for the certificate made of it"),
    b"PKCS7": (
        "a PKCS#7 bundle",
        "openssl pkcs7 -in FILE -print_certs -out cert.pem, then keep the partner's own certificate",
    ),
    b"PUBLIC KEY": ("a bare public key", _MAKE_CERTIFICATE),
    b"RSA PUBLIC KEY": ("a bare RSA public key (PKCS#1)", _MAKE_CERTIFICATE),
    b"PGP PUBLIC KEY BLOCK": ("an OpenPGP public key", "keep it in a file of its own: it is one kind of certificate"),
    b"PGP MESSAGE": ("an OpenPGP message", "ask for the key it was made for: gpg --armor --export NAME"),
    b"PGP SIGNATURE": ("an OpenPGP signature", "ask for the key that made it: gpg --armor --export NAME"),
    b"PGP PRIVATE KEY BLOCK": ("an OpenPGP private key", PRIVATE_KEY_HINT),
    b"OPENSSH PRIVATE KEY": ("an OpenSSH private key", PRIVATE_KEY_HINT),
    b"ENCRYPTED PRIVATE KEY": ("a private key with a password", PRIVATE_KEY_HINT),
}
_PEM_BEGIN: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_PEM_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/=\s]{64,}")
_LENGTH: Final = rb"(?:[\x00-\x7f\x80]|\x81.|\x82..|\x83...|\x84....)"
_PKCS12_START: Final = re.compile(rb"\x30" + _LENGTH + rb"\x02\x01\x03\x30", re.DOTALL)
# PKCS#8 of any algorithm, RSA and DSA as they were before it, and EC (RFC 5915); then PKCS#8 under a password (PKCS#5 or #12).
_PRIVATE_START: Final = re.compile(
    rb"\x30" + _LENGTH + rb"\x02\x01(?:[\x00\x01]\x30" + _LENGTH + rb"\x06|\x00\x02|\x01\x04)", re.DOTALL
)
_PRIVATE_WITH_PASSWORD_START: Final = re.compile(
    rb"\x30" + _LENGTH + rb"\x30" + _LENGTH + rb"\x06[\x09\x0a]\x2a\x86\x48\x86\xf7\x0d\x01[\x05\x0c]", re.DOTALL
)
_PRIVATE_TEXTS: Final = (b"PRIVATE KEY-----", b"PuTTY-User-Key-File")


def diagnose(data: bytes, now: datetime) -> Diagnosis:
    """Say what `data` is. Never raises for any input."""
    text = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        return not_this("nothing: it is empty", _WANTED)
    if is_openpgp(text) and all(label == b"PGP PUBLIC KEY BLOCK" for label in _PEM_BEGIN.findall(text)):
        return diagnose_openpgp(text, now)
    if len(data) > MAX_PEM_BYTES:
        return not_this(f"something of {len(data):,} bytes, far too long for a certificate", _WANTED)
    if b"\0" in data and any(mark in data.replace(b"\0", b"") for mark in _PRIVATE_TEXTS):
        return not_this("a private key in UTF-16", PRIVATE_KEY_HINT)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return not_this("text in UTF-16", "an editor stored it so; save it again as plain ASCII or UTF-8")
    return (
        _known_frame(text)
        or _pem(text, now)
        or _der(data, now)
        or _json(text)
        or _base64(text, now)
        or not_this("a file of no kind that is known here", _WANTED)
    )


def _known_frame(text: bytes) -> Diagnosis | None:
    """Recognise what is neither PEM nor DER by how it begins."""
    for start, kind, fix in (
        (b"ssh-", "an OpenSSH public key", f"it is good for SFTP log-ins, not for sealing; {_WANTED}"),
        (b"ecdsa-sha2-", "an OpenSSH public key", f"it is good for SFTP log-ins, not for sealing; {_WANTED}"),
        (
            b"---- BEGIN SSH2 PUBLIC KEY",
            "an SSH2 public key",
            f"it is good for SFTP log-ins, not for sealing; {_WANTED}",
        ),
        (b"PuTTY-User-Key-File", "a PuTTY private key", PRIVATE_KEY_HINT),
        (b"\0\0\0\x20\x01\x01\0\x02KBXf", "a GnuPG keybox", "gpg --armor --export NAME > partner.asc"),
        (b"\xfe\xed\xfe\xed", "a Java key store", "keytool -exportcert -rfc -alias NAME -keystore FILE -file cert.pem"),
    ):
        if text.startswith(start):
            return not_this(kind, fix)
    return None


def _pem(text: bytes, now: datetime) -> Diagnosis | None:
    labels = _PEM_BEGIN.findall(text)
    if not labels:
        return None
    foreign = [label for label in labels if label != b"CERTIFICATE"]
    # The gravest first: a private key is more urgent than anything else in the file.
    for label in sorted(foreign, key=lambda each: b"PRIVATE" not in each):
        default = (
            ("a private key", PRIVATE_KEY_HINT) if b"PRIVATE KEY" in label else (f"PEM of {label.decode()!r}", _WANTED)
        )
        kind, fix = _PEM_KINDS.get(label, default)
        if len(labels) > 1:
            kind += f" among {len(labels)} PEM blocks"
        return not_this(kind, fix)
    blocks = _PEM_BLOCK.findall(text)
    if len(blocks) != len(labels):
        return not_this(
            "a PEM certificate that is cut or damaged", "ask for it again, as an attachment rather than pasted"
        )
    try:
        certificates = [decode_certificate(x509.load_pem_x509_certificate, block) for block in blocks]
    except UnreadableCertificate:
        return not_this(
            "a PEM certificate that cannot be decoded", "ask for it again, as an attachment rather than pasted"
        )
    kind = "a PEM certificate" if len(blocks) == 1 else f"{len(blocks)} PEM certificates"
    return _certificates(kind, certificates, now)


def _der(data: bytes, now: datetime) -> Diagnosis | None:
    if _PKCS12_START.match(data):
        return not_this("a PKCS#12 store (.p12, .pfx)", _FROM_PKCS12)
    try:
        certificate = decode_certificate(x509.load_der_x509_certificate, data)
    except UnreadableCertificate:
        return _other_der(data)
    fix = "openssl x509 -inform DER -in FILE -out cert.pem"
    return _certificates(
        "a DER certificate", [certificate], now, Problem(text="it is DER where PEM is wanted", fix=fix)
    )


def _other_der(data: bytes) -> Diagnosis | None:
    """Recognise the other things that come as DER; a private key is not decoded but recognised by its frame."""
    for loader, kind, fix in (
        (serialization.load_der_public_key, "a bare public key in DER", _MAKE_CERTIFICATE),
        (pkcs7.load_der_pkcs7_certificates, "a PKCS#7 bundle in DER", _FROM_PKCS7),
    ):
        with suppress(ValueError, UnsupportedAlgorithm):
            loader(data)
            return not_this(kind, fix)
    if _PRIVATE_START.match(data):
        return not_this("a private key in DER", PRIVATE_KEY_HINT)
    if _PRIVATE_WITH_PASSWORD_START.match(data):
        return not_this("a private key with a password in DER", PRIVATE_KEY_HINT)
    return None


def _json(text: bytes) -> Diagnosis | None:
    """Recognise a JSON web key (RFC 7517) or a set of them; `d` is the private half of every kind, `k` a secret key."""
    if not text.startswith(b"{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    listed = found.get("keys")
    keys = [
        each for each in (listed if isinstance(listed, list) else [found]) if isinstance(each, dict) and "kty" in each
    ]
    if any("d" in each or "k" in each for each in keys):
        return not_this("a JSON web key with its private half", PRIVATE_KEY_HINT)
    return not_this("a JSON web key", _MAKE_CERTIFICATE) if keys else None


def _base64(text: bytes, now: datetime) -> Diagnosis | None:
    if not _BASE64.fullmatch(text):
        return None
    try:
        inner = base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return None
    found = _known_frame(inner) or _pem(inner, now) or _der(inner, now)
    if found is None:
        return None
    kind = f"base64 of {found.kind}"
    if found.pem is None:
        return not_this(kind, found.problems[0].fix)
    wrapped = Problem(text="it is base64 around the certificate", fix="base64 -d FILE > inner, then check that file")
    inner_faults = tuple(each for each in found.problems if "DER where PEM" not in each.text)
    return Diagnosis(kind=kind, facts=found.facts, problems=(wrapped, *inner_faults), pem=found.pem)


def _certificates(kind: str, certificates: list[x509.Certificate], now: datetime, *known: Problem) -> Diagnosis:
    """Look at every certificate; a bundle is good when one of the partner's own certificates in it is."""
    pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)
    facts: list[tuple[str, str]] = []
    faults: list[Problem] = []
    own = certificates
    try:
        own = own_certificates(certificates)
    except RecipientError as error:
        faults.append(Problem(text=str(error), fix=error.hint))
    for certificate in certificates:
        facts += _facts(certificate, now)
        if certificate not in own:
            who = describe(certificate)
            faults.append(Problem(text=f"{who} is an issuer's, not the partner's", fix=_ISSUER_FIX, grave=False))
            continue
        for check in (check_key, lambda each: check_dates(each, now), refuse_published):
            try:
                check(certificate)
            except RecipientError as error:
                faults.append(Problem(text=str(error), fix=error.hint))
    try:
        (chosen,) = load_recipients(pem, None, now)
    except RecipientError:
        return Diagnosis(kind=kind, facts=tuple(facts), problems=(*known, *faults), pem=pem)
    if len(certificates) > 1:
        facts.append(("in use", f"the newest valid one: {chosen.thumbprint}"))
    faults = [Problem(text=each.text, fix=each.fix, grave=False) for each in faults]
    if words := expiry_warning(pem, now):
        faults.append(Problem(text=words, fix="add the new certificate to the same secret; both may stay", grave=False))
    return Diagnosis(kind=kind, facts=tuple(facts), problems=(*known, *faults), pem=pem)


def _facts(certificate: x509.Certificate, now: datetime) -> list[tuple[str, str]]:
    try:
        key = public_key_of(certificate)
        shown = f"RSA {key.key_size} bits"
    except NotRsa:
        shown = "not RSA"
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return [
        ("subject", subject_of(certificate)),
        ("key", shown),
        ("valid", f"{first:%Y-%m-%d} to {last:%Y-%m-%d} ({(last - now).days} days left)"),
        ("usage", _usage(certificate)),
        ("PowerShell", _powershell(certificate)),
        ("thumbprint", thumbprint(certificate)),
        ("SHA-256", certificate.fingerprint(hashes.SHA256()).hex(":").upper()),
    ]


def _powershell(certificate: x509.Certificate) -> str:
    """Return whether Unprotect-CmsMessage takes the certificate, stricter than .NET's EnvelopedCms: for format: smime."""
    try:
        usage, purposes = extension_of(certificate, x509.KeyUsage), extension_of(certificate, x509.ExtendedKeyUsage)
    except UnreadableCertificate:
        return "cannot be read"
    lacking = []
    if usage is None or not (usage.key_encipherment or usage.data_encipherment):
        lacking.append("keyUsage keyEncipherment")
    if purposes is None or _DOCUMENT_ENCRYPTION not in purposes:
        lacking.append(f"extended key usage Document Encryption ({_DOCUMENT_ENCRYPTION.dotted_string})")
    if not lacking:
        return "Unprotect-CmsMessage takes it"
    return f"Unprotect-CmsMessage refuses it, EnvelopedCms does not: no {' and no '.join(lacking)}"


def _usage(certificate: x509.Certificate) -> str:
    try:
        usage = extension_of(certificate, x509.KeyUsage)
    except UnreadableCertificate:
        return "cannot be read"
    if usage is None:
        return "not limited"
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
    )
    return ", ".join(name.replace("_", " ") for name in names if getattr(usage, name)) or "none of the known"
