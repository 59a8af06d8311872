from __future__ import annotations

import contextlib
import datetime as dt
import email
import functools
import io
import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from encryption_support import (
    file_info,
    make_certificate,
    pgp_recipient,
    private_pem,
    rsa_key,
    sign_digest,
    smime_signer,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from encryption import CannotOpen, FileSigner, InvalidValue, MalformedHeader, Recipient, Smime, open_smime, seal
from encryption.asn1 import END, SEGMENT_BYTES, Segments, element
from encryption.opening import _segments
from encryption.sealing import SealedFile
from encryption.signed_data import HEAD, own_smime_certificate
from encryption.smime import envelope_head, read_smime_envelope
from encryption.wrapping import PKCS1, SCHEMES, unwrap

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
SIGNED = Smime(signer=smime_signer())
WISHES = [
    Smime(key_transport=transport, signer=signer, armour=armour)  # type: ignore[arg-type]  # the words of the product below
    for transport, signer, armour in itertools.product(
        ("pkcs1v15", "oaep"), (None, smime_signer()), ("none", "pem", "mime")
    )
]
SIZES = (0, 1, 15, 16, 17, 65_535, 65_536, 65_537, 3 * 65_536)


@functools.cache
def partner() -> Recipient:
    return Recipient("https://vault.example/secrets/partner/1", make_certificate(rsa_key()))


def write(plaintext: bytes, wish: Smime = Smime(), *more: Recipient) -> tuple[bytes, SealedFile]:  # noqa: B008  # frozen
    recipients = [partner(), *more]
    sealing = seal([plaintext], file=file_info(len(plaintext)), recipients=recipients, format=wish)
    return b"".join(sealing), sealing.result


def read(data: bytes, plaintext_bytes: int, key: rsa.RSAPrivateKey | None = None) -> bytes:
    pieces = open_smime([data], key or rsa_key(), sealed_bytes=len(data), plaintext_bytes=plaintext_bytes)
    return b"".join(pieces)


def content_of(size: int) -> bytes:
    return (b"line;1;2;3\r\n" * (size // 12 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wish", WISHES, ids=str)
def test_what_is_written_is_read_back_whatever_is_wished(size: int, wish: Smime) -> None:
    data, result = write(content_of(size), wish)

    assert read(data, size) == content_of(size)
    assert (result.sealed_name, result.plaintext_bytes, result.sealed_bytes) == ("a.csv.p7m", size, len(data))
    assert {each.alg for each in result.recipients} == {wish.algorithm}
    assert SealedFile.from_json(result.to_json()) == result


@settings(max_examples=30)
@given(st.binary(max_size=300), st.sampled_from(WISHES))
def test_any_text_is_read_back(plaintext: bytes, wish: Smime) -> None:
    data, _ = write(plaintext, wish)

    assert read(data, len(plaintext)) == plaintext


@needs_openssl
def test_a_plaintext_that_is_a_signed_file_itself_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(private_pem(rsa_key()))
    (tmp_path / "in").write_bytes(write(b"hello", SIGNED)[0])
    command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", "key", "-in", "in", "-out", "signed"]
    subprocess.run(command, cwd=tmp_path, check=True)
    signed = (tmp_path / "signed").read_bytes()
    assert signed.startswith(HEAD)

    data, _ = write(signed)

    assert read(data, len(signed)) == signed


@pytest.mark.parametrize("wish", [WISHES[0], WISHES[3], WISHES[5]], ids=str)
def test_a_cut_file_is_refused_wherever_it_is_cut(wish: Smime) -> None:
    data, _ = write(content_of(70_000), wish)

    for end in [*range(0, 1200, 37), *range(1200, len(data), 3001), len(data) - 1]:
        with pytest.raises((CannotOpen, MalformedHeader)):
            b"".join(open_smime([data[:end]], rsa_key(), sealed_bytes=len(data), plaintext_bytes=70_000))


def test_another_key_and_another_size_are_refused_in_the_same_words() -> None:
    data, _ = write(b"hello")

    for key, size in ((rsa_key("stranger"), 5), (rsa_key(), 4), (rsa_key(), 6)):
        with pytest.raises(CannotOpen):
            read(data, size, key)


def test_a_second_recipient_opens_the_same_file() -> None:
    escrow = Recipient("escrow", make_certificate(rsa_key("escrow"), owner="escrow"))

    data, result = write(b"hello", SIGNED, escrow)

    assert read(data, 5, rsa_key("escrow")) == b"hello"
    assert len(result.recipients) == 2


def test_of_many_recipients_each_finds_its_own_key_though_openssl_makes_up_others() -> None:
    """Of a block for another key openssl makes up a message, once in 500 times of 32 bytes: 3,000 blocks hold some."""
    mine, stranger = rsa_key(), rsa_key("stranger").public_key()
    file_key = bytes(range(32))
    made_up = [
        block
        for block in (stranger.encrypt(bytes(32), padding.PKCS1v15()) for _ in range(3000))
        if opens_to_32_bytes(block, mine)
    ]
    own = mine.public_key().encrypt(file_key, padding.PKCS1v15())

    assert unwrap([*made_up[:7], own], mine, SCHEMES[PKCS1]) == file_key


def opens_to_32_bytes(block: bytes, key: rsa.RSAPrivateKey) -> bool:
    try:
        return len(key.decrypt(block, padding.PKCS1v15())) == 32
    except ValueError:
        return False


def test_the_file_key_is_wrapped_as_keys_json_says() -> None:
    _, result = write(b"")
    (key,) = result.recipients

    assert key.alg == PKCS1 == "RSA1_5"
    assert rsa_key().decrypt(key.wrapped_key, padding.PKCS1v15()) == unwrap(
        [key.wrapped_key], rsa_key(), padding.PKCS1v15()
    )


@pytest.mark.parametrize("change", [0, 3, 13, 16, 20, 24, 80, 490])
def test_another_head_is_refused_and_not_guessed_at(change: int) -> None:
    data = bytearray(write(b"hello")[0])
    data[change] ^= 0x40

    with pytest.raises((MalformedHeader, CannotOpen)):
        read(bytes(data), 5)


def test_der_of_definite_length_is_not_what_we_write() -> None:
    with pytest.raises(MalformedHeader, match="30 03 stands where 30 80 belongs"):
        read(b"0\x03\x02\x01\0", 0)


def test_recipients_of_two_kinds_in_one_file_are_refused() -> None:
    infos = [recipient_infos(write(b"", wish)[0]) for wish in (Smime(), Smime(key_transport="oaep"))]

    head = envelope_head(b"".join(sorted(infos)), bytes(16))

    with pytest.raises(MalformedHeader, match=r"is not RSA with PKCS#1 v1\.5"):
        read_smime_envelope(io.BytesIO(head).read)


def recipient_infos(data: bytes) -> bytes:
    """Return the content of a file's recipientInfos."""
    _, content, _ = element(data, 20)
    return content


@pytest.mark.parametrize("kind", ["pem", "mime"])
def test_armour_is_lines_of_64_characters_and_anything_else_is_refused(kind: Any) -> None:
    data, _ = write(content_of(200_000), Smime(armour=kind))
    end = b"\r\n" if kind == "mime" else b"\n"
    lines = data.split(end)
    body = lines[1:-2] if kind == "pem" else lines[lines.index(b"") + 1 : -1]

    assert {len(line) for line in body[:-1]} == {64}
    for broken in (data.replace(body[5], body[5][:-1] + b"!"), data.replace(end, b"\n\n", 3), data[:-9]):
        with pytest.raises((MalformedHeader, CannotOpen)):
            read(broken, 200_000)


def test_mime_is_a_message_that_mail_programs_know() -> None:
    message = email.message_from_bytes(write(b"hello", Smime(armour="mime"))[0])

    assert message.get_content_type() == "application/pkcs7-mime"
    assert message.get_param("smime-type") == "enveloped-data"
    assert message.get_filename() == "smime.p7m"
    assert read(message.get_payload(decode=True), 5) == b"hello"  # type: ignore[arg-type]  # bytes when it is not multipart


@given(st.lists(st.binary(max_size=400), max_size=8), st.integers(0, 2))
def test_segments_hold_what_came_however_it_was_cut(pieces: list[bytes], large: int) -> None:
    pieces = [*pieces, *[bytes(SEGMENT_BYTES)] * large, *pieces]
    segments = Segments()

    written = b"".join([*map(segments.update, pieces), segments.finish()])

    assert b"".join(_segments(io.BytesIO(written + END).read, is_last=False)) == b"".join(pieces)


@pytest.mark.parametrize(
    "segments", ["0400 0401aa", "0401aa 0401aa", "048101aa", "0484000001aa", "0501aa", "04", "0401", "0483020000"]
)
def test_segments_that_are_cut_otherwise_are_refused(segments: str) -> None:
    with pytest.raises(CannotOpen):
        list(_segments(io.BytesIO(bytes.fromhex(segments) + END).read, is_last=False))


def test_an_openpgp_certificate_receives_no_smime_file() -> None:
    with pytest.raises(InvalidValue, match=r"is an OpenPGP certificate; the format smime needs an X\.509 one"):
        seal([b""], file=file_info(0), recipients=[pgp_recipient()], format="smime")


def test_a_name_ends_in_p7m_or_in_nothing_more() -> None:
    recipients = [partner()]

    assert seal([b""], file=file_info(0), recipients=recipients, format=Smime(extension="")).sealed_name == "a.csv"
    with pytest.raises(InvalidValue, match=r"ends in \.p7m or in nothing more"):
        seal([b""], file=file_info(0), recipients=recipients, format=Smime(extension=".zip"))


@settings(max_examples=60)
@given(st.integers(0, 1200), st.binary(max_size=40), st.sampled_from(WISHES))
def test_whatever_is_changed_in_a_file_raises_no_other_error(start: int, change: bytes, wish: Smime) -> None:
    data = bytearray(written_before(wish))
    data[start : start + len(change)] = change

    with contextlib.suppress(MalformedHeader, CannotOpen):
        read(bytes(data), 5)


@functools.cache
def written_before(wish: Smime) -> bytes:
    return write(b"hello", wish)[0]


@given(st.binary(max_size=200), st.sampled_from([b"", b"0\x80", b"-----BEGIN CMS-----\n", b"MIME-Version: 1.0\r\n"]))
def test_any_bytes_are_no_smime_file(data: bytes, start: bytes) -> None:
    with pytest.raises(MalformedHeader):
        read(start + data, 5)


@pytest.mark.parametrize("year", [2026, 2049, 2050])
def test_our_certificate_is_the_same_each_time_and_verifies_itself(year: int) -> None:
    made = dt.datetime(year, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
    public_key = rsa_key("smime sender").public_key()

    certificate = own_smime_certificate(public_key, "sealift-smime", made, sign_digest)

    assert certificate == own_smime_certificate(public_key, "sealift-smime", made, sign_digest)
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_before_utc == made
    assert certificate.subject.rfc4514_string() == "CN=sealift-smime"
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_signature_costs_one_call_to_the_signer_at_the_end() -> None:
    calls: list[bytes] = []

    def sign(digest: bytes) -> bytes:
        calls.append(digest)
        return sign_digest(digest)

    sealing = seal(
        [b"hello"],
        file=file_info(5),
        recipients=[partner()],
        format=Smime(signer=FileSigner(smime_signer().certificate, sign)),
    )
    next(sealing)
    assert calls == []

    list(sealing)
    assert [len(each) for each in calls] == [32]
