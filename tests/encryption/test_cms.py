from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from encryption_support import NOW, der, file_info, make_certificate, pem, private_pem, recipient, rsa_key, sealed
from hypothesis import given
from hypothesis import strategies as st

from encryption import InvalidValue, MalformedHeader, Recipient, open_cms, seal
from encryption.asn1 import element, tlv
from encryption.cms import MAX_PLAINTEXT_BYTES, envelope_head, read_envelope, recipient_info

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def reader(data: bytes) -> Callable[[int], bytes]:
    position = 0

    def read(count: int) -> bytes:
        nonlocal position
        part = data[position : position + count]
        position += len(part)
        return part

    return read


@needs_openssl
@pytest.mark.parametrize("size", [0, 1, 100, 200, 70_000])
@pytest.mark.parametrize("owner", ["partner", "escrow"])
def test_openssl_opens_what_we_write(tmp_path: Path, size: int, owner: str) -> None:
    plaintext = os.urandom(size)
    (tmp_path / "a.cms").write_bytes(sealed(plaintext, "cms", "partner", "escrow")[0])
    (tmp_path / "key").write_bytes(private_pem(rsa_key(owner)))

    subprocess.run(
        ["openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", "key", "-in", "a.cms", "-out", "out"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )

    assert (tmp_path / "out").read_bytes() == plaintext


@needs_openssl
def test_openssl_refuses_what_was_changed(tmp_path: Path) -> None:
    data = bytearray(sealed(bytes(100), "cms")[0])
    data[-30] ^= 1
    (tmp_path / "a.cms").write_bytes(data)
    (tmp_path / "key").write_bytes(private_pem(rsa_key()))

    done = subprocess.run(
        ["openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", "key", "-in", "a.cms", "-out", "out"],
        cwd=tmp_path,
        capture_output=True,
    )

    assert done.returncode != 0


@needs_openssl
@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_we_open_what_openssl_writes(tmp_path: Path, size: int) -> None:
    plaintext = os.urandom(size)
    (tmp_path / "plain").write_bytes(plaintext)
    (tmp_path / "cert").write_bytes(pem(make_certificate()))
    options = ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256", "-keyopt", "rsa_mgf1_md:sha256"]

    subprocess.run(
        ["openssl", "cms", "-encrypt", "-binary", "-aes-256-gcm", "-in", "plain", "-outform", "DER", "-out", "a.cms",
         "-recip", "cert", *options],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip

    assert b"".join(open_cms([(tmp_path / "a.cms").read_bytes()], rsa_key())) == plaintext


@needs_openssl
def test_the_streamed_form_of_openssl_is_refused_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"hello")
    (tmp_path / "cert").write_bytes(pem(make_certificate()))
    subprocess.run(
        ["openssl", "cms", "-encrypt", "-stream", "-binary", "-aes-256-gcm", "-in", "plain", "-outform", "DER", "-out", "a.cms",
         "-recip", "cert"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip

    with pytest.raises(MalformedHeader, match="definite lengths"):
        open_cms([(tmp_path / "a.cms").read_bytes()], rsa_key())


@needs_openssl
def test_recipients_with_sha_1_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"hello")
    (tmp_path / "cert").write_bytes(pem(make_certificate()))
    subprocess.run(
        ["openssl", "cms", "-encrypt", "-binary", "-aes-256-gcm", "-in", "plain", "-outform", "DER", "-out", "a.cms",
         "-recip", "cert", "-keyopt", "rsa_padding_mode:oaep"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip

    with pytest.raises(MalformedHeader, match="not RSA-OAEP with SHA-256"):
        open_cms([(tmp_path / "a.cms").read_bytes()], rsa_key())


@needs_openssl
def test_openssl_parses_the_whole_structure(tmp_path: Path) -> None:
    (tmp_path / "a.cms").write_bytes(sealed(bytes(300), "cms", "partner", "escrow")[0])

    shown = subprocess.run(
        ["openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", "a.cms"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip

    assert "id-smime-ct-authEnvelopedData" in shown
    assert shown.count("rsaesOaep") == 2
    assert "aes-256-gcm" in shown


def test_a_version_1_certificate_is_named_as_well() -> None:
    # Version 1 leaves out the version's element, so serial number and issuer stand one place earlier.
    whole = der(make_certificate(usage=None))
    _, certificate, _ = element(whole, 0)
    _, tbs, end = element(certificate, 0)
    marker = bytes.fromhex("a003020102")
    assert tbs.startswith(marker)
    old = x509.load_der_x509_certificate(tlv(0x30, tlv(0x30, tbs[len(marker) :]), certificate[end:]))

    new_info, old_info = (recipient_info(each, b"k" * 384) for each in (x509.load_der_x509_certificate(whole), old))

    assert old.version is x509.Version.v1
    assert new_info == old_info


def test_a_long_issuer_name_is_written_as_the_certificate_has_it() -> None:
    parts = [x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "ü" * 60) for _ in range(10)]
    name = x509.Name(parts)
    certificate = (
        x509.CertificateBuilder(name, name, rsa_key().public_key(), 2**158 + 1)
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=1))
        .sign(rsa_key(), hashes.SHA256())
    )
    sealing = seal([b"hello"], file=file_info(5), recipients=[Recipient("k", certificate)], format="cms")

    data = b"".join(sealing)

    assert name.public_bytes() in data
    assert b"".join(open_cms([data], rsa_key())) == b"hello"


@pytest.mark.parametrize("size", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 2**24, MAX_PLAINTEXT_BYTES])
def test_a_head_is_read_back_for_every_length_of_length(size: int) -> None:
    info = recipient_info(recipient("partner").certificate, b"k" * 384)

    envelope = read_envelope(reader(envelope_head([info], b"n" * 12, size)))

    assert envelope.wrapped_keys == (b"k" * 384,)
    assert envelope.nonce == b"n" * 12
    assert envelope.plaintext_bytes == size


def test_a_size_above_the_limit_is_refused() -> None:
    info = recipient_info(recipient("partner").certificate, b"k" * 384)

    with pytest.raises(MalformedHeader, match="1,073,741,824 are allowed"):
        read_envelope(reader(envelope_head([info], b"n" * 12, MAX_PLAINTEXT_BYTES + 1)))


def test_another_size_than_promised_is_refused() -> None:
    data, _ = sealed(b"hello", "cms")

    assert b"".join(open_cms([data], rsa_key(), plaintext_bytes=5)) == b"hello"
    with pytest.raises(MalformedHeader, match="holds 5 bytes, not the 6 promised"):
        open_cms([data], rsa_key(), plaintext_bytes=6)


@pytest.mark.parametrize("count", [0, 9])
def test_no_or_too_many_recipients_are_refused(count: int) -> None:
    infos = [recipient_info(recipient("partner").certificate, b"k" * 384)] * count

    with pytest.raises(MalformedHeader, match=f"has {count} recipients"):
        read_envelope(reader(envelope_head(infos, b"n" * 12, 5)))


@pytest.mark.parametrize(
    "info", [tlv(0x31), tlv(0x30, b"\x02"), tlv(0x30, b"\x02\x05\0"), b"\x30", tlv(0x30, b"\x02\x01\0" * 4)]
)
def test_recipients_that_are_not_whole_are_refused(info: bytes) -> None:
    with pytest.raises(MalformedHeader, match="a recipient of the CMS file"):
        read_envelope(reader(envelope_head([info], b"n" * 12, 5)))


def test_a_wrapped_key_of_another_length_is_refused() -> None:
    for length in (383, 1025):
        info = recipient_info(recipient("partner").certificate, b"k" * length)
        with pytest.raises(MalformedHeader, match="a recipient of the CMS file"):
            read_envelope(reader(envelope_head([info], b"n" * 12, 5)))


def test_a_missing_null_in_the_parameters_is_accepted() -> None:
    info = recipient_info(recipient("partner").certificate, b"k" * 384)
    null, sha = bytes.fromhex("0500"), bytes.fromhex("608648016503040201")
    shorter = (
        info.replace(bytes.fromhex("300d0609") + sha + null, bytes.fromhex("300b0609") + sha)
        .replace(bytes.fromhex("a00f300b"), bytes.fromhex("a00d300b"))
        .replace(bytes.fromhex("a11c301a0609"), bytes.fromhex("a11a30180609"))
        .replace(bytes.fromhex("303c0609"), bytes.fromhex("30380609"))
        .replace(bytes.fromhex("302fa0"), bytes.fromhex("302ba0"))
    )
    _, content, _ = element(info, 0)
    shorter = tlv(0x30, shorter[-(len(content) - 4) :])

    assert read_envelope(reader(envelope_head([shorter], b"n" * 12, 5))).wrapped_keys == (b"k" * 384,)


def test_the_head_of_a_hostile_file_is_not_read_far() -> None:
    def source() -> Iterator[bytes]:
        yield bytes.fromhex("30840fffffff060b2a864886f70d0109100117a0840fffffff30840fffffff020100318400ffffff")
        raise AssertionError("more was read")

    with pytest.raises(MalformedHeader, match="claims 16,777,215 bytes"):
        open_cms(source(), rsa_key())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedHeader):
        read_envelope(reader(data))


@given(st.data())
def test_any_change_of_a_head_is_refused_or_changes_only_what_nothing_depends_on(drawn: st.DataObject) -> None:
    head = bytearray(envelope_head([recipient_info(recipient("partner").certificate, b"k" * 384)], b"n" * 12, 5))
    place = drawn.draw(st.integers(0, len(head) - 1))
    head[place] = drawn.draw(st.integers(0, 255))

    try:
        envelope = read_envelope(reader(bytes(head)))
    except MalformedHeader:
        return
    assert len(envelope.wrapped_keys) == 1


def test_recipients_that_no_reader_takes_are_refused_before_anything_is_sealed() -> None:
    """An issuer's name of 70 kB made a file that nobody could open."""
    units = [x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 64)] * 1_000
    builder = x509.CertificateBuilder(x509.Name(units), x509.Name([]), rsa_key().public_key(), 5)
    long_issuer = builder.not_valid_before(NOW).not_valid_after(NOW.replace(year=2030)).sign(rsa_key(), hashes.SHA256())

    with pytest.raises(InvalidValue, match=r"the recipients take \d\d,\d{3} bytes in a CMS file") as caught:
        seal([b""], file=file_info(0), recipients=[Recipient("k", long_issuer)], format="cms")

    assert "shorter issuer" in caught.value.hint
