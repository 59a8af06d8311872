"""Which key of a partner's OpenPGP certificate is used, and why one is refused; gpg's verdict beside ours.

Two kinds of certificates are left out of the comparison, because gpg 2.2 is more lenient: self-signatures with SHA-1, and
those of a date to come.
"""

from __future__ import annotations

import base64
import datetime as dt
import random
import time

import pytest
from encryption_support import NOW, rsa_key
from openpgp_support import (
    BEFORE,
    ENCRYPT,
    GPG,
    SIGN,
    Builder,
    Gpg,
    Pair,
    cv25519_pair,
    ed25519_pair,
    good,
    gpg_home,
    p256_pair,
    rsa_pair,
    signature,
)

from encryption.errors import (
    CertificateExpired,
    CertificateNotYetValid,
    CertificateRevoked,
    EncryptionError,
    KeyTooSmall,
    NoEncryptionKey,
    RecipientError,
    SeveralOwners,
    UnreadableCertificate,
    UnsupportedKey,
    WeakKey,
)
from encryption.openpgp import grouped, is_openpgp, load_openpgp_recipients, openpgp_expiry_warning
from encryption.openpgp.armour import armoured, crc24
from encryption.openpgp.certificates import MAX_BYTES, MAX_CHECKS, MAX_PACKETS, read_certificates
from encryption.openpgp.packets import Packet, length, packet, read_packets
from encryption.openpgp.recipients import choose_key
from encryption.openpgp.signatures import subpacket

LATER, OLD = BEFORE + dt.timedelta(days=20), rsa_pair("old", created=BEFORE)
NEW = rsa_pair("new", created=LATER)


def chosen(data: bytes) -> str:
    (recipient,) = load_openpgp_recipients(data, None, NOW)
    return recipient.key.key_id.hex().upper()


def refused(data: bytes, error: type[RecipientError], text: str) -> RecipientError:
    with pytest.raises(error, match=text) as caught:
        load_openpgp_recipients(data, None, NOW)
    assert caught.value.hint
    return caught.value


def days(count: int) -> dt.timedelta:
    return dt.timedelta(days=count)


@pytest.mark.parametrize("form", ["binary", "armoured"])
def test_the_subkey_for_encryption_is_chosen(form: str) -> None:
    certificate = good()
    data = certificate.data if form == "binary" else certificate.asc

    (recipient,) = load_openpgp_recipients(data, None, NOW)

    assert recipient.key.fingerprint == rsa_pair("subkey").fingerprint
    assert recipient.key_id == rsa_pair("subkey").fingerprint.hex().upper()
    assert recipient.certificate.fingerprint == certificate.primary.fingerprint.hex().upper()
    assert recipient.certificate.user_ids == ("Partner <partner@example.org>",)
    assert recipient.expires is None
    assert len(recipient.thumbprint) == 43
    assert is_openpgp(data)


def test_the_vault_s_name_for_a_recipient_is_kept() -> None:
    (recipient,) = load_openpgp_recipients(good().asc, "https://vault.example/secrets/a/1", NOW)

    assert recipient.key_id == "https://vault.example/secrets/a/1"


def test_ed25519_and_cv25519_are_read_too() -> None:
    subkey = cv25519_pair()

    data = Builder(ed25519_pair()).user().subkey(subkey).asc

    assert chosen(data) == subkey.key_id


def test_the_newest_of_several_subkeys_is_used() -> None:
    assert chosen(Builder().user().subkey(NEW).subkey(OLD).asc) == NEW.key_id


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda b: b.bind(NEW, 0x28), "revoked"),
        (lambda b: b.bind(NEW, 0x28, digest=2), "revoked with SHA-1"),
        (lambda b: b.bind(NEW, 0x28, created=BEFORE - days(1)), "revoked by a signature of an old date"),
    ],
)
def test_a_revoked_subkey_is_passed_over(change: object, why: str) -> None:
    builder = Builder().user().subkey(OLD).subkey(NEW)

    assert chosen(change(builder).asc) == OLD.key_id, why  # type: ignore[operator]


