from __future__ import annotations

import base64
import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from encryption_support import NOW, der, make_certificate, pem, private_pem, public_pem, recipient, rsa_key

from encryption import (
    CertificateExpired,
    CertificateNotYetValid,
    InvalidValue,
    KeyTooSmall,
    NotRsa,
    PublishedKey,
    Recipient,
    SeveralOwners,
    SignatureInvalid,
    UnreadableCertificate,
    WeakKey,
    WrongUsage,
    load_recipients,
    load_verification_key,
)
from encryption.certificates import expiry_warning
from encryption.doctor import diagnose
from encryption.rsa_numbers import OAEP
from encryption.wrapping import WrappedKey, unwrap, wrap_for_all

PEM_FRAME = b"-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n"
VECTOR_KEYS = Path(__file__).resolve().parents[1] / "vectors" / "keys"


def test_a_sound_certificate_becomes_the_one_recipient() -> None:
    certificate = make_certificate()

    (found,) = load_recipients(pem(certificate), "https://vault.example/secrets/p/1", NOW)

    assert found.certificate == certificate
    assert found.key_id == "https://vault.example/secrets/p/1"
    assert len(found.thumbprint) == 43
    assert found.expires == NOW + dt.timedelta(days=365)


def test_without_a_key_id_the_thumbprint_is_the_name() -> None:
    (found,) = load_recipients(pem(make_certificate()), None, NOW)

    assert found.key_id == found.thumbprint


def test_a_certificate_without_key_usage_is_accepted() -> None:
    assert load_recipients(pem(make_certificate(usage=None)), None, NOW)


def test_the_newest_valid_certificate_of_a_bundle_is_used() -> None:
    old, new, future = (
        make_certificate(first_day=-300),
        make_certificate(first_day=-3),
        make_certificate(first_day=3, last_day=800),
    )

    (found,) = load_recipients(pem(new, future, old), None, NOW)

    assert found.certificate == new


def test_a_bundle_whose_newest_certificate_has_ended_falls_back_to_one_that_counts() -> None:
    ended, longer = make_certificate(first_day=-5, last_day=-1), make_certificate(first_day=-300)

    (found,) = load_recipients(pem(ended, longer), None, NOW)

    assert found.certificate == longer


@pytest.mark.parametrize(
    ("certificate", "error", "text"),
    [
        (lambda: make_certificate(last_day=-1), CertificateExpired, "expired on 2026-11-21"),
        (lambda: make_certificate(first_day=1), CertificateNotYetValid, "starts 2026-11-23"),
        (lambda: make_certificate(rsa_key("small", 2048)), KeyTooSmall, "2048 bits; 3072 are the least"),
        (lambda: make_certificate(rsa_key("weak", 3072, 3)), WeakKey, "exponent 3"),
        (lambda: make_certificate(ec.generate_private_key(ec.SECP256R1())), NotRsa, "no RSA key"),
        (lambda: make_certificate(ed25519.Ed25519PrivateKey.generate()), NotRsa, "no RSA key"),
        (lambda: make_certificate(usage=("digital_signature",)), WrongUsage, "key encipherment"),
    ],
)
def test_a_certificate_that_cannot_receive_is_refused_with_its_reason(
    certificate: object, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text) as caught:
        load_recipients(pem(certificate()), None, NOW)  # type: ignore[operator]

    assert caught.value.hint  # type: ignore[attr-defined]
    assert caught.value.status == 422  # type: ignore[attr-defined]
    assert not caught.value.transient  # type: ignore[attr-defined]


def test_when_none_of_a_bundle_can_be_used_the_newest_one_s_fault_is_told() -> None:
    with pytest.raises(CertificateExpired):
        load_recipients(
            pem(make_certificate(rsa_key("small", 2048), first_day=-99), make_certificate(last_day=-1)), None, NOW
        )


