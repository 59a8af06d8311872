from __future__ import annotations

import base64
import gc
import hashlib
import itertools
import json
import os
import threading
import tracemalloc
from collections.abc import Iterator

import pytest
from cryptography.cobblestone import Cobblestone256Encryptor
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from encryption_support import (
    NOW,
    file_info,
    make_certificate,
    open_openpgp,
    receiver,
    recipient,
    rsa_key,
    sealed,
    start,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from encryption import (
    EXTENSIONS,
    FORMATS,
    CannotOpen,
    FileTooLarge,
    Header,
    InvalidValue,
    MalformedHeader,
    Recipient,
    SealedFile,
    SizeMismatch,
    open_cms,
    open_detached,
    open_sealed,
    open_smime,
    read_header,
    seal,
)
from encryption.header import context
from encryption.sealing import PIECE_BYTES
from encryption.wrapping import wrap_for_all

MIB = 1024 * 1024
SIZES = (0, 1, 16383, 16384, 16385, 32768, MIB - 1, MIB, MIB + 1, 4 * MIB, 4 * MIB + 7)


def open_checked_smime(data: bytes, result: SealedFile, key: RSAPrivateKey) -> bytes:
    """Open as a holder of a verified manifest does: nothing is decrypted but the bytes that it names."""
    if hashlib.sha256(data).hexdigest() != result.sealed_sha256:
        raise CannotOpen
    return b"".join(open_smime([data], key, sealed_bytes=len(data), plaintext_bytes=result.plaintext_bytes))


def open_any(data: bytes, result: SealedFile, owner: str = "partner") -> bytes:
    key = rsa_key(owner)
    if result.format == "openpgp":
        return open_openpgp(data, owner)
    if result.format == "native":
        return b"".join(open_sealed([data], key))
    if result.format == "cms":
        return b"".join(open_cms([data], key))
    if result.format == "smime":
        return open_checked_smime(data, result, key)
    assert result.nonce is not None
    assert result.tag is not None
    pieces = open_detached(
        [data], key, result.recipients, nonce=result.nonce, tag=result.tag, plaintext_bytes=result.plaintext_bytes
    )
    return b"".join(pieces)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_sealed_opens_to_the_same_bytes(kind: str, size: int) -> None:
    plaintext = os.urandom(size)

    data, result = sealed(plaintext, kind, "partner", "escrow")

    assert open_any(data, result) == plaintext
    assert open_any(data, result, "escrow") == plaintext
    assert result.sealed_name == "a.csv" + EXTENSIONS[kind]
    assert (result.plaintext_bytes, result.sealed_bytes) == (size, len(data))
    assert result.sealed_sha256 == hashlib.sha256(data).hexdigest()


@given(
    plaintext=st.binary(max_size=70_000),
    cuts=st.lists(st.integers(0, 70_000), max_size=5),
    kind=st.sampled_from(FORMATS),
)
@settings(max_examples=60, deadline=None)
def test_how_the_plaintext_and_the_ciphertext_are_cut_changes_nothing(
    plaintext: bytes, cuts: list[int], kind: str
) -> None:
    def cut(data: bytes) -> list[bytes]:
        places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
        return [data[left:right] for left, right in itertools.pairwise(places)]

    sealing = seal(cut(plaintext), file=file_info(len(plaintext)), recipients=[receiver("partner", kind)], format=kind)
    data = b"".join(sealing)

    key, result = rsa_key(), sealing.result
    if kind == "native":
        opened = open_sealed(cut(data), key)
    elif kind == "cms":
        opened = open_cms(cut(data), key)
    elif kind == "openpgp":
        opened = iter([open_openpgp(data)])
    elif kind == "smime":
        opened = open_smime(cut(data), key, sealed_bytes=len(data), plaintext_bytes=len(plaintext))
    else:
        assert result.nonce
        assert result.tag
        opened = open_detached(
            cut(data), key, result.recipients, nonce=result.nonce, tag=result.tag, plaintext_bytes=len(plaintext)
        )
    assert b"".join(opened) == plaintext


def test_small_chunks_are_joined_and_large_ones_are_cut() -> None:
    plaintext = os.urandom(3 * PIECE_BYTES + 5)
    small = [plaintext[at : at + 1000] for at in range(0, len(plaintext), 1000)]

    from_small = list(seal(small, file=file_info(len(plaintext)), recipients=[recipient("partner")], format="detached"))
    from_large = list(start(plaintext, "detached"))

    assert [len(piece) for piece in from_small] == [PIECE_BYTES] * 3 + [5]
    assert [len(piece) for piece in from_large] == [PIECE_BYTES] * 3 + [5]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_attempt_has_its_own_key(kind: str) -> None:
    plaintext = bytes(100)

    first, second = sealed(plaintext, kind), sealed(plaintext, kind)

    assert first[0] != second[0]
    assert first[1].recipients[0].wrapped_key != second[1].recipients[0].wrapped_key


@pytest.mark.parametrize("kind", FORMATS)
def test_data_of_one_attempt_does_not_open_with_the_key_of_another(kind: str) -> None:
    (data, _), (other_data, other) = sealed(bytes(100), kind), sealed(bytes(100), kind)
    if kind == "native":
        data = other_data[:-172] + data[-172:]
    elif kind == "cms":
        data = other_data[:-118] + data[-118:]
    elif kind == "openpgp":
        data = other_data[: -len(data) + 400] + data[400:]

    with pytest.raises(CannotOpen):
        open_any(data, other)


def test_the_file_key_is_nowhere_in_what_a_sealing_shows() -> None:
    sealing = start(b"hello")

    assert repr(sealing) == "<Sealing a.csv native>"
    assert "wrapped_key" not in repr(sealed(b"hello")[1].recipients)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("declared", "given", "text"), [(10, 9, "has 9"), (10, 11, "has more"), (0, 1, "has more"), (1, 0, "has 0")]
)
def test_a_plaintext_that_is_not_as_long_as_declared_is_an_error(
    kind: str, declared: int, given: int, text: str
) -> None:
    sealing = seal([bytes(given)], file=file_info(declared), recipients=[receiver("partner", kind)], format=kind)

    with pytest.raises(SizeMismatch, match=text) as caught:
        list(sealing)

    assert caught.value.status == 409
    with pytest.raises(AssertionError):
        _ = sealing.result