@pytest.mark.parametrize(
    "details",
    [
        {"days": 30},
        {"flags": SIGN},
        {"flags": None},
        {"by": rsa_pair("stranger")},
        {"created": None},
        {"created": NOW + days(1)},
        {"digest": 2},
        {"more": subpacket(3, (86_400).to_bytes(4, "big"))},
        {"more": subpacket(0x80 | 100, b"?")},
        {"more": subpacket(0x80 | 20, b"?")},
    ],
    ids=[
        "expired", "for signing", "without flags", "bound by another", "without time", "of tomorrow", "SHA-1",
        "signature expired", "critical and unknown", "critical notation",
    ],
)  # fmt: skip
def test_a_subkey_that_is_not_validly_for_encryption_now_is_passed_over(details: dict[str, object]) -> None:
    builder = Builder().user().subkey(OLD).subkey(NEW, **details)

    assert chosen(builder.asc) == OLD.key_id


def test_the_newest_binding_counts() -> None:
    renewed = Builder().user().subkey(NEW, days=30).bind(NEW, created=LATER + days(5), days=400)
    shortened = Builder().user().subkey(NEW, days=400).bind(NEW, created=LATER + days(5), days=30)

    assert chosen(renewed.asc) == NEW.key_id
    refused(shortened.asc, CertificateExpired, r"encryption key [0-9A-F]{16} of .* expired on")


def test_a_certificate_expires_by_its_newest_self_signature() -> None:
    name = b"Partner <partner@example.org>"
    extended = Builder().user(days=30).certify(name, created=LATER, days=400).subkey(OLD)
    expired = Builder().user(days=400).certify(name, created=LATER, days=30).subkey(OLD)
    by_direct = Builder().direct(created=LATER, days=30).user(days=400).subkey(OLD)
    older_direct = Builder().direct(days=30).user(created=LATER, days=400).subkey(OLD)

    assert chosen(extended.asc) == OLD.key_id
    assert chosen(older_direct.asc) == OLD.key_id
    for each in (expired, by_direct):
        refused(each.asc, CertificateExpired, "expired on 2026-09-13")


def test_what_expires_first_is_the_recipient_s_end() -> None:
    (by_subkey,) = load_openpgp_recipients(Builder().user(days=400).subkey(OLD, days=300).asc, None, NOW)
    (by_primary,) = load_openpgp_recipients(Builder().user(days=300).subkey(OLD, days=400).asc, None, NOW)

    assert by_subkey.expires == by_primary.expires == BEFORE + days(300)


