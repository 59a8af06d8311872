"""What a layout must not say: every fault that would else be found at night, with its place in the YAML file.

Faults are refused; notes are said by `./sealift partner lint` and stop nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from difflib import get_close_matches
from re import _constants as _codes  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any
from zoneinfo import ZoneInfo

from partners import samples
from partners.layout import SOURCES, Column, Layout, Record, RecordField, is_number, scale_of
from partners.naming import TIME_TOKENS, BatchFacts, tokens
from partners.reading_records import uncountable
from partners.rereading import Rereader
from partners.values import Page, Unfit, codec, column_text, count_text, date_text, static_text

Fault = tuple[tuple[str | int, ...], str]

FACTS = BatchFacts(
    batch="sample.feed.2026-11-27.1",
    partner="sample",
    business_date=date(2026, 11, 27),
    made=datetime(2026, 11, 28, 3, 4, 5, tzinfo=UTC),
    time_zone="UTC",
)
_MANY = 1000  # digits: no limit
_USUAL_ROWS = 1_000_000
_ONLY_COLUMN = ("map", "values", "match", "optional", "blank_when", "required_when", "truncate", "unique")
_ONLY_NUMBER = ("sign", "plain_positive", "scale", "implied")


def layout_faults(layout: Layout, columns: Sequence[Column], order_by: Sequence[str]) -> Iterator[Fault]:
    """Yield every fault of a layout in full, each with its place inside the layout."""
    known = {column.name: column for column in columns}
    found = [*_form_faults(layout), *_group_faults(layout, known, order_by)]
    for index, record in enumerate(layout.records):
        found += [(("records", index, *place), text) for place, text in _record_faults(record, layout, known)]
    yield from found
    if not found:
        yield from _trial_faults(layout, columns)


def format_notes(format: str) -> Iterator[str]:  # noqa: A002  # the field's word
    """Yield what a person should ask the partner about a format: which programs open it."""
    if format == "cms":
        yield (
            "cms is opened by openssl 3, Bouncy Castle for Java and our kit alone; for Windows, .NET, NSS or a transfer "
            "product with S/MIME write format: smime (docs/partners.md, The format)"
        )


def layout_notes(layout: Layout, columns: Mapping[str, Column]) -> Iterator[str]:
    """Yield what a layout leaves unchecked, for people."""
    for f, reason in uncountable(layout, columns):
        yield f"the total '{f.name}' is not counted again when the file is read back: {reason}"
    yield from _room_notes(layout, columns)


def _room_notes(layout: Layout, columns: Mapping[str, Column]) -> Iterator[str]:
    """Yield the numbers that can outgrow their field: as many rows as a file may have, each with the largest value."""
    rows = layout.rows_per_file
    for record in layout.records:
        for f in record.fields:
            room = _digits(f, columns)
            largest = min(
                (_digits(each, columns) or _MANY for each in layout.row_fields if each.column == f.sum), default=_MANY
            )
            if room is None or f.modulo:
                continue
            if f.sum and not f.digits and largest < _MANY:
                most, what = 10 ** max(room - largest, 0), "rows with the largest value"
            elif f.count in ("rows", "lines") or f.number in ("row", "line", "row_in_batch", "row_in_group"):
                most, what = 10**room - 1, "lines" if "line" in (f.count or f.number or "") else "rows"
            else:
                continue
            if most < (rows or _USUAL_ROWS):
                yield f"'{f.name}' of record {record.record} has room for {most:,} {what}; a larger file is refused"


def _digits(f: RecordField, columns: Mapping[str, Column]) -> int | None:
    """Return how many digits a number may have before its point, None without a limit."""
    limit = f.length or f.max
    if not limit or not is_number(f, columns):
        return None
    scale = scale_of(f, columns)
    taken = scale + (1 if scale and not f.implied else 0)
    return max(limit - taken - (1 if f.sign in ("leading", "trailing") else 0), 0)


def unknown_name(name: str, known: Mapping[str, object] | Sequence[str], what: str) -> str:
    """Return the words for a name that does not exist, with the nearest one that does."""
    near = get_close_matches(name, list(known), n=1)
    return (
        f"{name!r} is not a {what}; did you mean {near[0]!r}?"
        if near
        else f"{name!r} is not a {what}: {', '.join(known) or 'there are none'}"
    )


def _form_faults(layout: Layout) -> Iterator[Fault]:
    if (layout.fixed is None) == (layout.delimited is None):
        yield (), "a layout is either fixed: LENGTH or delimited: TEXT"
        return
    if layout.fixed:
        for key in ("quote", "escape"):
            if getattr(layout, key) is not None:
                yield (key,), f"{key} belongs to delimited files: a record of fixed width quotes nothing"
        if layout.null:
            yield ("null",), "null belongs to delimited files: in a fixed width a missing value is blank"
    if layout.delimited:
        if layout.line_end == "none":
            yield ("line_end",), "a delimited file needs line ends: without them nothing tells where a record ends"
        for key, text in (("delimited", layout.delimited), ("null", layout.null)):
            if not _is_encodable(text, layout):
                yield (key,), f"{text!r} does not exist in {layout.encoding}"
        if layout.quote_mark in layout.delimited:
            yield ("delimited",), "delimiter and quote are the same: nothing could tell where a field ends"
        if layout.delimited in layout.null or layout.quote_mark in layout.null:
            yield ("null",), "the mark for NULL holds the delimiter or a quote"
    if not _is_encodable(layout.end_of_file, layout):
        yield ("end_of_file",), f"this text does not exist in {layout.encoding}"
    if layout.block and not _is_encodable(layout.block.fill, layout):
        yield ("block", "fill"), f"this text does not exist in {layout.encoding}"
    if not layout.at("row"):
        yield ("records",), "a layout needs a record with at: row"


def _group_faults(layout: Layout, known: Mapping[str, Column], order_by: Sequence[str]) -> Iterator[Fault]:
    for index, name in enumerate(layout.group_by):
        if name not in known:
            yield ("group_by", index), unknown_name(name, known, "column of this feed")
    if sorted(order_by[: len(layout.group_by)]) != sorted(layout.group_by):
        yield (
            ("group_by",),
            f"order_by must begin with {', '.join(layout.group_by)}: else a group comes up more than once",
        )
    has_records = bool(layout.at("group") or layout.at("group_end"))
    if has_records and not layout.group_by:
        yield ("records",), "records with at: group or group_end need group_by: the columns that make a group"


def _record_faults(record: Record, layout: Layout, known: Mapping[str, Column]) -> Iterator[Fault]:
    if record.when is not None and record.at != "row":
        yield ("when",), "when belongs to records with at: row"
    for name in record.when or ():
        if name not in known:
            yield ("when", name), unknown_name(name, known, "column of this feed")
    if record.titles:
        if record.at != "start":
            yield ("at",), "titles stand at the start of a file"
        if not layout.titles(record):
            yield ("titles",), "there is no row record whose fields could be named"
        fields = layout.titles(record)
        if layout.fixed:
            yield from _width_faults(layout.fixed, fields)
        for index, f in enumerate(fields):
            shown = RecordField(name=f.name, constant=f.name, length=f.length if layout.fixed else None)
            yield from _static_faults(("fields", index), shown, f.name, layout, known)
        return
    if not record.fields:
        yield ("fields",), "a record needs fields"
    if layout.fixed:
        yield from _width_faults(layout.fixed, record.fields)
    for index, f in enumerate(record.fields):
        place = ("fields", index)
        for more, text in _field_faults(f, record, layout, known):
            yield (*place, *more), text


def _width_faults(fixed: int, fields: Sequence[RecordField]) -> Iterator[Fault]:
    missing = [index for index, f in enumerate(fields) if not f.length]
    for index in missing:
        yield (
            ("fields", index),
            f"field {index + 1} '{fields[index].name}' needs a length: the record is fixed: {fixed}",
        )
    total = sum(f.length or 0 for f in fields)
    if not missing and total != fixed:
        yield ("fields",), f"the lengths of the fields add up to {total}, and the record is fixed: {fixed}"


def _field_faults(f: RecordField, record: Record, layout: Layout, known: Mapping[str, Column]) -> Iterator[Fault]:
    sources = [name for name in SOURCES if getattr(f, name) is not None]
    if len(sources) != 1:
        what = f"it has {', '.join(sources)}" if sources else "it has none"
        yield (), f"a field needs exactly one of {', '.join(SOURCES)}; {what}"
        return
    unknown = [name for name in f.used_columns if name not in known]
    for name in dict.fromkeys(unknown):
        yield (), unknown_name(name, known, "column of this feed")
    if unknown:
        return
    yield from _place_faults(f, record, layout)
    yield from _key_faults(f, known)
    found = [*_number_faults(f, known), *_date_faults(f, known), *_match_faults(f)]
    yield from found
    if not found:
        yield from _text_faults(f, layout, known)


def _place_faults(f: RecordField, record: Record, layout: Layout) -> Iterator[Fault]:
    """Yield what the field cannot know where its record stands."""
    at = record.at
    if f.column and at in ("start", "end"):
        yield ("column",), f"a record at: {at} belongs to no row: a column has no value there"
    if f.column and at in ("group", "group_end") and f.column not in layout.group_by:
        yield (
            ("column",),
            f"a group's record may use the columns of group_by only: {', '.join(layout.group_by) or 'there are none'}",
        )
    if f.is_total and not f.number and at == "row":
        yield (f.source,), "a total does not belong to a row: put it into a record at: start, group, group_end or end"
    if f.number in ("row", "row_in_group", "row_in_batch") and at != "row":
        yield ("number",), f"number: {f.number} belongs to records at: row"
    if f.number in ("group", "row_in_group") and not layout.group_by:
        yield ("number",), f"number: {f.number} needs group_by"
    if f.number == "group" and at in ("start", "end"):
        yield ("number",), "number: group belongs to records of groups and rows"
    if f.count == "groups" and not layout.group_by:
        yield ("count",), "count: groups needs group_by"
    if f.count == "blocks" and not layout.block:
        yield ("count",), "count: blocks needs block: {lines: ..., fill: ...}"
    if f.over == "group" and at not in ("group", "group_end"):
        yield ("over",), "over: group belongs to records of groups"
    if f.count in ("groups", "blocks") and at in ("group", "group_end") and f.over in (None, "group"):
        yield ("count",), f"count: {f.count} spans a file: write over: file"


def _key_faults(f: RecordField, known: Mapping[str, Column]) -> Iterator[Fault]:
    """Yield the keys that do not belong to the field's source."""
    if not f.column:
        for key in _ONLY_COLUMN:
            if getattr(f, key):
                yield (key,), f"{key} belongs to a field with column"
    if not is_number(f, known):
        for key in _ONLY_NUMBER:
            if getattr(f, key) not in (None, False):
                yield (key,), f"{key} belongs to numbers: give the column type: integer or decimal"
    if f.where and not (f.sum or f.count == "rows"):
        yield ("where",), "where belongs to sum and to count: rows"
    for key in ("modulo", "digits"):
        if getattr(f, key) is not None and not f.sum:
            yield (key,), f"{key} belongs to sum"
    if f.over and not (f.sum or f.count):
        yield ("over",), "over belongs to sum and count"
    if f.length and f.max:
        yield ("max",), "a field has length or max, not both"
    if f.truncate and not (f.length or f.max):
        yield ("truncate",), "truncate needs length or max"
    if f.truncate and is_number(f, known):
        yield ("truncate",), "a number is never cut"


