from __future__ import annotations

import datetime as dt
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encryption import canonical
from encryption.errors import InvalidValue


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0


TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"\\'), max_size=20)
VALUES = st.recursive(
    st.none() | TEXT | st.integers(0, canonical.MAX_INTEGER),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=3,
).filter(lambda value: depth(value) < 5)


def parse(text: bytes) -> object:
    return canonical.parse(text, max_bytes=1000)


@given(st.dictionaries(TEXT, VALUES, max_size=3))
def test_what_is_written_is_read_back_and_written_the_same(document: dict[str, object]) -> None:
    text = canonical.write(document)

    value = canonical.parse(text, max_bytes=100_000)

    assert value == document
    assert canonical.write(value) == text


@given(st.binary(max_size=60))
def test_any_bytes_are_read_canonically_or_refused(data: bytes) -> None:
    try:
        value = parse(data)
    except InvalidValue:
        return
    assert canonical.write(value) == data  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"{}}", b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1.0}', b'{"a":1e2}', b'{"a":01}', b'{"a":-0}',
        b"{}\n", b"\xef\xbb\xbf{}", b'{"a":"\\u0061"}', b'{"a":"\x7f"}', b'{"a":"\xc3\xa9"}', b'{"a":NaN}',
        b"nul", b"[1,]", b'"a',
    ],
)  # fmt: skip
def test_a_text_in_another_form_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidValue):
        parse(text)


def test_a_text_above_its_limit_is_refused_by_its_size() -> None:
    with pytest.raises(InvalidValue, match="1,001 bytes, more than the 1,000"):
        parse(b"[" + b" " * 999 + b"]")


def test_a_foreign_byte_is_named_with_its_place() -> None:
    with pytest.raises(InvalidValue, match="byte 5 is 0x0a"):
        parse(b'{"a":\n1}')


def test_nesting_is_refused_before_it_is_parsed() -> None:
    deep = b"[" * 4_000_000
    began = time.process_time()

    with pytest.raises(InvalidValue, match="nested more than 5 deep"):
        canonical.parse(deep, max_bytes=len(deep))

    assert time.process_time() - began < 2


def test_brackets_inside_strings_do_not_count_as_nesting() -> None:
    assert parse(b'{"a":"[[[[[[[[[["}') == {"a": "[[[[[[[[[["}


def test_five_levels_are_read() -> None:
    assert parse(b"[[[[[1]]]]]") == [[[[[1]]]]]


def test_a_number_of_many_digits_costs_nothing() -> None:
    digits = b"9" * 30_000_000
    began = time.process_time()

    with pytest.raises(InvalidValue):
        canonical.parse(digits, max_bytes=len(digits))

    assert time.process_time() - began < 2


def test_members_must_be_exactly_the_expected_ones() -> None:
    wanted = frozenset({"a", "b"})

    assert canonical.members({"a": 1, "b": 2}, wanted, "it") == {"a": 1, "b": 2}
    with pytest.raises(InvalidValue, match="it is not an object"):
        canonical.members([], wanted, "it")
    with pytest.raises(InvalidValue, match="it has the unknown member 'c'"):
        canonical.members({"a": 1, "b": 2, "c": 3}, wanted, "it")
    with pytest.raises(InvalidValue, match="it lacks the member 'b'"):
        canonical.members({"a": 1}, wanted, "it")


def test_an_array_has_a_smallest_and_a_largest_length() -> None:
    assert canonical.items([1], 1, 1, "it") == [1]
    for value, text in (([], "has 0 items"), ([1, 2], "has 2 items"), ({}, "not an array")):
        with pytest.raises(InvalidValue, match=text):
            canonical.items(value, 1, 1, "it")


@pytest.mark.parametrize("value", [-1, 2**53, True, 1.0, "1", None])
def test_only_whole_numbers_from_0_to_2_to_53_are_integers(value: object) -> None:
    assert canonical.integer(2**53 - 1, "it") == 2**53 - 1
    with pytest.raises(InvalidValue, match="it must be a whole number"):
        canonical.integer(value, "it")


@pytest.mark.parametrize("value", [True, 2, "1", 1.0, None])
def test_a_constant_is_compared_with_its_type(value: object) -> None:
    canonical.constant(1, 1, "version")
    with pytest.raises(InvalidValue, match="version must be 1"):
        canonical.constant(value, 1, "version")


@pytest.mark.parametrize("name", ["a.csv", "ACC 2026-11-21 (1).csv", "a", "x" * 200, "a;b'c&d$e`f"])
def test_a_name_may_hold_what_every_system_can_store(name: str) -> None:
    assert canonical.text(name, canonical.NAME, "name") == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".a", "a.", " a", "a ", "a/b", "a\\b", "../a", "a\0b", "a\nb", "a:b", 'a"b', "a*b", "ä.csv",
     "x" * 201, "a.part", "a.PART",
     "a\n", 7],
)  # fmt: skip
def test_a_name_that_could_leave_its_folder_or_cannot_be_stored_is_refused(name: object) -> None:
    with pytest.raises(InvalidValue, match="name cannot be"):
        canonical.text(name, canonical.NAME, "name")


@pytest.mark.parametrize(
    "rule", [canonical.TOKEN, canonical.BATCH, canonical.KID, canonical.HASH, canonical.THUMBPRINT]
)
def test_no_rule_lets_a_line_end_pass(rule: re.Pattern[str]) -> None:
    sound = {canonical.HASH: "0" * 64, canonical.THUMBPRINT: "A" * 43}.get(rule, "abc")

    assert canonical.text(sound, rule, "it") == sound
    with pytest.raises(InvalidValue):
        canonical.text(sound + "\n", rule, "it")


@given(st.binary(min_size=3, max_size=9))
def test_base64_is_read_back(data: bytes) -> None:
    assert canonical.base64_bytes(canonical.write_base64(data), 3, 9, "it") == data


@pytest.mark.parametrize(
    "value", ["", "AA==", "A" * 40, "AAA", "AAA*", "AAAAAB==", "AAAA\n", "AAAA AAAA", "\xe4AAA", None, 4]
)
def test_base64_that_is_not_canonical_or_has_another_length_is_refused(value: object) -> None:
    with pytest.raises(InvalidValue, match="it is not canonical base64 of 3 to 9 bytes"):
        canonical.base64_bytes(value, 3, 9, "it")


@given(st.datetimes(timezones=st.just(dt.UTC)))
def test_times_are_read_back_to_the_second(moment: dt.datetime) -> None:
    moment = canonical.whole_seconds(moment, "it")

    assert canonical.read_time(canonical.write_time(moment), "it") == moment


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-22",
        "2026-11-22T02:00:00",
        "2026-11-22T02:00:00+00:00",
        "2026-02-30T00:00:00Z",
        "٢٠٢٦-11-22T02:00:00Z",
        5,
    ],
)
def test_a_time_in_another_form_is_refused(value: object) -> None:
    with pytest.raises(InvalidValue):
        canonical.read_time(value, "it")


def test_a_moment_without_a_zone_is_refused_and_another_zone_becomes_utc() -> None:
    zone = dt.timezone(dt.timedelta(hours=1))

    assert canonical.write_time(dt.datetime(2026, 11, 22, 3, tzinfo=zone)) == "2026-11-22T02:00:00Z"
    with pytest.raises(InvalidValue, match="it has no time zone"):
        canonical.whole_seconds(dt.datetime(2026, 11, 22), "it")  # noqa: DTZ001  # that is the point
