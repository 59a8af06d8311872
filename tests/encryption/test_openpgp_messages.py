"""What an OpenPGP file is made of: packets, parts, names, who is refused; and what of it can be seen without a key."""

from __future__ import annotations

import datetime as dt
import io
import os

import pytest
from encryption_support import NOW, desk, file_info, pgp_recipient, recipient, rsa_key, sealed
from openpgp_support import signer_of

from encryption import EncryptionError, InvalidValue, MalformedHeader, SealedFile, seal
from encryption.errors import VaultUnreachable
from encryption.openpgp import OpenPgp, Signer, load_openpgp_recipients, own_certificate
from encryption.openpgp.armour import Armour
from encryption.openpgp.packets import PART_BYTES, packet, read_message, read_packets
from encryption.wrapping import WrappedKey
from local.openpgp_desk import Desk, NotOpened

SIGNER = signer_of(rsa_key("pgp sender"), NOW - dt.timedelta(days=3))


def message(content: bytes, name: str = "a.csv", **options: object) -> bytes:
    return b"".join(
        seal(
            [content], file=file_info(len(content), name=name), recipients=[pgp_recipient()], format=OpenPgp(**options)
        )  # type: ignore[arg-type]
    )


def test_small_files_are_packets_of_definite_length() -> None:
    tags = [each.tag for each in read_packets(message(b"hello", signer=SIGNER))]

    assert tags == [1, 18]


def test_large_files_come_in_parts_of_64_kib() -> None:
    data = message(os.urandom(300_000), signer=SIGNER)

    start = 3 + int.from_bytes(data[1:3]) - 192 * 256 + 192 if data[1] < 224 else -1  # after the session key's packet
    lengths = []
    at = start + 1
    while data[at] == 0xF0:
        lengths.append(PART_BYTES)
        at += 1 + PART_BYTES
    assert data[start : start + 2] == b"\xd2\xf0"
    assert lengths == [PART_BYTES] * 4
    assert data[at] in (*range(192, 224), 255)


@pytest.mark.parametrize("size", [0, 1, 511, 512, PART_BYTES - 20, PART_BYTES, 2 * PART_BYTES, 1_000_003])
@pytest.mark.parametrize("compress", [False, True])
def test_every_size_opens_with_its_name_and_signature(size: int, compress: bool) -> None:
    content = os.urandom(size)

    opened = desk().open(
        message(content, "NW 1.txt", signer=SIGNER, compress=compress), rsa_key("pgp sender").public_key()
    )

    assert (opened.content, opened.name, opened.is_signed) == (content, "NW 1.txt", True)


def test_an_unsigned_file_has_no_signature_and_is_refused_where_one_is_wanted() -> None:
    data = message(b"hello")

    assert not desk().open(data).is_signed
    with pytest.raises(NotOpened):
        desk().open(data, rsa_key("pgp sender").public_key())


def test_a_key_of_curve_25519_opens_it_too() -> None:
    curve = Desk.make("Curve <curve@example.org>", NOW - dt.timedelta(days=10), curve=True)
    recipients = load_openpgp_recipients(curve.certificate(), None, NOW)

    data = b"".join(seal([b"hello"], file=file_info(5), recipients=recipients, format="openpgp"))

    assert curve.open(data).content == b"hello"
    assert recipients[0].key.name == "ECDH Cv25519"


def test_compression_makes_text_shorter() -> None:
    text = b"line;1;2;3\r\n" * 100_000

    assert len(message(text, compress=True)) < len(text) // 50


def test_escrow_opens_the_same_file() -> None:
    data, result = sealed(b"hello", "openpgp", "partner", "escrow")

    assert desk("escrow").open(data).content == desk("partner").open(data).content == b"hello"
    assert [each.alg for each in result.recipients] == ["OpenPGP-PKESK"] * 2
    assert result.recipients[0].thumbprint == pgp_recipient("partner").thumbprint


@pytest.mark.parametrize("extension", [".pgp", ".gpg", ".asc", ""])
def test_a_file_has_the_name_that_the_partner_wants(extension: str) -> None:
    sealing = seal([b"x"], file=file_info(1), recipients=[pgp_recipient()], format=OpenPgp(extension=extension))
    list(sealing)

    assert sealing.sealed_name == sealing.result.sealed_name == "a.csv" + extension
    assert SealedFile.from_metadata(sealing.metadata) == sealing.result


def test_another_extension_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"\.pgp, \.gpg, \.asc"):
        seal([], file=file_info(0), recipients=[pgp_recipient()], format=OpenPgp(extension=".exe"))