def _number_faults(f: RecordField, known: Mapping[str, Column]) -> Iterator[Fault]:
    if not is_number(f, known):
        return
    if f.sum and not known[f.sum].is_number and not f.digits:
        yield ("sum",), f"{f.sum} is a text: give the column type: integer or decimal, or sum its digits: [1, 8]"
    if f.digits and f.digits[0] > f.digits[1]:
        yield ("digits",), "digits are the first and the last position, from 1"
    if f.scale and (f.number or f.count or f.digits):
        yield ("scale",), "this is a whole number: it has no decimals"
    if f.implied and not scale_of(f, known):
        yield ("implied",), "implied needs decimals: write scale: 2"
    if f.fill not in (None, "0", " ", "*"):
        yield ("fill",), "a number is filled with zeros, blanks or *"
    if f.align == "left" and f.fill == "0":
        yield ("fill",), "zeros after a number make it another number"


def _date_faults(f: RecordField, known: Mapping[str, Column]) -> Iterator[Fault]:
    kind = known[f.column].type if f.column and f.map is None else ""
    is_day = f.date == "business" or kind == "date"
    if not f.date and kind not in ("date", "timestamp"):
        for key in ("format", "zone"):
            if getattr(f, key):
                yield (key,), f"{key} belongs to dates: give the column type: date or timestamp"
        return
    if f.format:
        try:
            directives = [letter for mark, letter in tokens(f.format) if mark]
        except ValueError as error:
            yield ("format",), str(error)
            return
        if is_day and (wrong := [letter for letter in directives if letter in TIME_TOKENS]):
            yield ("format",), f"%{wrong[0]} is a time of day, and this is a date"
    if f.zone:
        try:
            ZoneInfo(f.zone)
        except (KeyError, ValueError, OSError):
            yield ("zone",), f"{f.zone!r} is not a time zone; write an IANA name such as Europe/London"
        if is_day or not f.format:
            yield ("zone",), "zone needs a format with the time of day"


