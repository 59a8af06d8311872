"""Hostile files cost neither memory nor time, and only ever raise our own errors."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from encryption_support import rsa_key, sealed
from hypothesis import example, given, settings
from hypothesis import strategies as st

from encryption import CannotOpen, EncryptionError, MalformedHeader, open_cms, open_sealed, read_header
from encryption.header import parse_header
from encryption.wrapping import WrappedKey

SOUND = sealed(b"hello")[0]
HEADER = json.loads(SOUND[12:-77])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


def native(document: Any) -> bytes:
    encoded = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return b"SEALIFT\x01" + len(encoded).to_bytes(4, "big") + encoded


@given(st.binary(max_size=300))
@example(b"")
@example(SOUND[:12] + b"\xff" * 931)
@settings(max_examples=300)
def test_any_bytes_after_the_magic_raise_only_our_errors(data: bytes) -> None:
    for prefix in (b"", b"SEALIFT\x01", SOUND[:12]):
        with pytest.raises(MalformedHeader):
            open_sealed([prefix + data], rsa_key())


@given(st.data())
@settings(max_examples=300)
def test_any_json_as_header_raises_only_our_errors(drawn: st.DataObject) -> None:
    document = dict(HEADER)
    member = drawn.draw(st.sampled_from(sorted(document)))
    document[member] = drawn.draw(JSON)

    try:
        header = read_header([native(document)])
    except MalformedHeader:
        return
    assert header.to_bytes() == native(document)


@given(st.data())
@settings(max_examples=300)
def test_any_json_as_recipient_raises_only_our_errors(drawn: st.DataObject) -> None:
    recipient = dict(HEADER["recipients"][0])
    recipient[drawn.draw(st.sampled_from(sorted(recipient)))] = drawn.draw(JSON)

    try:
        WrappedKey.from_json(recipient, "recipients[0]")
    except EncryptionError as error:
        assert "recipients[0]" in str(error)  # noqa: PT017  # most draws are refused, some are not


@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=300)
def test_a_damaged_file_never_opens_to_something_else(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SOUND)
    for place, value in changes:
        data[place] = value

    try:
        opened = b"".join(open_sealed([bytes(data)], rsa_key()))
    except (MalformedHeader, CannotOpen):
        return
    assert bytes(data) == SOUND
    assert opened == b"hello"


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=300)
def test_a_damaged_cms_file_never_opens_to_something_else(changes: list[tuple[int, int]]) -> None:
    data = bytearray(CMS)
    for place, value in changes:
        data[place % len(data)] = value

    try:
        opened = b"".join(open_cms([bytes(data)], rsa_key()))
    except (MalformedHeader, CannotOpen):
        return
    assert opened == b"hello"


CMS = sealed(b"hello", "cms")[0]

HOSTILE: dict[str, Callable[[], bytes]] = {
    "a header of 4 GiB": lambda: b"SEALIFT\x01\xff\xff\xff\xff" + bytes(1000),
    "as many recipients as fit": lambda: native(HEADER | {"recipients": [{}] * 20_000}),
    "nested arrays": lambda: native(HEADER | {"name": 0}).replace(b'"name":0', b'"name":' + b"[" * 60_000),
    "a number of 60,000 digits": lambda: native(HEADER | {"plaintext_bytes": 0}).replace(b":0,", b":" + b"9" * 60_000 + b","),
    "a size of 2^1000": lambda: native(HEADER | {"plaintext_bytes": 2**1000}),
    "60,000 members": lambda: native({str(number): 0 for number in range(6_000)}),
    "a wrapped key of 60,000 characters": lambda: native(
        HEADER | {"recipients": [HEADER["recipients"][0] | {"wrapped_key": "A" * 60_000}]}
    ),
    "a kid of 60,000 characters": lambda: native(HEADER | {"recipients": [HEADER["recipients"][0] | {"kid": "k" * 60_000}]}),
    "only quotes": lambda: b'SEALIFT\x01\x00\x01\x00\x00' + b'"' * 65_536,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused_at_once_and_cheaply(name: str) -> None:
    data = HOSTILE[name]()
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(MalformedHeader):
            open_sealed([data], rsa_key())
        seconds = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert seconds < 0.5
    assert peak < 12_000_000


def test_a_million_recipients_are_refused_by_their_size_alone() -> None:
    encoded = b'{"recipients":[' + b"{}," * 1_000_000 + b"{}]}"
    data = b"SEALIFT\x01" + len(encoded).to_bytes(4, "big") + encoded
    began = time.process_time()

    with pytest.raises(MalformedHeader, match="65,536 are allowed"):
        open_sealed([data], rsa_key())

    assert time.process_time() - began < 0.1


def test_a_header_is_parsed_whole_or_not_at_all() -> None:
    with pytest.raises(MalformedHeader, match="the header is malformed: it lacks the member 'batch'"):
        parse_header(b"{}")
    with pytest.raises(MalformedHeader, match="65,537 bytes"):
        parse_header(b" " * 65_537)
