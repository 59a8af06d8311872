"""The records of a layout, compiled once for a batch: staged rows are read, summed and written; `shaping` puts files together.

A row is read and written the fast way (`fast_rows`) where that accepts it, and the plain way (`values`) otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple

from partners.fast_rows import Groups, Slots, Special, Variant
from partners.fast_rows import variants as fast_ways
from partners.figures import UNIT
from partners.layout import Column, Layout, Place, Record, RecordField, meets
from partners.naming import BatchFacts
from partners.refusals import Refusal, Refusals
from partners.values import (
    Page,
    Refused,
    Row,
    Unfit,
    column_text,
    count_text,
    date_text,
    met,
    parse_number,
    static_text,
)

Scope = Literal["group", "file", "batch"]


@dataclass(slots=True)
class Totals:
    """What was counted in a group, a file or the batch."""

    sums: list[int]
    rows: int = 0
    groups: int = 0
    lines: int = 0

    def add(self, other: Totals) -> None:
        self.rows += other.rows
        self.groups += other.groups
        self.lines += other.lines
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]


@dataclass(slots=True)
class Now:
    """Where the writer is: what the numbers of a field may show."""

    line: int = 0
    row: int = 0
    row_in_group: int = 0
    row_in_batch: int = 0
    group: int = 0
    part: int = 0
    parts: int = 0
    sequence: int = 0
    first_row: Row = ()
    totals: dict[Scope, Totals] = field(default_factory=dict)


class Read(NamedTuple):
    """A staged row, read either way."""

    number: int
    key: tuple[str, ...]
    slots: Slots | None
    row: Row | None
    way: int


class _Sum(NamedTuple):
    """One thing that is summed: what it is for, and how a row's share is found in either way. A count is a sum of ones."""

    slow: Callable[[Row], int]
    fast: list[Callable[[Groups], int]]