ROOT_AUTHORITY: dict[str, Any] = {"owner": "root", "authority": True, "usage": ("key_encipherment", "key_cert_sign")}
SUB_AUTHORITY: dict[str, Any] = {"owner": "issuing", "issuer": "root", "usage": None}


def test_of_a_whole_chain_the_partner_s_certificate_is_used_although_its_issuers_are_newer() -> None:
    leaf = make_certificate(issuer="issuing", first_day=-200)
    chain = (leaf, make_certificate(**SUB_AUTHORITY), make_certificate(**ROOT_AUTHORITY))

    for bundle in (chain, chain[::-1], (leaf, chain[1]), (leaf, chain[2])):
        assert load_recipients(pem(*bundle), None, NOW)[0].certificate == leaf


@pytest.mark.parametrize(
    ("leaf", "error"),
    [
        (lambda: make_certificate(rsa_key("small", 2048), issuer="issuing"), KeyTooSmall),
        (lambda: make_certificate(issuer="issuing", last_day=-1), CertificateExpired),
        (lambda: make_certificate(issuer="issuing", usage=("digital_signature",)), WrongUsage),
    ],
)
def test_an_issuer_never_receives_in_place_of_a_refused_certificate(leaf: object, error: type[Exception]) -> None:
    bundle = pem(leaf(), make_certificate(**SUB_AUTHORITY), make_certificate(**ROOT_AUTHORITY))  # type: ignore[operator]

    with pytest.raises(error):
        load_recipients(bundle, None, NOW)
    assert not diagnose(bundle, NOW).is_usable


def test_an_authority_beside_a_certificate_that_it_did_not_issue_never_receives() -> None:
    bundle = pem(make_certificate(authority=False, last_day=-1), make_certificate(**ROOT_AUTHORITY))

    with pytest.raises(CertificateExpired):
        load_recipients(bundle, None, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"authority": True},  # what `openssl req -x509` writes
        {"issuer": "issuing"},
        {"company": "Northwind plc"},
        {"issuer": "issuing", "company": "Northwind plc", "authority": False},
    ],
)
def test_a_renewed_certificate_of_the_same_common_name_is_a_rotation(changes: dict[str, Any]) -> None:
    old = make_certificate(first_day=-300, authority=True)
    new = make_certificate(rsa_key("next"), first_day=-1, **changes)
    future = make_certificate(rsa_key("next"), first_day=5, **changes)

    assert load_recipients(pem(old, new), None, NOW)[0].certificate == new
    assert load_recipients(pem(old, future), None, NOW)[0].certificate == old


@pytest.mark.parametrize(
    "bundle",
    [
        lambda: (make_certificate(), make_certificate(owner="stranger")),
        lambda: (make_certificate(issuer="a"), make_certificate(owner="stranger", issuer="a"), make_certificate(owner="a")),
        lambda: (make_certificate(owner="a", issuer="b"), make_certificate(owner="b", issuer="a")),
    ],
)  # fmt: skip
def test_a_bundle_of_several_owners_is_refused_with_the_fix(bundle: object) -> None:
    text = pem(*bundle())  # type: ignore[operator]

    with pytest.raises(SeveralOwners, match="'CN=") as caught:
        load_recipients(text, None, NOW)
    found = diagnose(text, NOW)

    assert "--replace" in caught.value.hint
    assert not found.is_usable
    assert found.problems[0].text == str(caught.value)


def test_certificates_without_a_common_name_are_told_apart_by_their_whole_subject() -> None:
    first, second = (unnamed("Northwind"), unnamed("Contoso"))

    assert load_recipients(pem(first, unnamed("Northwind")), None, NOW)
    with pytest.raises(SeveralOwners):
        load_recipients(pem(first, second), None, NOW)


def unnamed(company: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, company)])
    builder = x509.CertificateBuilder(subject, subject, rsa_key().public_key(), x509.random_serial_number())
    return builder.not_valid_before(NOW).not_valid_after(NOW.replace(year=2030)).sign(rsa_key(), hashes.SHA256())