def test_a_primary_key_for_encryption_is_used_only_where_no_subkey_is() -> None:
    alone = Builder().user(flags=15)

    assert chosen(alone.asc) == alone.primary.key_id
    assert chosen(Builder().user(flags=15).subkey(OLD).asc) == OLD.key_id
    refused(Builder().user(flags=15).subkey(OLD, days=1).asc, CertificateExpired, "encryption key")


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (lambda: Builder().direct(0x20).user().subkey(OLD).asc, CertificateRevoked, "was revoked by its owner"),
        (lambda: Builder().direct(0x20, digest=2).user().subkey(OLD).asc, CertificateRevoked, "was revoked"),
        (lambda: Builder().user().subkey(OLD).bind(OLD, 0x28).asc, CertificateRevoked, "encryption key .* was revoked"),
        (lambda: Builder().user().asc, NoEncryptionKey, "it can only sign"),
        (lambda: Builder().user().subkey(OLD, flags=SIGN).asc, NoEncryptionKey, "it can only sign"),
        (lambda: Builder().user().subkey(OLD, flags=None).asc, NoEncryptionKey, "do not say what they are for"),
        (lambda: Builder().user().subkey(OLD, by=NEW).asc, NoEncryptionKey, "not bound to it"),
        (lambda: Builder().user(digest=2).subkey(OLD).asc, UnsupportedKey, "with SHA-1 only"),
        (lambda: Builder().user(by=NEW).subkey(OLD).asc, UnreadableCertificate, "no valid self-signature"),
        (lambda: Builder().subkey(OLD).asc, UnreadableCertificate, "no valid self-signature"),
        (lambda: Builder().user(created=NOW + days(1)).asc, UnreadableCertificate, "no valid self-signature"),
        (lambda: Builder().user().subkey(p256_pair(18)).asc, UnsupportedKey, "is ECDH NIST P-256"),
        (lambda: Builder().user().subkey(Pair(rsa_key(), elgamal())).asc, UnsupportedKey, "is ElGamal"),
        (lambda: Builder().user().subkey(Pair(rsa_key(), rsa_body(3))).asc, UnsupportedKey, "is RSA 3072 bits"),
        (lambda: Builder().user().subkey(Pair(rsa_key(), BEFORE_HEAD + b"\x63")).asc, UnsupportedKey, "algorithm 99"),
        (lambda: Builder().user().subkey(rsa_pair("s", 1024)).asc, KeyTooSmall, "1024 bits; 2048 are the least"),
        (lambda: Builder(rsa_pair("s", 1024)).user().subkey(OLD).asc, KeyTooSmall, "1024 bits; 2048"),
        (lambda: Builder().user().subkey(low_exponent()).asc, WeakKey, "exponent 3"),
        (lambda: Builder(rsa_pair("t", created=NOW + days(2))).user().asc, CertificateNotYetValid, "still to come"),
        (lambda: Builder().user().subkey(rsa_pair("t", created=NOW + days(2))).asc, CertificateNotYetValid, "to come"),
    ],
)  # fmt: skip
def test_a_certificate_that_cannot_be_used_is_refused_by_name(data: object, error: type, text: str) -> None:
    refused(data(), error, text)  # type: ignore[operator]


BEFORE_HEAD = b"\x04" + int(BEFORE.timestamp()).to_bytes(4, "big")


def elgamal() -> bytes:
    return BEFORE_HEAD + b"\x10" + (b"\x00\x08\xff" * 3)


def rsa_body(algorithm: int) -> bytes:
    return BEFORE_HEAD + bytes([algorithm]) + OLD.body[6:]


def low_exponent() -> Pair:
    key = rsa_key("low", 3072, 3)
    return Pair(key, rsa_pair().body[:6] + _numbers(key))


def _numbers(key: object) -> bytes:
    from encryption.openpgp.packets import number

    numbers = key.public_key().public_numbers()  # type: ignore[attr-defined]
    return number(numbers.n) + number(numbers.e)


def test_a_primary_key_of_another_algorithm_is_refused_by_name() -> None:
    dsa = BEFORE_HEAD + b"\x11" + b"\x00\x08\xff" * 4
    ecdsa = p256_pair(19).body

    for body, name in ((dsa, "DSA"), (ecdsa, "ECDSA NIST P-256"), (BEFORE_HEAD + b"\x1b" + bytes(32), "Ed25519")):
        refused(packet(6, body) + packet(13, b"x"), UnsupportedKey, f"primary key of {name}")


@pytest.mark.parametrize("version", [3, 5, 6])
def test_a_key_of_another_version_is_refused_by_name(version: int) -> None:
    body = bytes([version]) + good().primary.body[1:]

    refused(packet(6, body), UnreadableCertificate, f"a key of version {version}")


def test_a_subkey_of_another_version_is_passed_over() -> None:
    data = good().raw(packet(14, b"\x06" + OLD.body[1:])).data

    assert chosen(data) == rsa_pair("subkey").key_id


def test_a_user_id_that_was_revoked_proves_nothing() -> None:
    name = b"Partner <partner@example.org>"
    revoked = Builder().user().certify(name, kind=0x30, created=LATER, flags=None).subkey(OLD)
    renewed = Builder().user().certify(name, kind=0x30, flags=None).certify(name, created=LATER).subkey(OLD)

    refused(revoked.asc, UnreadableCertificate, "no valid self-signature")
    assert chosen(renewed.asc) == OLD.key_id