def test_an_endless_source_is_left_as_soon_as_it_is_too_long() -> None:
    sealing = seal(itertools.repeat(bytes(MIB)), file=file_info(5 * MIB), recipients=[recipient("partner")])

    with pytest.raises(SizeMismatch):
        for _ in sealing:
            pass


@pytest.mark.parametrize(("kind", "most"), [("native", 2**52), ("detached", 2**36 - 32), ("cms", 2**30)])
def test_a_format_refuses_more_than_it_holds(kind: str, most: int) -> None:
    seal([], file=file_info(most), recipients=[recipient("partner")], format=kind)

    if most < 2**52:
        with pytest.raises(FileTooLarge, match=f"holds {most:,}"):
            seal([], file=file_info(most + 1), recipients=[recipient("partner")], format=kind)
    else:
        with pytest.raises(InvalidValue):
            file_info(most + 1)


def test_an_unknown_format_and_no_recipients_are_refused_at_once() -> None:
    with pytest.raises(InvalidValue, match="no format 'zip'") as caught:
        seal([], file=file_info(0), recipients=[recipient("partner")], format="zip")
    assert "native, detached, cms" in caught.value.hint
    with pytest.raises(InvalidValue, match="0 recipients"):
        seal([], file=file_info(0), recipients=[])


def test_the_source_is_not_read_before_the_first_piece_is_asked_for() -> None:
    def source() -> Iterator[bytes]:
        raise AssertionError
        yield b""

    sealing = seal(source(), file=file_info(0), recipients=[recipient("partner")])

    assert sealing.sealed_name == "a.csv.sealed"
    sealing.close()