def _match_faults(f: RecordField) -> Iterator[Fault]:
    if not f.match:
        return
    try:
        parsed = _parser.parse(f.match)
        re.compile(f.match, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        yield ("match",), f"this is not a regular expression: {error}"
        return
    if parsed.state.groups > 1:
        yield ("match",), "write (?:...) for a group: groups that capture are not allowed"
    elif parsed.state.flags & ~re.UNICODE:
        yield ("match",), "flags such as (?i) are not allowed"
    elif _looks_around(parsed):
        yield ("match",), "look-ahead, look-behind and references are not allowed"
    elif samples.matching(f.match) is None:
        yield ("match",), "no value was found that this pattern accepts"


def _looks_around(parts: Any) -> bool:
    for code, value in parts:
        if code in (_codes.ASSERT, _codes.ASSERT_NOT, _codes.GROUPREF, _codes.GROUPREF_EXISTS):
            return True
        inner = value if isinstance(value, (list, tuple)) else ()
        if code is _codes.BRANCH:
            inner = value[1]
        if any(_looks_around(each) for each in inner if isinstance(each, _parser.SubPattern)):
            return True
    return False


def _text_faults(f: RecordField, layout: Layout, known: Mapping[str, Column]) -> Iterator[Fault]:
    """Yield the texts of the file itself that do not fit: constants, dates, allowed values, translations."""
    if f.constant is not None:
        yield from _static_faults(("constant",), f, f.constant, layout, known)
    if f.date:
        value = FACTS.business_date if f.date == "business" else FACTS.made
        yield from _static_faults(("date",), f, date_text(f, "UTC")(value), layout, known)
    if f.guid:
        yield from _static_faults(("guid",), f, FACTS.guid(1), layout, known)
    if f.values and f.map is None and f.column and known[f.column].type == "text":
        for index, text in enumerate(f.values):
            yield from _static_faults(("values", index), f, text, layout, known)
    for key, text in (f.map or {}).items():
        yield from _static_faults(("map", key), f, text, layout, known)


def _static_faults(
    place: tuple[str | int, ...], f: RecordField, text: str, layout: Layout, known: Mapping[str, Column]
) -> Iterator[Fault]:
    try:
        static_text(f, Page(layout=layout, columns=known, facts=FACTS), text)
    except Unfit as unfit:
        yield place, f"{text!r} {unfit}"


def _trial_faults(layout: Layout, columns: Sequence[Column]) -> Iterator[Fault]:
    """Yield records that the reader would take for another one: tried with invented rows."""
    known = {column.name: column for column in columns}
    page = Page(layout=layout, columns=known, facts=FACTS)
    compiled = Rereader(layout, columns, FACTS)
    body = [
        (index, record) for index, record in enumerate(layout.records) if record.at in ("group", "row", "group_end")
    ]
    if len(body) < 2:
        return
    rows = list(samples.rows(layout, columns, FACTS, 2 * len(layout.at("row"))))
    for index, record in body:
        line = _sample_line(record, page, rows)
        for _, other in body:
            if other is not record and line is not None and compiled.records[id(other)].match(line):
                yield (
                    ("records", index),
                    (
                        f"a line of record {record.record} could be one of record {other.record}: "
                        "begin both with constants that differ"
                    ),
                )
                break


def _sample_line(record: Record, page: Page, rows: Sequence[Sequence[str | None]]) -> str | None:
    """Return a record's line for the first row that fits it."""
    for row in rows:
        try:
            return (page.layout.delimited or "").join(_sample_text(f, page, row) for f in record.fields)
        except Unfit:
            continue
    return None


def _sample_text(f: RecordField, page: Page, row: Sequence[str | None]) -> str:
    if f.column:
        return column_text(f, page)(row)
    if f.number or f.is_total:
        return count_text(f, page)(10**12)
    if f.date:
        return static_text(f, page, date_text(f, "UTC")(FACTS.business_date if f.date == "business" else FACTS.made))
    text = FACTS.guid(1) if f.guid else "A" if f.letter else f.constant or ""
    return static_text(f, page, text)


def _is_encodable(text: str, layout: Layout) -> bool:
    try:
        text.encode(codec(layout))
    except UnicodeEncodeError:
        return False
    return True