def test_several_certificates_of_one_owner_are_a_rotation() -> None:
    old, new = good("Partner <partner@example.org>"), Builder(rsa_pair("next", created=LATER))
    new.user("Partner Inc. <PARTNER@example.org>").subkey(NEW)

    assert chosen(old.asc + b"\n" + new.asc) == NEW.key_id
    assert chosen(new.data + old.data) == NEW.key_id


def test_the_present_certificate_is_used_while_its_successor_cannot_be() -> None:
    new = Builder(rsa_pair("next", created=LATER)).user(days=1).subkey(NEW)

    assert chosen(new.asc + good().asc) == rsa_pair("subkey").key_id


def test_certificates_of_several_owners_are_refused() -> None:
    other = Builder(rsa_pair("next")).user("Other <other@example.net>").subkey(NEW)

    error = refused(good().asc + other.asc, SeveralOwners, "several owners")

    assert "other@example.net" in str(error)
    assert "partner@example.org" in str(error)


def test_when_no_certificate_can_be_used_the_newest_one_s_fault_is_named() -> None:
    new = Builder(rsa_pair("next", created=LATER)).user().subkey(NEW, days=1)

    refused(new.asc + Builder().direct(0x20).user().asc, CertificateExpired, "expired")


@pytest.mark.parametrize("name", ["only a name", "someone@example.org", "A <a@b> (x)", ""])
def test_any_user_id_names_an_owner(name: str) -> None:
    two = Builder().user(name).subkey(OLD).asc + Builder(rsa_pair("next")).user(name).subkey(NEW).asc

    assert chosen(two) in (OLD.key_id, NEW.key_id)


def test_a_user_id_is_shown_in_one_short_line() -> None:
    (certificate,) = read_certificates(good("Bad\n\x1b[31mname" + "x" * 500).asc, NOW)

    (shown,) = certificate.user_ids
    assert shown.startswith("Bad??[31mname")
    assert len(shown) == 120


def test_a_certificate_without_a_user_id_has_its_fingerprint_for_a_name() -> None:
    data = Builder().direct(flags=3).subkey(OLD).data

    (recipient,) = load_openpgp_recipients(data, None, NOW)

    assert recipient.certificate.name == f"OpenPGP certificate '{recipient.certificate.fingerprint[-16:]}'"


def test_a_picture_and_the_signatures_of_others_are_left_out_of_what_is_stored() -> None:
    name = b"Partner <partner@example.org>"
    lean = Builder().user().subkey(OLD)
    picture, own = packet(17, b"\x01jpeg"), b""
    what = lean.primary.hashed + b"\xd1" + (5).to_bytes(4, "big") + b"\x01jpeg"
    own = signature(lean.primary, 0x13, what, flags=3)
    fat = Builder().user().certify(name, kind=0x10, by=NEW).raw(picture + own + packet(12, b"trust")).subkey(OLD)

    (certificate,) = read_certificates(fat.asc, NOW)

    assert certificate.user_ids == ("Partner <partner@example.org>",)
    stored = certificate.to_bytes()
    assert [each.tag for each in read_packets(stored)] == [6, 13, 2, 14, 2]
    assert chosen(stored) == OLD.key_id


def test_the_end_is_announced_a_month_before() -> None:
    def warning(days_left: int, *more: Builder) -> str | None:
        first = Builder().user().subkey(OLD, days=100 + days_left)
        return openpgp_expiry_warning(first.asc + b"".join(each.asc for each in more), NOW)

    successor = Builder(rsa_pair("next", created=BEFORE - days(1))).user().subkey(NEW)
    ending = Builder(rsa_pair("next", created=BEFORE - days(1))).user().subkey(NEW, days=10)

    assert warning(30) is None
    assert "expires in 29 days, on 2026-12-21: ask the partner soon" in str(warning(29))
    assert "ask the partner now" in str(warning(6))
    assert warning(6, successor) is None
    assert "now" in str(warning(6, ending))
    assert openpgp_expiry_warning(good().asc, NOW) is None