def hashing_threads() -> list[threading.Thread]:
    """Only those of sealing: services of other tests have threads of their own, which come and go."""
    return [thread for thread in threading.enumerate() if thread.name == "sealift-sha256"]


@pytest.mark.parametrize("size", [10, 5 * MIB])
def test_a_source_that_fails_leaves_no_thread_behind(size: int) -> None:
    def source() -> Iterator[bytes]:
        yield bytes(size)
        raise OSError("the storage is gone")

    with pytest.raises(OSError, match="the storage is gone"):
        list(seal(source(), file=file_info(2 * size), recipients=[recipient("partner")]))

    assert not hashing_threads()


def test_a_sealing_that_is_given_up_leaves_no_thread_behind() -> None:
    sealing = start(bytes(5 * MIB))
    next(sealing)

    sealing.close()

    assert not hashing_threads()


def test_a_sealing_that_is_forgotten_leaves_no_thread_behind() -> None:
    sealing = start(bytes(5 * MIB))
    next(sealing)
    assert hashing_threads()

    del sealing
    gc.collect()

    assert not hashing_threads()


@pytest.mark.parametrize("kind", FORMATS)
def test_memory_stays_constant_while_a_large_file_is_sealed_and_opened(kind: str) -> None:
    size = 96 * MIB
    block = bytes(MIB)
    receivers = [receiver("partner", kind)]
    sealing = seal((block for _ in range(96)), file=file_info(size), recipients=receivers, format=kind)
    tracemalloc.start()
    try:
        if kind == "native":
            opened = sum(map(len, open_sealed(sealing, rsa_key())))
        elif kind == "cms":
            opened = sum(map(len, open_cms(sealing, rsa_key())))
        else:
            opened = sum(map(len, sealing))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert size <= opened <= size + size // 1000
    assert peak < 12 * MIB


@pytest.mark.parametrize("kind", FORMATS)
def test_metadata_tells_what_is_known_before_the_first_byte_and_the_result_after_the_last(kind: str) -> None:
    sealing = start(b"hello", kind, "partner", "escrow")
    before = sealing.metadata
    with pytest.raises(InvalidValue, match="no result"):
        SealedFile.from_metadata(before)

    list(sealing)

    assert before["sealift_format"] == kind
    assert ("sealift_keys" in before) == ("sealift_nonce" in before) == (kind == "detached")
    assert SealedFile.from_metadata(sealing.metadata) == sealing.result


def test_metadata_fits_what_azure_allows() -> None:
    sealing = start(b"hello", "detached", "partner", "escrow", "third")
    list(sealing)

    metadata = sealing.metadata

    assert all(name.isidentifier() and value.isascii() for name, value in metadata.items())
    assert sum(len(name) + len(value) for name, value in metadata.items()) < 8192


def test_recipients_whose_keys_would_not_fit_beside_a_blob_are_refused_before_sealing() -> None:
    key = rsa_key("large", 4096)
    large = [Recipient("k" * 200, make_certificate(key)) for _ in range(8)]

    with pytest.raises(InvalidValue, match="8 recipients take") as caught:
        seal([], file=file_info(0), recipients=large, format="detached")

    assert "fewer recipients" in caught.value.hint
    seal([], file=file_info(0), recipients=large[:5], format="detached")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_result_is_read_back_from_its_json(kind: str) -> None:
    result = sealed(b"hello", kind)[1]

    assert SealedFile.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"format": "zip"}, "format must be one of"),
        ({"nonce": "00" * 12}, "only detached files"),
        ({"sealed_sha256": "x"}, "sealed_sha256"),
        ({"more": 1}, "unknown member 'more'"),
        ({"recipients": []}, "recipients has 0 items"),
    ],
)
def test_a_result_that_was_changed_is_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidValue, match=text):
        SealedFile.from_json(sealed(b"hello")[1].to_json() | changes)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_result_does_not_tell_the_plaintext_s_hash(kind: str) -> None:
    sealing = start(b"yes", kind)
    list(sealing)

    told = json.dumps([sealing.metadata, sealing.result.to_json()]) + repr(sealing.result)
    digest = hashlib.sha256(b"yes").digest()
    assert digest.hex() not in told.lower()
    assert base64.b64encode(digest).decode() not in told


