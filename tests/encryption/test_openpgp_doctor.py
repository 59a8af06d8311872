"""What the key doctor says about the OpenPGP files that partners send."""

from __future__ import annotations

import datetime as dt

import pytest
from encryption_support import NOW, make_certificate, pem
from openpgp_support import BEFORE, Builder, good, p256_pair, rsa_pair

from encryption.diagnosis import Diagnosis
from encryption.doctor import diagnose
from encryption.errors import SeveralOwners
from encryption.openpgp.armour import armoured
from encryption.openpgp.doctor import add_to
from encryption.openpgp.packets import packet
from encryption.receiving import load_receivers, receiver_warning

OTHER = Builder(rsa_pair("other")).user("Other <other@example.net>").subkey(rsa_pair("old"))
NEXT = Builder(rsa_pair("next", created=BEFORE + dt.timedelta(days=9))).user().subkey(rsa_pair("new"))


def words(found: Diagnosis) -> str:
    return " | ".join(f"{each.text}: {each.fix}" for each in found.problems)


def facts(found: Diagnosis) -> dict[str, str]:
    return dict(found.facts)


@pytest.mark.parametrize(("form", "kind"), [("asc", "an armoured"), ("data", "a binary")])
def test_a_good_certificate_is_shown_with_the_key_that_will_be_used(form: str, kind: str) -> None:
    found = diagnose(getattr(good(), form), NOW)

    assert found.kind == f"{kind} OpenPGP certificate"
    assert found.is_usable
    assert not found.problems
    shown = facts(found)
    assert shown["user id"] == "Partner <partner@example.org>"
    assert len(shown["fingerprint"].split()) == 10
    assert shown["key"] == "RSA 3072 bits, made 2026-08-14"
    assert shown["encryption"] == f"subkey {rsa_pair('subkey').key_id}: RSA 3072 bits, made 2026-08-14"
    assert shown["expires"] == "never"
    assert found.pem == good().asc


def test_a_key_that_expires_is_shown_with_its_days_and_a_note() -> None:
    found = diagnose(Builder().user(days=110).subkey(rsa_pair("old")).asc, NOW)

    assert facts(found)["expires"] == "2026-12-02 (10 days left)"
    assert found.is_usable
    assert "expires in 10 days" in words(found)


@pytest.mark.parametrize(
    ("data", "kind", "text", "fix"),
    [
        (lambda: good().asc[:-30], "an armoured OpenPGP file", "cut or damaged", "gpg --armor --export"),
        (lambda: good().data[:-3], "a binary OpenPGP file", "it is cut", "gpg --armor --export"),
        (lambda: armoured("PRIVATE KEY BLOCK", b"x"), "an OpenPGP private key", "not a certificate", "delete it"),
        (lambda: packet(5, b"secret"), "an OpenPGP private key", "not a certificate", "delete it"),
        (lambda: armoured("PUBLIC KEY BLOCK", packet(5, b"x")), "an OpenPGP private key", "not a", "delete it"),
        (lambda: armoured("MESSAGE", b"x"), "an OpenPGP message", "not a certificate", "export"),
        (lambda: armoured("SIGNATURE", b"x"), "an OpenPGP signature", "not a certificate", "export"),
        (lambda: b"\0\0\0\x20\x01\x01\0\x02KBXf" + bytes(20), "a GnuPG keybox", "not a certificate", "export"),
        (lambda: good().asc + pem(make_certificate()), "an OpenPGP public key among 2", "not a", "file of its own"),
        (lambda: good().asc + OTHER.asc, "2 OpenPGP certificates", "several owners", "own certificates only"),
        (lambda: Builder().user().asc, "an armoured OpenPGP certificate", "can only sign", "encryption subkey"),
        (
            lambda: Builder().direct(0x20).user().asc,
            "an armoured OpenPGP certificate",
            "revoked",
            "present OpenPGP key",
        ),
        (lambda: Builder().user(days=5).asc, "an armoured OpenPGP certificate", "expired on", "new certificate"),
        (lambda: Builder().user().subkey(p256_pair(18)).asc, "an armoured", "NIST P-256", "Curve 25519"),
        (lambda: Builder(rsa_pair("small", 1024)).user().asc, "an armoured", "1024 bits; 2048", "RSA"),
    ],
)
def test_what_cannot_be_used_is_said_in_words(data: object, kind: str, text: str, fix: str) -> None:
    found = diagnose(data(), NOW)  # type: ignore[operator]

    assert found.kind.startswith(kind)
    assert not found.is_usable
    assert text in words(found)
    assert fix in words(found)


def test_a_short_rsa_key_is_used_with_a_note() -> None:
    found = diagnose(Builder().user().subkey(rsa_pair("short", 2048)).asc, NOW)

    assert found.is_usable
    assert "2048 bits; 3072 are advised" in words(found)


def test_of_a_rotation_the_one_in_use_is_named_and_what_is_over_is_a_note() -> None:
    found = diagnose(Builder().user(days=5).subkey(rsa_pair("old")).asc + NEXT.asc, NOW)

    assert found.kind == "2 OpenPGP certificates"
    assert found.is_usable
    assert facts(found)["in use"].startswith("the newest usable one: ")
    assert "expired on" in words(found)


def test_a_certificate_too_long_for_a_secret_is_refused_before_it_is_stored() -> None:
    builder = Builder()
    for number in range(60):
        builder.user(f"Partner {number} <partner@example.org>")

    found = diagnose(builder.subkey(rsa_pair("old")).asc, NOW)

    assert not found.is_usable
    assert "a secret holds 25,000" in words(found)


def test_a_new_certificate_is_added_to_those_still_of_use() -> None:
    over = Builder(rsa_pair("over")).user(days=5).subkey(rsa_pair("old"))
    useless = Builder(rsa_pair("useless")).user()
    present = good().asc + over.asc + useless.asc

    text = add_to(present, NEXT.asc, NOW)

    kept = diagnose(text, NOW)
    assert kept.kind == "3 OpenPGP certificates"
    assert load_receivers(text, None, NOW)[0].key_id == rsa_pair("new").fingerprint.hex().upper()
    assert add_to(None, NEXT.asc, NOW) == NEXT.asc
    with pytest.raises(SeveralOwners):
        add_to(OTHER.asc, NEXT.asc, NOW)


def test_a_renewed_certificate_replaces_its_older_copy() -> None:
    renewed = Builder().user(days=400).subkey(rsa_pair("subkey"))

    text = add_to(Builder().user(days=110).subkey(rsa_pair("subkey")).asc, renewed.asc, NOW)

    assert text == renewed.asc
    assert receiver_warning(text, NOW) is None


def test_both_kinds_of_certificates_are_told_apart_by_their_text() -> None:
    assert load_receivers(good().asc, None, NOW)[0].algorithm == "OpenPGP-PKESK"
    assert load_receivers(pem(make_certificate()), None, NOW)[0].algorithm == "RSA-OAEP-256"
    assert "ends in 10 days" in str(receiver_warning(pem(make_certificate(last_day=10)), NOW))