def test_a_fingerprint_is_grouped_for_the_telephone() -> None:
    assert grouped("0123456789ABCDEF0123456789ABCDEF01234567") == "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567"


# -- how it arrives ---------------------------------------------------------------------------------------------------


def old_framing(data: bytes) -> bytes:
    """The same packets with the lengths of 1991."""
    framed = b""
    for each in read_packets(data):
        size = len(each.body)
        kind = 0 if size < 256 else 1 if size < 65_536 else 2
        framed += bytes([0x80 | each.tag << 2 | kind]) + size.to_bytes(1 << kind, "big") + each.body
    return framed


def long_framing(data: bytes) -> bytes:
    return b"".join(bytes([0xC0 | p.tag, 255]) + len(p.body).to_bytes(4, "big") + p.body for p in read_packets(data))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: old_framing(c.data),
        lambda c: long_framing(c.data),
        lambda c: c.asc.replace(b"\n", b"\r\n"),
        lambda c: b"Dear Sir,\n\nour key:\n\n" + c.asc + b"\nkind regards\n",
        lambda c: c.asc.replace(b"-----\n\n", b"-----\nVersion: BCPG v1.72\nComment: a b c\nHash: SHA256\n\n", 1),
        lambda c: c.asc.replace(b"-----\n\n", b"-----\n", 1),
        lambda c: without_checksum(c.asc),
        lambda c: packet(10, b"PGP") + c.data,
        lambda c: c.data + packet(21, bytes(100)),
        lambda c: b"\xef\xbb\xbf" + c.asc,
    ],
    ids=["old", "long", "crlf", "mail", "headers", "no blank line", "no checksum", "marker", "padding", "bom"],
)
def test_a_certificate_is_read_in_every_form_that_mail_makes_of_it(change: object) -> None:
    assert chosen(change(good())) == rsa_pair("subkey").key_id  # type: ignore[operator]


def without_checksum(text: bytes) -> bytes:
    return b"\n".join(line for line in text.split(b"\n") if not (len(line) == 5 and line.startswith(b"=")))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.asc[:-40], "armour is cut or damaged"),
        (lambda c: c.asc.replace(c.asc[200:204], b"!!!!"), "not base64"),
        (lambda c: c.asc[:200] + bytes([c.asc[200] ^ 1 or 65]) + c.asc[201:], "checksum differs|not base64"),
        (lambda c: c.data[:-1], "it is cut"),
        (lambda c: c.data[:1], "it is cut"),
        (lambda c: packet(13, b"x") + c.data, "does not begin with a public key"),
        (lambda c: c.data + b"\x00", "not made of OpenPGP packets"),
        (lambda c: c.data + b"\xd3\xe0\x00", "partial length"),
        (lambda c: c.data + b"\x87", "no length"),
        (lambda c: c.data + packet(11, b"x"), "packet of kind 11"),
        (lambda c: b"\x99", "it is cut"),
        (lambda c: c.data + packet(2, b"\x04\x13\x01"), "it is cut"),
        (lambda c: c.data + packet(2, b"\x04\x13\x01\x08\x00\x01\x00" + bytes(8)), "subpacket without a kind"),
        (lambda c: c.data * 21, "21 certificates"),
        (lambda c: c.data + packet(12, b"") * MAX_PACKETS, "more than 2,000 packets"),
        (lambda c: armoured("SIGNATURE", b"x"), "PGP SIGNATURE"),
        (lambda c: armoured("PUBLIC KEY BLOCK", b""), "0 certificates"),
        (lambda c: bytes(MAX_BYTES + 1), "never so long"),
        (lambda c: packet(6, rsa_body(1)[:-3] + bytes([0, 2, 2])), "key cannot be read"),
        (lambda c: packet(6, c.primary.body[:6] + b"\x41\x00" + bytes(2081)), "it is cut|cannot be read"),
        (lambda c: packet(6, BEFORE_HEAD + b"\x01\x00\x08\xff\x00\x48" + b"\xff" * 9), "cannot be read"),
    ],
)
def test_what_is_damaged_is_refused_in_words(change: object, text: str) -> None:
    refused(change(good()), UnreadableCertificate, text)  # type: ignore[operator]