@pytest.mark.parametrize(("format", "found"), [("openpgp", "an X.509"), ("native", "an OpenPGP")])
def test_a_certificate_of_the_other_kind_is_refused_before_anything_is_written(format: str, found: str) -> None:  # noqa: A002
    wrong = recipient("partner") if format == "openpgp" else pgp_recipient()

    with pytest.raises(InvalidValue, match=f"is {found} certificate; the format {format} needs") as caught:
        seal([], file=file_info(0), recipients=[wrong], format=format)

    assert "kind of certificate" in caught.value.hint


def test_a_result_whose_keys_are_wrapped_in_the_other_way_is_refused() -> None:
    openpgp, native = sealed(b"x", "openpgp")[1], sealed(b"x", "native")[1]

    with pytest.raises(InvalidValue, match=r"alg must be 'OpenPGP-PKESK'|wrapped_key"):
        SealedFile.from_json(openpgp.to_json() | {"recipients": native.to_json()["recipients"]})
    with pytest.raises(InvalidValue, match="wrapped as RSA-OAEP-256"):
        SealedFile(
            **{**{name: getattr(native, name) for name in SealedFile.__slots__}, "recipients": openpgp.recipients}
        )
    with pytest.raises(InvalidValue, match="has 9 bytes; 64 to 1036"):
        WrappedKey(kid="a", thumbprint="A" * 43, wrapped_key=bytes(9), alg="OpenPGP-PKESK")


def test_a_signer_that_fails_fails_the_sealing() -> None:
    def unreachable(_: bytes) -> bytes:
        raise VaultUnreachable("the vault did not answer")

    with pytest.raises(VaultUnreachable):
        message(b"hello", signer=Signer(SIGNER.key, unreachable))


def test_no_secret_is_shown() -> None:
    shown = repr(pgp_recipient()) + repr(desk()) + repr(SIGNER.key) + repr(OpenPgp(signer=SIGNER))

    assert "RSAPrivateKey" not in shown
    assert "b'" not in shown


@pytest.mark.parametrize("sizes", [(0,), (1,), (47, 1), (48,), (49, 95), (100_000, 3)])
def test_armour_is_the_same_however_it_is_cut(sizes: tuple[int, ...]) -> None:
    data = os.urandom(sum(sizes))
    armour, text, at = Armour("MESSAGE"), b"", 0
    for size in sizes:
        text += armour.update(data[at : at + size])
        at += size

    whole = Armour("MESSAGE")

    assert text + armour.finish() == whole.update(data) + whole.finish()


def test_our_certificate_has_the_same_fingerprint_every_time() -> None:
    again = signer_of(rsa_key("pgp sender"), NOW - dt.timedelta(days=3))

    assert own_certificate(SIGNER, "Acme <files@acme.example>") == own_certificate(again, "Acme <files@acme.example>")
    assert signer_of(rsa_key("pgp sender"), NOW).key.fingerprint != SIGNER.key.fingerprint


@pytest.mark.parametrize("user_id", ["", "a\nb", "x" * 201])
def test_a_user_id_that_is_none_is_refused(user_id: str) -> None:
    with pytest.raises(InvalidValue, match="user id"):
        own_certificate(SIGNER, user_id)


# -- what can be seen without a key -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, 300, 9_000, 200_000])
def test_the_recipients_of_a_file_are_read_without_a_key(size: int) -> None:
    data, _ = sealed(bytes(size), "openpgp", "partner", "escrow")

    seen = read_message(io.BytesIO(data).read)

    assert [key_id for key_id, _ in seen.key_ids] == [
        pgp_recipient(owner).key.key_id.hex().upper() for owner in ("partner", "escrow")
    ]
    assert {algorithm for _, algorithm in seen.key_ids} == {1}
    assert data[seen.head_bytes] == 0xD2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "ends before its encrypted packet"),
        (packet(1, b"\x03" + bytes(200)), "ends before its encrypted packet"),
        (packet(1, b"\x06" + bytes(20)), "version 06, not 3"),
        (packet(1, b""), "version none, not 3"),
        (packet(18, b"\x01" + bytes(30)), "names no recipient"),
        (packet(1, b"\x03" + bytes(20)) + packet(18, b"\x02" + bytes(30)), "not of version 1"),
        (packet(1, b"\x03" + bytes(20)) + packet(9, bytes(30)), "not OpenPGP as Sealift writes it"),
        (packet(1, b"\x03" + bytes(20)) * 9, "not OpenPGP as Sealift writes it"),
        (b"%PDF", "not OpenPGP as Sealift writes it"),
    ],
)
def test_what_is_no_message_is_refused_in_words(data: bytes, text: str) -> None:
    with pytest.raises(MalformedHeader, match=text):
        read_message(io.BytesIO(data).read)


def test_every_error_of_this_format_is_one_of_the_product() -> None:
    with pytest.raises(EncryptionError):
        read_message(io.BytesIO(b"\x85").read)