class RecordWriter:
    """Reads staged rows and writes records: everything of a layout that can be compiled once for a batch."""

    def __init__(self, layout: Layout, columns: Sequence[Column], facts: BatchFacts, *, fast: bool = True) -> None:
        """Compile the layout. Without `fast` every row is written the plain way: the same bytes, slower."""
        self.layout = layout
        self.page = Page(layout=layout, columns={column.name: column for column in columns}, facts=facts)
        self.numbers = [column.name for column in columns if column.is_number]
        self.now = Now()
        self.refusals = Refusals()
        self._end = layout.line_end_text
        fields = [f for record in layout.records for f in record.fields]
        needed = {name for f in fields for c in (f.where, f.blank_when, f.required_when) for name in c or ()}
        needed |= {name for record in layout.records for name in record.when or ()} | set(layout.group_by)
        needed |= {f.sum for f in fields if f.sum and f.digits}
        end = self._end.replace("{", "{{")
        self.variants = fast_ways(self.page, needed, self._state, end) if fast else []
        self.sums, self._sum_of = self._compile_sums()
        self._fast_sums = [[each.fast[way] for each in self.sums] for way in range(len(self.variants))]
        has_digits = any(f.digits for record in layout.records for f in record.fields)
        # One loop without calls is enough for these layouts, which are most: see `_Writing._plain_rows`.
        self.is_plain = (
            len(self.variants) == 1
            and self.variants[0].guard is None
            and len(self.variants[0].texts) == 1
            and not layout.group_by
            and not has_digits
        )
        self.quick_sums = list(enumerate(self._fast_sums[0])) if self.is_plain else []
        self.is_numbered = any(f.number for f in layout.row_fields)
        self._rows_of = [(record, self._row_texts(record), met(record.when, self.page)) for record in layout.at("row")]
        self._other_texts = {
            id(record): [self._field_text(f, record) for f in record.fields]
            for record in layout.records
            if record.at != "row" and not record.titles
        }
        self._group_index = [self.page.index(name) for name in layout.group_by]
        self._keys = [[variant.raw[name] for name in layout.group_by] for variant in self.variants]
        self.group_lines = len(layout.at("group")) + len(layout.at("group_end"))

    # Reading a row

    def read(self, line: str) -> Read | None:
        """Return a staged row, or None when the line is not a row."""
        for way, variant in enumerate(self.variants):
            found = variant.match(line)
            if found:
                slots = list(found.groups(""))
                if variant.guard is None or variant.guard(slots):
                    key = tuple([slots[i] for i in self._keys[way]]) if self._group_index else ()
                    return Read(int(slots[0]), key, slots, None, way)
        return self._read_plainly(line)

    def _read_plainly(self, line: str) -> Read | None:
        try:
            number, *row = json.loads(line)
        except (ValueError, TypeError):
            return None
        if type(number) is not int or len(row) != len(self.page.columns):
            return None
        row = [Refused.of(value) if isinstance(value, dict) else value for value in row]
        if not all(value is None or isinstance(value, str) for value in row):
            return None
        return Read(number, tuple(row[i] or "" for i in self._group_index), None, row, 0)

    def row_of(self, read: Read, line: str) -> Row:
        """Return the row's values, also when they were read the fast way."""
        if read.row is not None:
            return read.row
        values: list[str | None] = json.loads(line)[1:]
        return values

    # Sums

    def _compile_sums(self) -> tuple[list[_Sum], dict[int | str, int]]:
        """Return what is summed for each row, and where the sum of a column (by name) or of a total's field (by id) is."""
        sums = [self._sum_column(name) for name in self.numbers]
        where: dict[int | str, int] = {name: index for index, name in enumerate(self.numbers)}
        for record in self.layout.records:
            for f in record.fields:
                if not f.is_total or f.number or f.count in ("groups", "lines", "blocks"):
                    continue
                if not f.where and not f.digits and f.sum in where:
                    where[id(f)] = where[f.sum]
                elif f.sum or f.where:
                    where[id(f)] = len(sums)
                    sums.append(self._sum_field(f))
        return sums, where

    def _sum_column(self, name: str) -> _Sum:
        index = self.page.index(name)

        def slow(row: Row) -> int:
            return parse_number(row[index] or "0")

        return _Sum(slow, [_fast_number(variant, name) for variant in self.variants])

    def _sum_field(self, f: RecordField) -> _Sum:
        one = _Sum(lambda _: 1, [lambda _: 1 for _ in self.variants])
        value = one if f.sum is None else self._sum_digits(f) if f.digits else self._sum_column(f.sum)
        if not f.where:
            return value
        matches = met(f.where, self.page)
        wanted = meets(f.where)

        def chosen(variant: Variant, fast: Callable[[Groups], int]) -> Callable[[Groups], int]:
            places = [(variant.raw[name], values) for name, values in wanted.items()]
            return lambda slots: fast(slots) if all(slots[i] in values for i, values in places) else 0

        fasts = [chosen(variant, fast) for variant, fast in zip(self.variants, value.fast, strict=True)]
        return _Sum(lambda row: value.slow(row) if matches(row) else 0, fasts)

    def _sum_digits(self, f: RecordField) -> _Sum:
        assert f.sum, "called for sums of digits"
        assert f.digits, "called for sums of digits"
        index, (first, last) = self.page.index(f.sum), f.digits

        def number(text: str) -> int:
            part = text[first - 1 : last]
            if not text:
                return 0
            if len(part) != last - first + 1 or not (part.isascii() and part.isdigit()):
                raise Unfit(f"has no digits at positions {first} to {last}")
            return int(part) * UNIT

        def fast(place: int) -> Callable[[Groups], int]:
            return lambda slots: number(slots[place])

        return _Sum(lambda row: number(row[index] or ""), [fast(variant.raw[f.sum]) for variant in self.variants])

    def amounts(self, read: Read, line: str, refusals: Refusals | None = None) -> list[int]:
        """Return a row's share of each sum; what is not a number counts 0 and is refused where it is written, or here."""
        slots = read.slots
        if slots is not None:
            try:
                return [fast(slots) for fast in self._fast_sums[read.way]]
            except Unfit:
                pass
        row, found = self.row_of(read, line), []
        for place, each in enumerate(self.sums):
            try:
                found.append(each.slow(row))
            except Unfit as unfit:
                found.append(0)
                if refusals is not None:
                    self._refuse_sum(place, str(unfit), (read.number, row), refusals)
        return found

    def _refuse_sum(self, place: int, reason: str, numbered: tuple[int, Row], refusals: Refusals) -> None:
        """Refuse a value that cannot be summed, unless a field that this row writes holds its column and refuses it itself."""
        row, values = numbered
        holder = next((name for name in self.numbers if self._sum_of[name] == place), None)
        for record, _, matches in self._rows_of:
            if matches(values) and any(f.column == holder and not self._is_blank(f, values) for f in record.fields):
                return
        for record in self.layout.records:
            for number, f in enumerate(record.fields, 1):
                if self._sum_of.get(id(f)) == place:
                    refusals.add(
                        Refusal(
                            record=record.record,
                            number=number,
                            name=f.name,
                            reason=f"the value of {f.sum} {reason}",
                            row=row,
                        )
                    )
                    return
        refusals.add(
            Refusal(record="row", number=0, name=holder or "", reason=f"the value of this column {reason}", row=row)
        )

    def _is_blank(self, f: RecordField, row: Row) -> bool:
        return f.blank_when is not None and met(f.blank_when, self.page)(row)

    # Writing a row

    def count_lines(self, read: Read, line: str) -> int:
        """Return how many records are written for a row."""
        if read.slots is not None:
            return len(self.variants[read.way].texts)
        row = self.row_of(read, line)
        return sum(applies(row) for _, _, applies in self._rows_of)

    def write_row(self, read: Read, line: str) -> list[str]:
        """Return the row's lines, ended; none when it was refused."""
        slots = read.slots
        if slots is not None:
            variant = self.variants[read.way]
            try:
                for special in variant.specials:
                    slots.append(special(slots))
                return [text(*slots) for text in variant.texts]
            except Unfit:
                pass
        return self._write_plainly(self.row_of(read, line), read.number)

    def _write_plainly(self, row: Row, number: int) -> list[str]:
        lines: list[str] = []
        refused, base = self.refusals.count, self.now.line
        for record, texts, applies in self._rows_of:
            if applies(row):
                lines.append(self._join(record, [partial(text, row) for text in texts], number))
                self.now.line += 1
        self.now.line = base
        if not lines:
            self.refusals.add(
                Refusal(record="row", number=0, name="", reason="no record is written for this kind of row", row=number)
            )
        return lines if self.refusals.count == refused else []

    def _join(self, record: Record, texts: Sequence[Callable[[], str]], row: int | None) -> str:
        """Return a record's line; every field that refuses its value is noted."""
        values: list[str] = []
        for number, (f, text) in enumerate(zip(record.fields, texts, strict=True), 1):
            try:
                values.append(text())
            except Unfit as unfit:
                self.refusals.add(Refusal(record=record.record, number=number, name=f.name, reason=str(unfit), row=row))
        return (self.layout.delimited or "").join(values) + self._end

    def _row_texts(self, record: Record) -> list[Callable[[Row], str]]:
        return [column_text(f, self.page) if f.column else self._constant_text(f) for f in record.fields]

    def _constant_text(self, f: RecordField) -> Callable[[Row], str]:
        state = self._state(f)
        return (lambda _: state([])) if state else self._fixed_text(f)

    def _fixed_text(self, f: RecordField) -> Callable[[Row], str]:
        facts = self.page.facts
        if f.source == "date":
            shown = date_text(f, facts.time_zone)
            value = facts.business_date if f.date == "business" else facts.made
            text = shown(value)
        else:
            text = facts.letter if f.letter else f.constant or ""
        try:
            known = static_text(f, self.page, text)
        except Unfit as unfit:
            reason = str(unfit)

            def refuse(_: Row) -> str:
                raise Unfit(reason)

            return refuse
        return lambda _: known

    def _state(self, f: RecordField, ahead: int = 0) -> Special | None:
        """Return what writes a number that changes while files are written, None for other fields.

        `ahead` is how many lines of the same row stand before this one.
        """
        now = self.now
        if f.guid:
            return lambda _: static_text(f, self.page, self.page.facts.guid(now.part))
        if not f.number:
            return None
        write, name = count_text(f, self.page), f.number
        if name == "line":
            return lambda _: write((now.line + 1 + ahead) * UNIT)
        return lambda _: write(getattr(now, name) * UNIT)

    # Writing the other records

    def _field_text(self, f: RecordField, record: Record) -> Callable[[], str]:
        if f.column:
            write = column_text(f, self.page)
            return lambda: write(self.now.first_row)
        if f.is_total and not f.number:
            return self._total_text(f, record.at)
        plain = self._constant_text(f)
        return lambda: plain(())

    def _total_text(self, f: RecordField, at: Place) -> Callable[[], str]:
        write, scope, now = count_text(f, self.page), scope_of(f, at), self.now
        place, block = self._sum_of.get(id(f)), self.layout.block

        def units() -> int:
            totals = now.totals[scope]
            if place is not None:
                return totals.sums[place] * (1 if f.sum else UNIT)
            match f.count:
                case "rows":
                    return totals.rows * UNIT
                case "groups":
                    return totals.groups * UNIT
                case "lines":
                    return totals.lines * UNIT
                case _:
                    return -(-totals.lines // (block.lines if block else 1)) * UNIT

        return lambda: write(units())

    def other_line(self, record: Record) -> str:
        """Return the line of a record that stands for no row."""
        if record.titles:
            return self._titles(record)
        return self._join(record, self._other_texts[id(record)], None)

    def _titles(self, record: Record) -> str:
        fields = self.layout.titles(record)
        shown = [
            RecordField(name=f.name, constant=f.name, length=f.length if self.layout.fixed else None) for f in fields
        ]
        titled = record.model_copy(update={"fields": shown})
        return self._join(titled, [partial(static_text, f, self.page, f.name) for f in shown], None)


def scope_of(f: RecordField, at: Place) -> Scope:
    """Return what a total spans: as written, else the group in a group's record, else the file."""
    return f.over or ("group" if at in ("group", "group_end") else "file")


def _fast_number(variant: Variant, name: str) -> Callable[[Groups], int]:
    groups, scale = variant.numbers[name]
    unit = UNIT // 10**scale
    if len(groups) == 2:
        sign, whole = groups
        return lambda slots: int(slots[sign] + (slots[whole] or "0")) * unit
    sign, whole, part = groups
    return lambda slots: int(slots[sign] + (slots[whole] or "0") + slots[part]) * unit