@pytest.mark.parametrize("metadata", [{}, {"sealift_result": "{"}, {"sealift_result": "[]"}])
def test_metadata_without_a_result_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(InvalidValue):
        SealedFile.from_metadata(metadata)


def test_a_detached_result_names_its_key_file() -> None:
    result = sealed(b"hello", "detached")[1]

    assert result.key_name == "a.csv.key"
    assert result.key_file == result.recipients[0].wrapped_key


def test_a_header_is_read_without_any_key() -> None:
    data, result = sealed(b"hello", "native", "partner", "escrow")

    header = read_header([data[:5], data[5:700], data[700:]])

    assert header.file == file_info(5)
    assert header.file.created == NOW
    assert header.recipients == result.recipients
    assert data.startswith(header.to_bytes())


def test_a_header_can_be_read_from_the_first_bytes_alone() -> None:
    data, _ = sealed(os.urandom(MIB))

    assert read_header(iter([data[:2000]])).file.plaintext_bytes == MIB


@pytest.mark.parametrize("value", [b"", b"SEALIF", b"SEALIFT\x01", b"GIF89a" + bytes(20)])
def test_what_is_not_a_native_file_is_said_to_be_none(value: bytes) -> None:
    with pytest.raises(MalformedHeader, match="does not begin with SEALIFT"):
        open_sealed([value], rsa_key())


def test_a_newer_version_is_named() -> None:
    with pytest.raises(MalformedHeader, match="version 9") as caught:
        open_sealed([b"SEALIFT\x09" + bytes(20)], rsa_key())

    assert "update" in caught.value.hint


@pytest.mark.parametrize("length", [0, 1, 65_537, 2**32 - 1])
def test_a_header_length_outside_the_limits_is_refused_before_it_is_read(length: int) -> None:
    def source() -> Iterator[bytes]:
        yield b"SEALIFT\x01" + length.to_bytes(4, "big")
        raise AssertionError("more was read")

    with pytest.raises(MalformedHeader, match=f"claims {length:,} bytes"):
        open_sealed(source(), rsa_key())


@pytest.mark.parametrize("place", range(12))
def test_a_bit_flipped_in_the_prefix_is_refused(place: int) -> None:
    data, _ = sealed(b"hello")

    for bit in range(8):
        with pytest.raises((MalformedHeader, CannotOpen)):
            list(open_sealed([flip(data, place, bit)], rsa_key()))


def test_a_bit_flipped_in_any_byte_of_the_header_is_refused_and_nothing_comes_out() -> None:
    data, _ = sealed(b"hello")
    for place in range(12, len(data) - 77):
        opened: list[bytes] = []
        with pytest.raises((MalformedHeader, CannotOpen)):
            opened.extend(open_sealed([flip(data, place, place % 8)], rsa_key()))
        assert opened == []


def test_a_bit_flipped_in_any_byte_of_a_small_body_is_refused_and_nothing_comes_out() -> None:
    data, _ = sealed(b"hello")
    for place in range(len(data) - 77, len(data)):
        opened: list[bytes] = []
        with pytest.raises(CannotOpen):
            opened.extend(open_sealed([flip(data, place, place % 8)], rsa_key()))
        assert opened == []