def test_a_bundle_with_a_name_that_cannot_be_read_is_refused() -> None:
    broken = x509.load_der_x509_certificate(
        der(make_certificate()).replace(b"\x0c\x07partner", b"\x0c\x07p\xff\xff\xff\xff\xffr")
    )

    with pytest.raises(UnreadableCertificate, match="name that cannot be read"):
        load_recipients(pem(broken, make_certificate()), None, NOW)
    assert not diagnose(pem(broken, make_certificate()), NOW).is_usable


def test_a_certificate_that_has_an_extension_twice_is_unreadable() -> None:
    """The library's error for it is not a ValueError."""
    twice = der(make_certificate(authority=False)).replace(bytes.fromhex("0603551d13"), bytes.fromhex("0603551d0f"))

    with pytest.raises(UnreadableCertificate, match="extensions"):
        Recipient("k", x509.load_der_x509_certificate(twice))
    assert dict(diagnose(twice, NOW).facts)["usage"] == "cannot be read"


@pytest.mark.parametrize("name", ["partner", "partner-4096", "escrow", "stranger", "sender", "other-sender"])
def test_every_key_of_the_test_vectors_is_refused(name: str) -> None:
    with pytest.raises(PublishedKey):
        load_recipients((VECTOR_KEYS / f"{name}.cert.pem").read_bytes(), None, NOW)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not one or more PEM certificates"),
        (b"hello", "not one or more PEM certificates"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be decoded"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "not one or more PEM certificates"),
        (b"x" * 300_000, "300,000 bytes"),
    ],
)
def test_a_text_that_is_no_certificate_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(UnreadableCertificate, match=message):
        load_recipients(text, None, NOW)


def test_a_certificate_beside_another_block_is_refused() -> None:
    with pytest.raises(UnreadableCertificate):
        load_recipients(pem(make_certificate()) + public_pem(rsa_key()), None, NOW)


def test_a_private_key_is_refused_with_an_urgent_hint() -> None:
    with pytest.raises(UnreadableCertificate, match="private key") as caught:
        load_recipients(private_pem(rsa_key()) + pem(make_certificate()), None, NOW)

    assert "delete it" in caught.value.hint


def test_a_certificate_with_a_broken_extension_is_unreadable() -> None:
    der = make_certificate().public_bytes(
        encoding=__import__("cryptography").hazmat.primitives.serialization.Encoding.DER
    )
    usage = bytes.fromhex("0603551d0f0101ff040403020520")
    assert usage in der
    broken = x509.load_der_x509_certificate(der.replace(usage, usage[:-3] + b"\x05\x05\x20"))

    with pytest.raises(UnreadableCertificate, match="extensions"):
        Recipient("k", broken)


def test_a_certificate_of_a_version_that_there_is_not_is_unreadable() -> None:
    """Found by fuzzing: the loader's error for it is not a ValueError."""
    changed = der(make_certificate()).replace(bytes.fromhex("a003020102"), bytes.fromhex("a00302010a"))

    with pytest.raises(UnreadableCertificate, match="cannot be decoded"):
        load_recipients(PEM_FRAME % base64.encodebytes(changed), None, NOW)
    assert not diagnose(changed, NOW).is_usable


def test_a_key_id_with_a_blank_is_refused() -> None:
    with pytest.raises(InvalidValue, match="key id"):
        Recipient("a b", make_certificate())


@pytest.mark.parametrize(
    ("days", "urgency"), [(400, None), (30, None), (29, "soon"), (7, "soon"), (6, "now"), (1, "now")]
)
def test_a_warning_begins_30_days_before_the_end_and_grows_urgent_7_days_before(days: int, urgency: str | None) -> None:
    words = expiry_warning(pem(make_certificate(last_day=days)), NOW)

    assert (words is None) == (urgency is None)
    if words and urgency:
        assert f"in {days} days" in words
        assert f"ask the partner {urgency}" in words