@pytest.mark.parametrize("point", [b"\x41" + bytes(32), b"\x40" + bytes(32), b"\xff" * 34, b"\x40\x01" + bytes(31)])
def test_a_curve_point_that_is_none_is_refused(point: bytes) -> None:
    from encryption.openpgp.packets import number

    body = BEFORE_HEAD + b"\x12\x0a" + bytes.fromhex("2b060104019755010501") + number(int.from_bytes(point, "big"))

    refused(
        good().raw(packet(14, body + b"\x03\x01\x08\x07")).data, UnreadableCertificate, "Cv25519 key cannot be read"
    )


@pytest.mark.parametrize("kdf", [b"\x02\x01\x08", b"\x03\x02\x08\x07", b"\x03\x01\x02\x07", b"\x03\x01\x08\x03"])
def test_kdf_parameters_that_are_too_weak_are_refused(kdf: bytes) -> None:
    refused(good().subkey(cv25519_pair(kdf=kdf)).data, UnreadableCertificate, "Cv25519 key cannot be read")


@pytest.mark.parametrize("tag", [5, 7])
def test_a_private_key_is_refused_before_anything_else(tag: int) -> None:
    data = good().data + packet(tag, b"\x04secret")

    for each in (data, armoured("PUBLIC KEY BLOCK", data), armoured("PRIVATE KEY BLOCK", data)):
        error = refused(each, UnreadableCertificate, "holds an OpenPGP private key")
        assert "delete it" in error.hint


def test_a_hostile_number_of_signatures_costs_bounded_time() -> None:
    name = b"Partner <partner@example.org>"
    builder = Builder()
    what = builder.primary.hashed + b"\xb4" + len(name).to_bytes(4, "big") + name
    false = signature(builder.primary, 0x13, what + b"x", flags=3)
    builder.raw(packet(13, name) + false * (MAX_CHECKS + 1))

    began = time.process_time()
    refused(builder.data, UnreadableCertificate, f"more than {MAX_CHECKS} signatures")

    assert time.process_time() - began < 2


@pytest.mark.parametrize("primary", [rsa_pair(), ed25519_pair()])
@pytest.mark.parametrize("values", [b"", b"\xff\xff" + b"\xff" * 8192, (b"\x03\x00" + b"\xff" * 96) * 2])
def test_a_signature_of_impossible_numbers_proves_nothing(primary: Pair, values: bytes) -> None:
    name = b"Partner <partner@example.org>"
    true = list(read_packets(Builder(primary).user().data))[-1].body
    hashed_bytes = 6 + int.from_bytes(true[4:6], "big")
    head = true[: hashed_bytes + 2 + int.from_bytes(true[hashed_bytes : hashed_bytes + 2], "big") + 2]
    forged = Builder(primary).raw(packet(13, name) + packet(2, head + values))

    refused(forged.data, UnreadableCertificate, "no valid self-signature")


def test_signatures_of_other_versions_and_algorithms_are_passed_over() -> None:
    foreign = packet(2, b"\x03" + bytes(20)) + packet(2, b"\x06" + bytes(20))
    dsa = packet(2, b"\x04\x13\x11\x08\x00\x00\x00\x00\x00\x00" + b"\x00\x08\xff" * 2)
    unknown = packet(2, b"\x04\x13\x63\x08\x00\x00\x00\x00\x00\x00" + b"?")

    assert chosen(good().raw(foreign + dsa + unknown).data) == rsa_pair("subkey").key_id