@given(
    kind=st.sampled_from(FORMATS),
    size=st.sampled_from([1, 16384, 40_000]),
    place=st.integers(0, 2**20),
    bit=st.integers(0, 7),
)
@settings(max_examples=80, deadline=None)
def test_a_flipped_bit_never_gives_another_plaintext(kind: str, size: int, place: int, bit: int) -> None:
    data, result = sealed(bytes(size), kind)
    place %= len(data)

    try:
        opened = open_any(flip(data, place, bit), result)
    except (MalformedHeader, CannotOpen):
        return
    # Only in cms: issuer and serial number of a recipient are a label that nothing depends on.
    assert kind == "cms"
    assert place < 150
    assert opened == bytes(size)


@given(cut=st.integers(1, 49_000), kind=st.sampled_from(FORMATS))
@settings(max_examples=60, deadline=None)
def test_a_file_cut_anywhere_is_refused(cut: int, kind: str) -> None:
    data, result = sealed(bytes(48_000), kind)

    with pytest.raises((MalformedHeader, CannotOpen)):
        open_any(data[: -min(cut, len(data))], result)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [0, 5, 16384])
def test_bytes_after_the_end_are_refused(kind: str, size: int) -> None:
    data, result = sealed(bytes(size), kind)

    with pytest.raises(CannotOpen):
        open_any(data + b"\0", result)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_wrong_key_and_a_changed_file_give_the_same_error(kind: str) -> None:
    data, result = sealed(b"hello", kind)

    with pytest.raises(CannotOpen) as wrong_key:
        open_any(data, result, "stranger")
    with pytest.raises(CannotOpen) as changed:
        open_any(flip(data, len(data) - 3, 0), result)

    assert str(wrong_key.value) == str(changed.value)
    assert wrong_key.value.hint == changed.value.hint
    assert wrong_key.value.__cause__ is None
    assert wrong_key.value.__suppress_context__ or wrong_key.value.__context__ is None


def test_good_chunks_before_a_bad_one_are_released_and_the_bad_one_is_not() -> None:
    plaintext = os.urandom(40_000)
    data, _ = sealed(plaintext)
    changed = flip(data, len(data) - 1, 0)
    opened: list[bytes] = []

    with pytest.raises(CannotOpen):
        opened.extend(open_sealed([changed[:20_000], changed[20_000:]], rsa_key()))

    assert b"".join(opened) == plaintext[:32768]


@pytest.mark.parametrize(("declared", "real"), [(20, 21), (20, 40_000), (40_000, 20), (2**52, 0), (0, 16384)])
def test_a_header_that_lies_about_the_size_is_found_out(declared: int, real: int) -> None:
    file_key = os.urandom(32)
    head = Header(file=file_info(declared), recipients=wrap_for_all(file_key, [recipient("partner")])).to_bytes()
    body = Cobblestone256Encryptor(file_key, context(head))
    data = head + body.update(bytes(real)) + body.finalize()
    opened: list[bytes] = []

    with pytest.raises(CannotOpen):
        opened.extend(open_sealed([data], rsa_key()))

    assert sum(map(len, opened)) <= declared


@pytest.mark.slow
def test_a_file_of_more_than_4_gib_seals_and_opens_in_constant_memory() -> None:
    size = 4 * 1024 * MIB + 12_345
    block = bytes(MIB)

    def zeros() -> Iterator[bytes]:
        for _ in range(size // MIB):
            yield block
        yield bytes(size % MIB)

    sealing = seal(zeros(), file=file_info(size), recipients=[recipient("partner")])
    opened = 0
    for piece in open_sealed(sealing, rsa_key()):
        assert not any(piece[:: 64 * 1024])
        opened += len(piece)

    assert opened == size
    head = Header(file=sealing.file, recipients=sealing.recipients).to_bytes()
    assert sealing.result.sealed_bytes == len(head) + 56 + size + 16 * (size // 16384 + 1)


def flip(data: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    return bytes(changed)
