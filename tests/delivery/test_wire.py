"""Bytes of SFTP version 3: what is built reads back; what a broken or hostile server sends is an error of ours."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery import ProtocolViolation, wire
from delivery.progress import Acknowledged, merge

ANY_BYTES = st.binary(max_size=200)


def framed(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def test_a_request_is_what_the_draft_says() -> None:
    assert wire.packet(wire.stat("/a"), 7) == bytes.fromhex("0000000b 11 00000007 00000002 2f61")
    assert wire.packet(wire.rename("a", "b"), 1) == bytes.fromhex("0000000f 12 00000001 00000001 61 00000001 62")


def test_the_head_of_a_write_counts_its_data() -> None:
    head = wire.write_head(3, b"hndl", 1 << 40, 5)

    assert len(head) == wire.write_overhead(b"hndl")
    assert head + b"12345" == wire.packet(
        wire.Request(wire.WRITE, wire.blob(b"hndl") + struct.pack(">Q", 1 << 40) + wire.blob(b"12345")), 3
    )


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(1, 30))
def test_packets_are_cut_out_of_any_stream(payloads: list[bytes], step: int) -> None:
    stream, decoder, found = b"".join(map(framed, payloads)), wire.Decoder(), []

    for at in range(0, len(stream), step):
        found += decoder.feed(stream[at : at + step])

    assert found == payloads


def test_a_login_banner_where_sftp_was_expected_is_named() -> None:
    with pytest.raises(ProtocolViolation, match="where SFTP was expected") as caught:
        wire.Decoder().feed(b"Welcome to sftp.partner.example\r\n")

    assert "banner" in caught.value.hint


@given(st.sampled_from([101, 102, 103, 104, 105, 201, 0, 255]), ANY_BYTES)
def test_a_malformed_reply_is_a_protocol_violation_and_nothing_else(kind: int, rest: bytes) -> None:
    with contextlib.suppress(ProtocolViolation):
        wire.parse_reply(bytes([kind]) + rest)


@given(ANY_BYTES)
def test_a_malformed_greeting_is_a_protocol_violation_and_nothing_else(payload: bytes) -> None:
    with contextlib.suppress(ProtocolViolation):
        wire.parse_version(payload)


def test_an_older_version_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="version 2"):
        wire.parse_version(b"\x02\0\0\0\x02")


def test_the_servers_words_are_shown_as_one_printable_line() -> None:
    assert str(wire.Status(4, "bad\x1b[2J\nthing")) == "failure (bad [2J thing)"
    assert str(wire.Status(2, "No such file")) == "no such file"
    assert len(str(wire.Status(4, "x" * 9000))) < 250


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=20), st.integers(0, 80))
def test_acknowledged_and_missing_spans_make_up_the_file(writes: list[tuple[int, int]], size: int) -> None:
    acknowledged = Acknowledged()
    for start, length in writes:
        acknowledged.add(start, start + length)
    written = {at for start, length in writes for at in range(start, start + length)}

    missing = {at for start, end in acknowledged.missing(size) for at in range(start, end)}

    assert missing == set(range(size)) - written
    assert merge(acknowledged.spans) == sorted(acknowledged.spans)
    assert acknowledged.total == len(written)