@pytest.mark.parametrize("size", [0, 1, 2, 3, 477, 478, 479, 480, 3000, 65_536, 200_000])
def test_the_checksum_is_that_of_the_standard(size: int) -> None:
    data = random.Random(size).randbytes(size)
    state = 0xB704CE
    for byte in data:
        state ^= byte << 16
        for _ in range(8):
            state = state << 1 ^ (0x1864CFB if state & 0x800000 else 0)

    assert crc24(data) == state
    assert crc24(data[size // 3 :], crc24(data[: size // 3])) == state


def test_a_line_of_armour_is_64_characters() -> None:
    lines = armoured("MESSAGE", bytes(1000)).split(b"\n")

    assert {len(line) for line in lines[2:-5]} == {64}
    assert base64.b64decode(b"".join(lines[2:-3])) == bytes(1000)


@pytest.mark.parametrize(("size", "expected"), [(191, "bf"), (192, "c000"), (8383, "dfff"), (8384, "ff000020c0")])
def test_a_length_takes_as_few_bytes_as_it_can(size: int, expected: str) -> None:
    assert length(size).hex() == expected
    assert list(read_packets(packet(13, bytes(size)))) == [Packet(13, bytes(size))]


@pytest.mark.parametrize("size", [191, 192, 8383, 8384, 16_319, 16_320])
def test_a_subpacket_of_any_length_is_read(size: int) -> None:
    data = Builder().user(more=subpacket(20, bytes(size - 1))).subkey(OLD).data

    assert chosen(data) == OLD.key_id


# -- gpg and we -------------------------------------------------------------------------------------------------------


def several() -> dict[str, Builder]:
    """Certificates of every kind that gpg can be asked about."""
    third = cv25519_pair(LATER + days(1))
    name = b"Partner <partner@example.org>"
    return {
        "one subkey": Builder().user().subkey(OLD),
        "two": Builder().user().subkey(OLD).subkey(NEW),
        "two, newest first": Builder().user().subkey(NEW).subkey(OLD),
        "three": Builder().user().subkey(OLD).subkey(third).subkey(NEW),
        "newest expired": Builder().user().subkey(OLD).subkey(NEW, days=30),
        "newest revoked": Builder().user().subkey(OLD).subkey(NEW).bind(NEW, 0x28),
        "both revoked": Builder().user().subkey(OLD).bind(OLD, 0x28).subkey(NEW).bind(NEW, 0x28),
        "both expired": Builder().user().subkey(OLD, days=20).subkey(NEW, days=30),
        "revoked, then bound again": Builder().user().subkey(OLD).subkey(NEW).bind(NEW, 0x28).bind(NEW, created=LATER),
        "newest signs": Builder().user().subkey(OLD).subkey(NEW, flags=SIGN),
        "only signs": Builder().user().subkey(NEW, flags=SIGN),
        "no subkey": Builder().user(),
        "primary encrypts": Builder().user(flags=15),
        "primary encrypts, and a subkey": Builder().user(flags=15).subkey(OLD),
        "newest bound by another": Builder().user().subkey(OLD).subkey(NEW, by=rsa_pair("stranger")),
        "only subkey bound by another": Builder().user().subkey(NEW, by=rsa_pair("stranger")),
        "renewed subkey": Builder().user().subkey(NEW, days=30).bind(NEW, created=LATER, days=400),
        "shortened subkey": Builder().user().subkey(NEW, days=400).bind(NEW, created=LATER, days=30),
        "certificate expired": Builder().user(days=50).subkey(OLD),
        "certificate extended": Builder().user(days=50).certify(name, created=LATER, days=400).subkey(OLD),
        "certificate shortened": Builder().user(days=400).certify(name, created=LATER, days=50).subkey(OLD),
        "certificate revoked": Builder().direct(0x20).user().subkey(OLD),
        "two user ids": Builder().user().user("Second <second@example.org>").subkey(OLD),
        "user id revoked": Builder().user().certify(name, kind=0x30, created=LATER, flags=None).user("B <b@x.org>")
        .subkey(OLD),
        "Ed25519 and Cv25519": Builder(ed25519_pair()).user().subkey(third),
        "Ed25519 and RSA": Builder(ed25519_pair()).user().subkey(OLD),
        "Cv25519 with SHA-512": Builder().user().subkey(cv25519_pair(kdf=b"\x03\x01\x0a\x09")),
        "for storage only": Builder().user().subkey(OLD, flags=8),
        "for transport only": Builder().user().subkey(OLD, flags=4),
        "binding expired": Builder().user().subkey(OLD).subkey(NEW, more=subpacket(3, (86_400).to_bytes(4, "big"))),
        "SHA-512 everywhere": Builder().user(digest=10).subkey(OLD, digest=10),
    }  # fmt: skip


@pytest.mark.skipif(not GPG, reason="gpg is not installed")
@pytest.mark.parametrize("name", several())
def test_gpg_chooses_the_same_key(name: str) -> None:
    certificate = several()[name]
    with gpg_home() as gpg:
        gpg.run("--import", data=certificate.data)
        verdict = gpg_s_choice(gpg, certificate.primary.fingerprint.hex().upper())

    try:
        ours = chosen(certificate.asc)
    except EncryptionError:
        ours = None

    assert ours == verdict


def gpg_s_choice(gpg: Gpg, fingerprint: str) -> str | None:
    """The key id that gpg encrypts to, or None where it refuses."""
    done = gpg.run("--encrypt", "-r", fingerprint, data=b"x")
    if done.returncode:
        return None
    return next(each for each in read_packets(done.stdout) if each.tag == 1).body[1:9].hex().upper()


# -- hostile certificates ---------------------------------------------------------------------------------------------


def mutated(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        place = chance.randrange(len(changed))
        match chance.randrange(5):
            case 0:
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                changed[place] = chance.choice((0, 1, 2, 4, 18, 22, 127, 128, 191, 192, 223, 224, 254, 255))
            case 2:
                del changed[place : place + chance.randrange(1, 60)]
            case 3:
                start = chance.randrange(len(data))
                changed[place:place] = data[start : start + chance.randrange(1, 300)]
            case _:
                del changed[place:]
        if not changed:
            break
    return bytes(changed)


def fuzz(seeds: dict[str, Builder], count: int, seed: int) -> int:
    """Read mutated certificates: any error is ours, in bounded time, and a key that is chosen is one of the certificate's."""
    chance, used = random.Random(seed), 0
    known = [(each.data, {NEW.key_id, OLD.key_id} | own_keys(each.data)) for each in seeds.values()]
    for _ in range(count):
        data, keys = chance.choice(known)
        changed = mutated(chance, data)
        began = time.process_time()
        try:
            for certificate in read_certificates(changed, NOW):
                key, _end = choose_key(certificate, NOW)
                assert key.key_id.hex().upper() in keys
                used += 1
        except EncryptionError as error:
            assert error.hint  # noqa: PT017  # any error of ours is right, and each has a hint
        assert time.process_time() - began < 3
    return used


def own_keys(data: bytes) -> set[str]:
    return {
        Pair(rsa_key(), each.body).key_id for each in read_packets(data) if each.tag in (6, 14)
    }  # fmt: skip


def test_mutated_certificates_never_crash_nor_lead_to_a_key_that_is_not_bound() -> None:
    assert fuzz(several(), 3_000, 20261122) > 100


@pytest.mark.slow
def test_a_hundred_thousand_mutated_certificates_never_crash() -> None:
    assert fuzz(several(), 100_000, 1) > 5_000


def test_flags_are_those_that_the_tests_think() -> None:
    (certificate,) = read_certificates(good().asc, NOW)

    assert certificate.subkeys[0].flags == ENCRYPT
    assert not is_openpgp(b"")
    assert not is_openpgp(b"-----BEGIN CERTIFICATE-----")
