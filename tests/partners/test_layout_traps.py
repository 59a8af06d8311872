"""Each trap of partners' files: what is refused, with its words, and what is written exactly."""

# ruff: noqa: E501, RUF001 - a layout reads best on one line; look-alike letters are on purpose

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from layout_support import FACTS, columns_of, layout_of, shape, staged, write

from partners.naming import BatchFacts, name_file
from partners.refusals import EmptyBatch, FileRefused


def one(form: str, value: str | None, column: str = "a", layout: str = "delimited: ';', quote: never") -> str:
    """Write one row of one field; return the file."""
    text = f"{{{layout}, line_end: lf, records: [{{record: R, fields: [{{column: {column.split(':', maxsplit=1)[0]}{form and ', '}{form}}}]}}]}}"
    (data,) = shape(text, columns_of(column), [[value]])
    return data.decode(layout_of(text).encoding)[:-1]


def refused(form: str, value: str | None, column: str = "a", layout: str = "delimited: ';', quote: never") -> str:
    """Return why a value is refused; its message must not hold the value."""
    with pytest.raises(FileRefused) as caught:
        one(form, value, column, layout)
    message = str(caught.value)
    assert not value or len(value) < 3 or value not in message
    assert caught.value.hint
    assert message.startswith("1 value does not fit the partner's layout:\nrow 1, record R, field 1 '")
    return message.rpartition("': ")[2]