def test_there_is_no_warning_when_the_successor_is_there_already() -> None:
    ending, successor = make_certificate(last_day=5), make_certificate(first_day=2, last_day=400)

    assert expiry_warning(pem(ending, successor), NOW) is None


def test_an_issuer_that_lasts_longer_does_not_silence_the_warning() -> None:
    ending = make_certificate(issuer="issuing", last_day=5)

    assert expiry_warning(pem(ending, make_certificate(**SUB_AUTHORITY, last_day=4000)), NOW)


def test_a_successor_that_starts_too_late_does_not_silence_the_warning() -> None:
    ending, late = make_certificate(last_day=5), make_certificate(first_day=9, last_day=400)

    assert expiry_warning(pem(ending, late), NOW)


def test_a_wrapped_key_is_unwrapped_by_its_own_key_only() -> None:
    file_key = bytes(range(32))

    wrapped = [each.wrapped_key for each in wrap_for_all(file_key, [recipient("partner"), recipient("escrow")])]

    assert unwrap(wrapped, rsa_key("partner")) == file_key
    assert unwrap(wrapped, rsa_key("escrow")) == file_key
    assert unwrap(wrapped, rsa_key("stranger")) != file_key


def test_a_key_that_unwraps_nothing_gives_other_random_bytes_every_time() -> None:
    wrapped = [each.wrapped_key for each in wrap_for_all(bytes(32), [recipient("partner")])]

    assert len({unwrap(wrapped, rsa_key("stranger")) for _ in range(3)}) == 3


def test_an_unwrapped_key_of_another_length_does_not_count() -> None:
    short = recipient("partner").public_key.encrypt(b"x" * 16, OAEP)

    assert unwrap([short], rsa_key("partner")) != b"x" * 16


def test_keys_of_another_size_are_not_even_tried() -> None:
    wrapped = [each.wrapped_key for each in wrap_for_all(bytes(32), [recipient("large", 4096)])]

    assert unwrap(wrapped, rsa_key("partner")) != bytes(32)


def test_pkcs1_v1_5_is_not_unwrapped() -> None:
    old = recipient("partner").public_key.encrypt(bytes(32), padding.PKCS1v15())

    assert unwrap([old], rsa_key("partner")) != bytes(32)


def test_a_certificate_given_twice_is_wrapped_once() -> None:
    assert len(wrap_for_all(bytes(32), [recipient("partner"), recipient("partner")])) == 1


def test_no_or_too_many_recipients_are_refused() -> None:
    many = [Recipient("k", make_certificate()) for _ in range(9)]

    for recipients in ([], many):
        with pytest.raises(InvalidValue, match="1 to 8 are allowed"):
            wrap_for_all(bytes(32), recipients)


def test_a_wrapped_key_is_not_shown_and_has_a_length_that_rsa_can_have() -> None:
    sound = WrappedKey(kid="k", thumbprint="A" * 43, wrapped_key=b"secret" * 64)

    assert "secret" not in repr(sound)
    with pytest.raises(InvalidValue, match="wrapped_key has 5 bytes"):
        WrappedKey(kid="k", thumbprint="A" * 43, wrapped_key=b"short")


@pytest.mark.parametrize(
    "make", [lambda: pem(make_certificate(rsa_key("sender"))), lambda: public_pem(rsa_key("sender"))]
)
def test_a_verification_key_comes_as_certificate_or_public_key(make: object) -> None:
    key = load_verification_key(make())  # type: ignore[operator]

    assert key.public_numbers() == rsa_key("sender").public_key().public_numbers()


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"nothing",
        lambda: private_pem(rsa_key()),
        lambda: public_pem(rsa_key("small", 2048)),
        lambda: public_pem(ec.generate_private_key(ec.SECP256R1())),
    ],
)
def test_a_verification_key_that_cannot_verify_is_refused(make: object) -> None:
    with pytest.raises(SignatureInvalid):
        load_verification_key(make())  # type: ignore[operator]