@pytest.mark.parametrize(
    ("form", "value", "column", "reason"),
    [
        ("", None, "a", "is missing"),
        ("", "", "a", "is missing"),
        ("max: 3", "ABCD", "a", "is longer than 3"),
        ("length: 3", "ABCD", "a", "is longer than 3"),
        ("", "A;B;C", "a", "holds the delimiter, and this layout quotes nothing"),
        ("", 'A"BC', "a", "holds a quote, and this layout quotes nothing"),
        ("", "A\nB C", "a", "holds a control character"),
        ("", "A\tB C", "a", "holds a control character"),
        ("", "A\x85B C", "a", "holds a control character"),
        ("", "A\u2028B C", "a", "holds a control character"),
        ("", "A\x0cB C", "a", "holds a control character"),
        ("match: '[0-9]{8}'", "1234567", "a", "does not match the pattern"),
        ("match: '[0-9]{2}'", "１２", "a", "does not match the pattern"),
        ("values: [C, D]", "XYZ", "a", "is not one of the allowed values"),
        ("map: {C: '1'}", "XYZ", "a", "has no translation in map"),
        ("", "NaN", "n:2", "is not a number"),
        ("", "Infinity", "n:2", "is not a number"),
        ("", "1e3", "n:2", "is not a number"),
        ("", "+5.00", "n:2", "is not a number"),
        ("", "1.005", "n:2", "has more than 2 decimals"),
        ("", "1.5000000000001", "n:2", "has more than 12 decimals"),
        ("", "1.5", "n:integer", "has decimals, and whole units are wanted"),
        ("sign: none", "-5.25", "n:2", "is negative"),
        ("length: 4", "12345", "n:integer", "is longer than 4"),
        ("length: 4", "-1234", "n:integer", "is longer than 4"),
        ("sign: leading, length: 4", "1234", "n:integer", "is longer than 4"),
        ("", "2026-02-30", "d:date", "is not a date"),
        ("", "infinity", "d:date", "is not a date"),
        ("", "10000-01-01", "d:date", "is not a date"),
        ("", "0044-03-15 BC", "d:date", "is not a date"),
        ("", "2026-11-27T10:00:00", "t:timestamp", "is a time without a zone"),
        ("", "-infinity", "t:timestamp", "is not a date and time"),
        ("", "2026-11-27T25:00:00+00:00", "t:timestamp", "is not a date and time"),
        (
            "format: '%Y%m%d', zone: Asia/Tokyo",
            "9999-12-31T23:00:00+00:00",
            "t:timestamp",
            "is outside of the years 1 to 9999 in its time zone",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_words(form: str, value: str | None, column: str, reason: str) -> None:
    assert refused(form, value, column) == reason


@pytest.mark.parametrize(
    ("form", "value", "column", "written"),
    [
        ("", "0042", "a", "0042"),
        ("", "tail  ", "a", "tail  "),
        ("length: 6", "AB", "a", "AB    "),
        ("length: 6, align: right, fill: '0'", "42", "a", "000042"),
        ("max: 3, truncate: true", "ABCD", "a", "ABC"),
        ("map: {D: '5', C: '7'}", "D", "a", "5"),
        ("map: {'': none}", None, "a", "none"),
        ("", "0.5", "n:2", "0.50"),
        ("", "-0.00", "n:2", "0.00"),
        ("", "007", "n:integer", "7"),
        ("length: 4", "-5", "n:integer", "-005"),
        ("length: 4, fill: ' '", "-5", "n:integer", "  -5"),
        ("length: 4, align: left", "5", "n:integer", "5   "),
        ("implied: true, length: 12", "212.50", "n:2", "000000021250"),
        ("implied: true", "0.05", "n:2", "5"),
        ("sign: absolute", "-5.00", "n:2", "5.00"),
        ("sign: leading, length: 5", "5", "n:integer", "+0005"),
        ("sign: leading, length: 5", "-5", "n:integer", "-0005"),
        ("sign: leading, plain_positive: true", "5", "n:integer", "5"),
        ("sign: trailing, length: 5", "-5", "n:integer", "0005-"),
        ("sign: trailing, length: 5", "5", "n:integer", "0005+"),
        ("sign: overpunch, implied: true, length: 6", "1.20", "n:2", "00012{"),
        ("sign: overpunch, implied: true, length: 6", "-1.23", "n:2", "00012L"),
        ("sign: overpunch, implied: true, length: 6", "0.00", "n:2", "00000{"),
        ("sign: overpunch, implied: true, length: 6, plain_positive: true", "1.23", "n:2", "000123"),
        ("format: '%d.%m.%Y'", "0887-02-03", "d:date", "03.02.0887"),
        ("format: '%y%j'", "2024-12-31", "d:date", "24366"),
        ("", "2026-11-27T10:00:00.5+00:00", "t:timestamp", "2026-11-27T10:00:00.5Z"),
        ("", "2026-11-27T12:00:00+02:00", "t:timestamp", "2026-11-27T10:00:00Z"),
        ("format: '%H:%M %p %I'", "2026-11-27T22:05:00+00:00", "t:timestamp", "00:05 AM 12"),
        ("format: '%H%M%z', zone: Europe/Athens", "2026-10-25T00:30:00+00:00", "t:timestamp", "0330+0300"),
        ("format: '%H%M%z', zone: Europe/Athens", "2026-10-25T01:30:00+00:00", "t:timestamp", "0330+0200"),
        ("format: '%Y%m%d%H%M%S', zone: Europe/Athens", "1890-05-05T00:00:00+00:00", "t:timestamp", "18900505013452"),
        ("optional: true", None, "a", ""),
        ("optional: true, length: 9", None, "a", ""),
        ("optional: true, length: 9", None, "n:integer", ""),
        ("digits", None, "a", ""),
    ],
)
def test_a_value_that_fits_is_written_exactly(form: str, value: str | None, column: str, written: str) -> None:
    if form == "digits":
        form = "optional: true"

    assert one(form, value, column) == written


@pytest.mark.parametrize(
    ("layout", "value", "written"),
    [
        ("delimited: '%%', quote: never", "50%a", "50%a"),
        ("delimited: ',', quote: minimal", "a,b", '"a,b"'),
        ("delimited: ',', quote: minimal", 'say "x"', '"say ""x"""'),
        ("delimited: ',', quote: always", "a", '"a"'),
        ("delimited: ',', quote: minimal, quote_mark: \"'\"", "it's", "'it''s'"),
        ("delimited: ',', quote: minimal, escape: \"\\\\\"", 'a"\\', '"a\\"\\\\"'),
        ("delimited: ';', encoding: latin-1", "Zoë", "Zoë"),
        ("delimited: ';', encoding: ascii, transliterate: true", "Zoë ½ ß Łódź Ærø", "Zoe 1/2 ss Lodz AEro"),
        ("delimited: ';', encoding: latin-1, transliterate: true", "Zoë Łódź", "Zoë Lódz"),
        ("delimited: ';', encoding: cp1252", "€“x”", "€“x”"),
        ("delimited: ';', encoding: utf-8", "e\u0301", "é"),
        ("delimited: ';', encoding: cp037", "AB{}", "AB{}"),
    ],
)
def test_layouts_write_texts_as_they_say(layout: str, value: str, written: str) -> None:
    assert one("", value, layout=layout) == written


@pytest.mark.parametrize(
    ("layout", "value", "reason"),
    [
        ("delimited: '%%', quote: never", "a%", "holds the delimiter, and this layout quotes nothing"),
        ("delimited: '%%', quote: never", "a%%b", "holds the delimiter, and this layout quotes nothing"),
        ("delimited: ';', quote: minimal, 'null': 'n.a.'", "n.a.", "equals the mark for NULL"),
        ("delimited: ';', encoding: ascii", "Zoë", "holds a letter that ascii lacks"),
        ("delimited: ';', encoding: cp1252", "Łódź", "holds a letter that cp1252 lacks"),
        (
            "delimited: ';', encoding: ascii, transliterate: true",
            "漢字x",
            "holds a letter that ascii lacks and that has no plain form",
        ),
    ],
)
def test_layouts_refuse_what_they_cannot_write(layout: str, value: str, reason: str) -> None:
    assert refused("", value, layout=layout) == reason


def test_a_length_counts_characters_or_bytes() -> None:
    layout = "delimited: ';', encoding: utf-8"

    assert one("max: 3", "Zoë", layout=layout) == "Zoë"
    assert one("length: 4", "e\u0301", layout=layout) == "é   "
    assert refused("max: 3", "Zoë", layout=layout + ", lengths: bytes") == "is longer than 3"
    assert one("length: 5", "Zoë", layout=layout + ", lengths: bytes") == "Zoë "


def test_null_and_an_empty_text_stay_apart_until_the_field_decides() -> None:
    layout = "{delimited: ';', quote: always, line_end: lf, 'null': 'NULL', records: [{record: R, fields: [{column: a, optional: true}]}]}"

    assert shape(layout, columns_of("a"), [[None], [""]]) == [b'NULL\n""\n']


def test_a_field_is_blank_when_another_says_so_and_required_otherwise() -> None:
    layout = (
        "{delimited: ',', line_end: lf, quote: never, records: [{record: R, fields: ["
        "{column: asap}, {column: d, format: '%Y%m%d', blank_when: {asap: 'Y'}}, {column: r, required_when: {asap: ['Y']}}]}]}"
    )
    columns = columns_of("asap", "d:date", "r")

    assert shape(layout, columns, [["Y", "2026-11-27", "x"], ["N", "2026-11-27", None]]) == [b"Y,,x\nN,20261127,\n"]
    with pytest.raises(FileRefused) as caught:
        shape(layout, columns, [["N", None, None], ["Y", None, None]])
    assert str(caught.value).splitlines()[1:] == [
        "row 1, record R, field 2 'd': is missing",
        "row 2, record R, field 3 'r': is missing",
    ]


def test_all_refusals_are_reported_at_once_twenty_in_words_the_rest_as_a_number() -> None:
    with pytest.raises(FileRefused) as caught:
        shape(
            "{delimited: ',', records: [{record: R, fields: [{column: a}, {column: n}]}]}",
            columns_of("a", "n:integer"),
            [["secret\n", "secret"]] * 15,
        )

    lines = str(caught.value).splitlines()
    assert lines[0] == "30 values do not fit the partner's layout:"
    assert len(lines) == 22
    assert lines[-1] == "and 10 more"
    assert "secret" not in str(caught.value)


def test_several_kinds_of_rows_have_their_records() -> None:
    layout = (
        "{delimited: ',', line_end: lf, records: [{record: E, fields: [{constant: E}, {column: a}]},"
        "{record: A, when: {kind: X}, fields: [{constant: A}, {number: line}]},"
        "{record: T, at: end, fields: [{constant: T}, {count: rows}, {count: lines}, {count: rows, where: {kind: X}}]}]}"
    )

    (data,) = shape(layout, columns_of("a", "kind"), [["1", "X"], ["2", "Y"], ["3", "X"]])

    assert data == b"E,1\nA,2\nE,2\nE,3\nA,5\nT,3,6,2\n"


def test_a_row_for_which_no_record_is_written_is_refused() -> None:
    layout = "{delimited: ',', records: [{record: A, when: {kind: X}, fields: [{column: a}]}]}"

    with pytest.raises(FileRefused, match="row 1, no record is written for this kind of row"):
        shape(layout, columns_of("a", "kind"), [["1", "Y"]])


def test_a_hash_total_keeps_the_last_digits_and_another_total_that_is_too_long_is_refused() -> None:
    layout = (
        "{{delimited: ',', line_end: lf, records: [{{record: R, fields: [{{column: a}}]}},"
        "{{record: T, at: end, fields: [{{name: hash, sum: a, digits: [1, 8], length: 10{0}}}]}}]}}"
    )
    rows = [["999999991"]] * 200

    assert shape(layout.format(", modulo: 10000000000"), columns_of("a"), rows)[0].endswith(b"\n9999999800\n")
    with pytest.raises(FileRefused, match="record T, field 1 'hash': is longer than 10"):
        shape(layout.format(""), columns_of("a"), rows)
    with pytest.raises(
        FileRefused, match="row 1, record T, field 1 'hash': the value of a has no digits at positions 1 to 8"
    ):
        shape(layout.format(""), columns_of("a"), [["12345"]])


@pytest.mark.parametrize(
    ("total", "words"),
    [("{sum: m}", "record T, field 2 'm': the value of m"), ("{sum: m, where: {kind: Y}}", "column m: the value of this column")],
)  # fmt: skip
def test_a_total_over_a_value_that_is_no_number_is_refused_though_no_record_of_the_row_holds_it(
    total: str, words: str
) -> None:
    layout = (
        "{delimited: ',', line_end: lf, records: [{record: A, when: {kind: X}, fields: [{column: m}]}, {record: B, when: {kind: Y}, fields: [{constant: B}]},"
        f"{{record: T, at: end, fields: [{{constant: T}}, {total}]}}]}}"
    )

    with pytest.raises(FileRefused, match=f"row 2, {words} is not a number"):
        shape(layout, columns_of("kind", "m:2"), [["X", "1.00"], ["Y", "NaN"]])


def test_sums_are_exact_however_large() -> None:
    layout = "{delimited: ',', line_end: lf, records: [{record: R, fields: [{column: m}]}, {record: T, at: end, fields: [{sum: m}]}]}"
    large = "9" * 30 + ".99"

    (data,) = shape(layout, columns_of("m:2"), [[large]] * 3)

    assert data.splitlines()[-1] == b"2" + b"9" * 30 + b".97"


@pytest.mark.parametrize(
    ("empty", "files"),
    [("send", [b"H,0\nT,0\n"]), ("header-only", [b"H,0\n"]), ("skip", [])],
)
def test_a_batch_without_rows_follows_its_policy(empty: str, files: list[bytes]) -> None:
    layout = (
        f"{{delimited: ',', line_end: lf, empty: {empty}, records: [{{record: H, at: start, fields: [{{constant: H}}, {{count: rows}}]}},"
        "{record: R, fields: [{column: a}]}, {record: T, at: end, fields: [{constant: T}, {count: rows}]}]}"
    )

    assert shape(layout, columns_of("a"), []) == files


def test_a_batch_without_rows_fails_unless_the_layout_says_otherwise() -> None:
    with pytest.raises(EmptyBatch) as caught:
        shape("{delimited: ',', records: [{record: R, fields: [{column: a}]}]}", columns_of("a"), [])

    assert "empty: fail" in str(caught.value)


@pytest.mark.parametrize(
    ("control", "words"),
    [
        ({"ties": 2}, "order_by does not decide the order of 3 or more rows"),
        ({"repeated": {"a": 1}}, "column a must be unique, and 1 of its values occur again"),
        ({"types": {"m": "double precision"}}, "column m is a floating-point number in the table"),
        ({"rows": 3}, "the database counted 3 rows, the files hold 2"),
        ({"sums": {"m": "2.99"}}, "the database's sum of m differs from the written one"),
        ({"sums": {"m": "NaN"}}, "the database's sum of m differs from the written one"),
        ({"totals": None}, "the mart's control totals count 0 rows, the extract 2"),
        ({"totals": [{"rows": "2", "sums": {"m": "4"}}]}, "the mart's control total of m differs"),
        ({"totals": [{"rows": "2", "sums": {}}] * 2}, "the mart's control totals have 2 rows for this batch"),
    ],
)
def test_the_database_s_figures_must_be_those_of_the_files(control: dict[str, object], words: str) -> None:
    layout, columns = (
        layout_of("{delimited: ',', records: [{record: R, fields: [{column: a}, {column: m}]}]}"),
        columns_of("a", "m:2"),
    )
    lines = staged(columns, [["x", "1.00"], ["y", "2.00"]], control)

    with pytest.raises(FileRefused) as caught:
        write(layout, columns, lines, has_totals="totals" in control)

    assert words in str(caught.value)


def test_a_guid_is_the_same_each_time_and_another_for_each_file() -> None:
    layout = "{delimited: ',', rows_per_file: 1, line_end: lf, records: [{record: H, at: start, fields: [{guid: file}]}, {record: R, fields: [{column: a}]}]}"

    first = shape(layout, columns_of("a"), [["x"], ["x"]])

    assert shape(layout, columns_of("a"), [["x"], ["x"]]) == first
    assert first[0] != first[1]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("NW_{date:%Y%m%d}_{sequence:06d}.txt", "NW_20261127_000009.txt"),
        ("Clearing_VivaBank_{made:%Y%m%d%H%M%S}.txt", "Clearing_VivaBank_20261128050405.txt"),
        ("{partner}_{date}_{letter}_{part:02d}.csv", "lloyds_20261127_C_02.csv"),
    ],
)
def test_file_names_have_what_the_batch_knows(pattern: str, name: str) -> None:
    assert name_file(pattern, replace(FACTS, revision=3), 9, 2) == name


def test_the_twenty_seventh_revision_has_no_letter() -> None:
    with pytest.raises(ValueError, match="revision 27 has no letter"):
        name_file("A_{date}_{letter}.txt", replace(FACTS, revision=27), 1)


def test_everything_but_the_rows_is_fixed_when_the_batch_is_planned() -> None:
    layout = layout_of(
        "{delimited: ',', line_end: lf, empty: send, records: [{record: H, at: start, fields: [{date: business}, {date: made}, {date: made, format: '%H', zone: Asia/Tokyo}, {letter: revision}]}, {record: R, fields: [{column: a}]}]}"
    )
    facts = BatchFacts(
        batch="a.b.2026-11-27.2",
        partner="a",
        business_date=date(2026, 11, 27),
        made=datetime(2026, 11, 28, 3, tzinfo=UTC),
        time_zone="UTC",
        revision=2,
    )

    assert write(layout, columns_of("a"), staged(columns_of("a"), []), facts).files == [
        b"2026-11-27,2026-11-28T03:00:00Z,12,B\n"
    ]
