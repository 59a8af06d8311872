"""Rows become the bytes of a batch's files: the writer, compiled once a batch.

The staged rows are lines: a JSON array per row, its number first, in order, and last the control object of the same statement.
Totals that stand before their rows are read from the same rows ahead of the writing, a file or a group at a time, so memory is
constant. Does not read storage, does not check the written bytes: `rereading` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from partners.fast_rows import Slots, Special, Variant, variants
from partners.figures import UNIT, Control, FileFigures
from partners.layout import Column, Layout, Place, Record, RecordField, meets
from partners.naming import BatchFacts
from partners.refusals import EmptyBatch, FileRefused, Refusal, Refusals
from partners.values import (
    Page,
    Row,
    Unfit,
    codec,
    column_text,
    count_text,
    date_text,
    met,
    parse_number,
    placed,
    static_text,
)

Rows = Callable[[], Iterator[str]]
Scope = Literal["group", "file", "batch"]

_FLUSH_LINES = 2000


class Sink(Protocol):
    """Where one file goes."""

    def write(self, data: bytes) -> None: ...

    def close(self, figures: FileFigures) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped:
    """What became of a batch: the figures of each file, in order, and the sums of every number column. No file is no row."""

    files: Sequence[FileFigures]
    rows: int
    sums: Mapping[str, int]


@dataclass(slots=True)
class _Totals:
    """What was counted in a group, a file or the batch."""

    sums: list[int]
    rows: int = 0
    groups: int = 0
    lines: int = 0

    def add(self, other: _Totals) -> None:
        self.rows += other.rows
        self.groups += other.groups
        self.lines += other.lines
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]


@dataclass(slots=True)
class _Now:
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
    totals: dict[Scope, _Totals] = field(default_factory=dict)


class _Read(NamedTuple):
    """A staged row, read either way."""

    number: int
    key: tuple[str, ...]
    slots: Slots | None
    row: Row | None
    way: int


class _Sum(NamedTuple):
    """One thing that is summed: what it is for, and how a row's share is found in either way. A count is a sum of ones."""

    slow: Callable[[Row], int]
    fast: list[Callable[[Slots], int]]


class Shaper:
    """Writes the files of one batch."""

    def __init__(self, layout: Layout, columns: Sequence[Column], facts: BatchFacts, *, fast: bool = True) -> None:
        """Compile the layout. Without `fast` every row is written the plain way: the same bytes, slower."""
        self._layout = layout
        self._page = Page(layout=layout, columns={column.name: column for column in columns}, facts=facts)
        self._numbers = [column.name for column in columns if column.is_number]
        self._now = _Now()
        self._refusals = Refusals()
        self._end = layout.line_end_text
        needed = {
            name
            for record in layout.records
            for f in record.fields
            for name in f.used_columns
            if name not in (f.column, f.sum)
        }
        needed |= {name for record in layout.records for name in record.when or ()} | set(layout.group_by)
        needed |= {f.sum for record in layout.records for f in record.fields if f.sum and f.digits}
        end = self._end.replace("{", "{{")
        self._variants = variants(self._page, needed, self._state, end) if fast else []
        self._sums, self._sum_of = self._compile_sums()
        self._fast_sums = [[each.fast[way] for each in self._sums] for way in range(len(self._variants))]
        has_digits = any(f.digits for record in layout.records for f in record.fields)
        # One loop without calls is enough for these layouts, which are most: see `_Writing._plain_rows`.
        self.is_plain = (
            len(self._variants) == 1
            and self._variants[0].guard is None
            and len(self._variants[0].texts) == 1
            and not layout.group_by
            and not has_digits
        )
        self.quick_sums = list(enumerate(self._fast_sums[0])) if self.is_plain else []
        self.is_numbered = any(f.number for f in layout.row_fields)
        self._rows_of = [(record, self._row_texts(record), met(record.when, self._page)) for record in layout.at("row")]
        self._texts = {
            id(f): self._field_text(f, record)
            for record in layout.records
            if record.at != "row" and not record.titles
            for f in record.fields
        }
        self._group_index = [self._page.index(name) for name in layout.group_by]
        self._keys = [[variant.raw[name] for name in layout.group_by] for variant in self._variants]
        self._group_lines = len(layout.at("group")) + len(layout.at("group_end"))

    def shape(
        self, rows: Rows, open_file: Callable[[int], Sink], sequence: Callable[[int], int], *, has_totals: bool = False
    ) -> Shaped:
        """Write every file; `sequence` gives a part's number, `has_totals` whether the control object must have the mart's.

        Raises FileRefused with all refusals, EmptyBatch. A sink that is open then was not closed: its file is not whole.
        """
        return _Writing(self, rows, open_file, sequence).run(has_totals=has_totals)

    # Reading a row

    def read(self, line: str) -> _Read | None:
        """Return a staged row, or None when the line is no row."""
        for way, variant in enumerate(self._variants):
            found = variant.match(line)
            if found:
                slots = list(found.groups(""))
                if variant.guard is None or variant.guard(slots):
                    key = tuple([slots[i] for i in self._keys[way]]) if self._group_index else ()
                    return _Read(int(slots[0]), key, slots, None, way)
        return self._read_plainly(line)

    def _read_plainly(self, line: str) -> _Read | None:
        try:
            number, *row = json.loads(line)
        except (ValueError, TypeError):
            return None
        if type(number) is not int or len(row) != len(self._page.columns):
            return None
        if not all(value is None or isinstance(value, str) for value in row):
            return None
        return _Read(number, tuple(row[i] or "" for i in self._group_index), None, row, 0)

    def row_of(self, read: _Read, line: str) -> Row:
        """Return the row's values, also when they were read the fast way."""
        if read.row is not None:
            return read.row
        values: list[str | None] = json.loads(line)[1:]
        return values

    # Sums

    def _compile_sums(self) -> tuple[list[_Sum], dict[int | str, int]]:
        """Return what is summed for each row, and where the sum of a column (by name) or of a total's field (by id) is."""
        sums = [self._sum_column(name) for name in self._numbers]
        where: dict[int | str, int] = {name: index for index, name in enumerate(self._numbers)}
        for record in self._layout.records:
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
        index = self._page.index(name)

        def slow(row: Row) -> int:
            return parse_number(row[index] or "0")

        return _Sum(slow, [_fast_number(variant, name) for variant in self._variants])

    def _sum_field(self, f: RecordField) -> _Sum:
        one = _Sum(lambda row: 1, [lambda slots: 1 for _ in self._variants])
        value = one if f.sum is None else self._sum_digits(f) if f.digits else self._sum_column(f.sum)
        if not f.where:
            return value
        matches = met(f.where, self._page)
        wanted = meets(f.where)

        def chosen(variant: Variant, fast: Callable[[Slots], int]) -> Callable[[Slots], int]:
            places = [(variant.raw[name], values) for name, values in wanted.items()]
            return lambda slots: fast(slots) if all(slots[i] in values for i, values in places) else 0

        fasts = [chosen(variant, fast) for variant, fast in zip(self._variants, value.fast, strict=True)]
        return _Sum(lambda row: value.slow(row) if matches(row) else 0, fasts)

    def _sum_digits(self, f: RecordField) -> _Sum:
        assert f.sum and f.digits, "called for sums of digits"
        index, (first, last) = self._page.index(f.sum), f.digits

        def number(text: str) -> int:
            part = text[first - 1 : last]
            if not text:
                return 0
            if len(part) != last - first + 1 or not (part.isascii() and part.isdigit()):
                raise Unfit(f"has no digits at positions {first} to {last}")
            return int(part) * UNIT

        def fast(place: int) -> Callable[[Slots], int]:
            return lambda slots: number(slots[place])

        return _Sum(lambda row: number(row[index] or ""), [fast(variant.raw[f.sum]) for variant in self._variants])

    def amounts(self, read: _Read, line: str, refusals: Refusals | None = None) -> list[int]:
        """Return a row's share of each sum; what is no number counts 0 and is refused where it is written, or here."""
        slots = read.slots
        if slots is not None:
            try:
                return [fast(slots) for fast in self._fast_sums[read.way]]
            except Unfit:
                pass
        row, found = self.row_of(read, line), []
        for place, each in enumerate(self._sums):
            try:
                found.append(each.slow(row))
            except Unfit as unfit:
                found.append(0)
                if refusals is not None:
                    self._refuse_sum(place, str(unfit), read.number, refusals)
        return found

    def _refuse_sum(self, place: int, reason: str, row: int, refusals: Refusals) -> None:
        """Refuse a value that cannot be summed, with the field that holds its column, unless that field refuses it itself."""
        holder = next((name for name in self._numbers if self._sum_of[name] == place), None)
        for record in self._layout.records:
            for number, f in enumerate(record.fields, 1):
                if record.at == "row" and f.column == holder and holder is not None:
                    return
        for record in self._layout.records:
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

    # Writing a row

    def count_lines(self, read: _Read, line: str) -> int:
        """Return how many records are written for a row."""
        if read.slots is not None:
            return len(self._variants[read.way].texts)
        row = self.row_of(read, line)
        return sum(applies(row) for _, _, applies in self._rows_of)

    def write_row(self, read: _Read, line: str) -> list[str]:
        """Return the row's lines, ended; none when it was refused."""
        slots = read.slots
        if slots is not None:
            variant = self._variants[read.way]
            try:
                for special in variant.specials:
                    slots.append(special(slots))
                return [text(*slots) for text in variant.texts]
            except Unfit:
                pass
        return self._write_plainly(self.row_of(read, line), read.number)

    def _write_plainly(self, row: Row, number: int) -> list[str]:
        lines: list[str] = []
        refused, base = self._refusals.count, self._now.line
        for record, texts, applies in self._rows_of:
            if applies(row):
                lines.append(self._join(record, [lambda text=text: text(row) for text in texts], number))
                self._now.line += 1
        self._now.line = base
        if not lines:
            self._refusals.add(
                Refusal(record="row", number=0, name="", reason="no record is written for this kind of row", row=number)
            )
        return lines if self._refusals.count == refused else []

    def _join(self, record: Record, texts: Sequence[Callable[[], str]], row: int | None) -> str:
        """Return a record's line; every field that refuses its value is noted."""
        values: list[str] = []
        for number, (f, text) in enumerate(zip(record.fields, texts, strict=True), 1):
            try:
                values.append(text())
            except Unfit as unfit:
                self._refusals.add(
                    Refusal(record=record.record, number=number, name=f.name, reason=str(unfit), row=row)
                )
        return (self._layout.delimited or "").join(values) + self._end

    def _row_texts(self, record: Record) -> list[Callable[[Row], str]]:
        return [column_text(f, self._page) if f.column else self._constant_text(f) for f in record.fields]

    def _constant_text(self, f: RecordField) -> Callable[[Row], str]:
        state = self._state(f)
        return (lambda row: state([])) if state else self._fixed_text(f)

    def _fixed_text(self, f: RecordField) -> Callable[[Row], str]:
        facts = self._page.facts
        if f.source == "date":
            shown = date_text(f, facts.time_zone)
            value = facts.business_date if f.date == "business" else facts.made
            text = shown(value)
        else:
            text = facts.letter if f.letter else f.constant or ""
        try:
            known = static_text(f, self._page, text)
        except Unfit as unfit:
            reason = str(unfit)

            def refuse(row: Row) -> str:
                raise Unfit(reason)

            return refuse
        return lambda row: known

    def _state(self, f: RecordField, ahead: int = 0) -> Special | None:
        """Return what writes a number that changes while files are written, None for other fields.

        `ahead` is how many lines of the same row stand before this one.
        """
        now = self._now
        if f.guid:
            return lambda slots: static_text(f, self._page, self._page.facts.guid(now.part))
        if not f.number:
            return None
        write, name = count_text(f, self._page), f.number
        if name == "line":
            return lambda slots: write((now.line + 1 + ahead) * UNIT)
        return lambda slots: write(getattr(now, name) * UNIT)

    # Writing the other records

    def _field_text(self, f: RecordField, record: Record) -> Callable[[], str]:
        if f.column:
            write = column_text(f, self._page)
            return lambda: write(self._now.first_row)
        if f.is_total and not f.number:
            return self._total_text(f, record.at)
        plain = self._constant_text(f)
        return lambda: plain(())

    def _total_text(self, f: RecordField, at: Place) -> Callable[[], str]:
        write, scope, now = count_text(f, self._page), scope_of(f, at), self._now
        place, block = self._sum_of.get(id(f)), self._layout.block

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
        return self._join(record, [self._texts[id(f)] for f in record.fields], None)

    def _titles(self, record: Record) -> str:
        fields = self._layout.titles(record)
        shown = [
            RecordField(name=f.name, constant=f.name, length=f.length if self._layout.fixed else None) for f in fields
        ]
        titled = record.model_copy(update={"fields": shown})
        return self._join(titled, [lambda f=f: static_text(f, self._page, f.constant or "") for f in shown], None)


def scope_of(f: RecordField, at: Place) -> Scope:
    """Return what a total spans: as written, else the group in a group's record, else the file."""
    return f.over or ("group" if at in ("group", "group_end") else "file")


def _fast_number(variant: Variant, name: str) -> Callable[[Slots], int]:
    groups, scale = variant.numbers[name]
    unit = UNIT // 10**scale
    if len(groups) == 2:
        sign, whole = groups
        return lambda slots: int(slots[sign] + (slots[whole] or "0")) * unit
    sign, whole, part = groups
    return lambda slots: int(slots[sign] + (slots[whole] or "0") + slots[part]) * unit


class _Writing:
    """One run of the writer over the rows."""

    def __init__(
        self, shaper: Shaper, rows: Rows, open_file: Callable[[int], Sink], sequence: Callable[[int], int]
    ) -> None:
        self._shaper = shaper
        self._layout = shaper._layout
        self._now = shaper._now
        self._rows = rows
        self._open_file = open_file
        self._sequence = sequence
        self._codec = codec(self._layout)
        self._per_file = self._layout.rows_per_file or 0
        self._buffer: list[str] = []
        self._sink: Sink | None = None
        self._key: tuple[str, ...] | None = None
        self._group = self._zero()
        self._file = self._zero()
        self._batch = self._zero()
        self._files: list[FileFigures] = []
        needs = set(_ahead_of(self._layout))
        self._ahead = {scope: self._totals_of(scope) for scope in ("group", "file") if scope in needs}
        if "batch" in needs:
            self._now.totals["batch"] = self._whole_batch()

    def run(self, *, has_totals: bool) -> Shaped:
        shaper, now, control = self._shaper, self._now, None
        rows = self._rows()
        line = next(rows, None)
        while line is not None:
            read = shaper.read(line)
            if read is None:
                control = self._control(line, now.row_in_batch)
                break
            if read.number != now.row_in_batch + 1:
                raise _not_in_order(now.row_in_batch + 1, read.number)
            self._row(read, line)
            line = self._plain_rows(rows) if shaper.is_plain else next(rows, None)
        if control is None or next(rows, None) is not None:
            raise FileRefused(
                "the extract does not end with its control object: it was cut, or changed",
                "run the window again: the rows are extracted anew",
            )
        return self._finish(control, has_totals=has_totals)

    def _control(self, line: str, number: int) -> Control | None:
        if line.startswith("["):
            raise FileRefused(
                f"row {number + 1} of the extract is not what the query gives: a number and {len(self._shaper._page.columns)} texts",
                "run the window again; when it happens again, report it",
            )
        return Control.parse(line)

    def _finish(self, control: Control, *, has_totals: bool) -> Shaped:
        if self._shaper._refusals.count:
            raise self._shaper._refusals.error()
        numbers = self._shaper._numbers
        if self._now.row_in_batch == 0:
            _raise_faults(control.faults(0, {}, has_totals=has_totals))
            self._empty()
        elif self._sink is not None:
            self._close_file()
        if self._shaper._refusals.count:
            raise self._shaper._refusals.error()
        shaped = Shaped(
            files=self._files, rows=self._batch.rows, sums=dict(zip(numbers, self._batch.sums, strict=False))
        )
        _raise_faults(control.faults(shaped.rows, shaped.sums, has_totals=has_totals))
        return shaped

    def _empty(self) -> None:
        match self._layout.empty:
            case "fail":
                raise EmptyBatch(
                    "the batch has no rows, and the layout says `empty: fail`",
                    "find out why the table has no rows for this date, or write empty: send, header-only or skip",
                )
            case "skip":
                return
            case "send" | "header-only":
                without_end = self._layout.empty == "header-only"
                self._begin_file(without_end=without_end)
                self._close_file(without_end=without_end)

    def _zero(self) -> _Totals:
        return _Totals([0] * len(self._shaper._sums))

    # Rows

    def _plain_rows(self, rows: Iterator[str]) -> str | None:
        """Write rows the fast way; return the first that needs more: another file, the plain way, or that is no row.

        Does in one loop what `_row` does, for layouts with one kind of row and no groups: a row costs microseconds.
        """
        shaper, now, buffer, sums = self._shaper, self._now, self._buffer, self._group.sums
        (variant,) = shaper._variants
        match, specials, (text,) = variant.match, variant.specials, variant.texts
        adds, is_numbered = shaper.quick_sums, shaper.is_numbered
        room = self._per_file - now.row if self._per_file else -1
        number, before, add = now.row_in_batch, now.row_in_batch, buffer.append
        line = None
        for line in rows:
            if room == 0 or (found := match(line)) is None:
                break
            slots = [*found.groups("")]
            number += 1
            if int(slots[0]) != number:
                raise _not_in_order(number, int(slots[0]))
            if is_numbered:
                self._advance(1)
            try:
                for special in specials:
                    slots.append(special(slots))
            except Unfit:
                number -= 1
                if is_numbered:
                    self._advance(-1)
                break
            add(text(*slots))
            for index, quick in adds:
                sums[index] += quick(slots)
            if is_numbered:
                now.line += 1
            room -= 1
            if len(buffer) > _FLUSH_LINES:
                self._flush()
                buffer = self._buffer
                add = buffer.append
        else:
            line = None
        written = number - before
        self._group.rows += written
        self._group.lines += written
        if not is_numbered:
            self._advance(written)
            now.line += written
        return line

    def _advance(self, rows: int) -> None:
        now = self._now
        now.row += rows
        now.row_in_group += rows
        now.row_in_batch += rows

    def _row(self, read: _Read, line: str) -> None:
        now = self._now
        if self._sink is None or (self._per_file and now.row == self._per_file):
            if self._sink is not None:
                self._close_file()
            self._begin_file()
        if self._layout.group_by and read.key != self._key:
            self._close_group()
            self._begin_group(read, line)
        group = self._group
        self._advance(1)
        lines = self._shaper.write_row(read, line)
        now.line += len(lines)
        group.rows += 1
        group.lines += len(lines)
        sums = group.sums
        for index, amount in enumerate(self._shaper.amounts(read, line, self._shaper._refusals)):
            sums[index] += amount
        self._buffer += lines
        if len(self._buffer) > _FLUSH_LINES:
            self._flush()

    def _others(self, place: Place) -> None:
        for record in self._layout.at(place):
            self._buffer.append(self._shaper.other_line(record))
            self._now.line += 1

    # Groups and files

    def _begin_group(self, read: _Read, line: str) -> None:
        now = self._now
        self._key = read.key
        now.group += 1
        now.row_in_group = 0
        now.first_row = self._shaper.row_of(read, line)
        self._group = self._zero()
        self._group.groups = 1
        self._group.lines = self._shaper._group_lines
        now.totals["group"] = next(self._ahead["group"]) if "group" in self._ahead else self._group
        self._others("group")

    def _close_group(self) -> None:
        if self._key is not None:
            self._others("group_end")
        self._file.add(self._group)
        self._group, self._key = self._zero(), None

    def _begin_file(self, *, without_end: bool = False) -> None:
        now = self._now
        now.part += 1
        now.line = now.row = now.row_in_group = now.group = 0
        now.sequence = self._sequence(now.part)
        self._file = self._zero()
        self._file.lines = len(self._layout.at("start")) + (0 if without_end else len(self._layout.at("end")))
        now.totals["file"] = next(self._ahead["file"], self._file) if "file" in self._ahead else self._file
        now.totals.setdefault("batch", self._batch)
        if not self._layout.group_by:
            self._group = self._zero()
            now.totals["group"] = self._group
        self._sink = self._open_file(now.part)
        if self._layout.encoding == "utf-8-bom":
            self._sink.write(b"\xef\xbb\xbf")
        self._others("start")

    def _close_file(self, *, without_end: bool = False) -> None:
        assert self._sink is not None, "only an open file is closed"
        self._close_group()
        self._batch.add(self._file)
        if not without_end:
            self._others("end")
        self._buffer += self._filler()
        self._flush(is_last=True)
        names = self._shaper._numbers
        sums = dict(zip(names, self._file.sums, strict=False))
        figures = FileFigures(part=self._now.part, rows=self._file.rows, lines=self._now.line, sums=sums)
        self._files.append(figures)
        if not self._shaper._refusals.count:
            self._sink.close(figures)
        self._sink = None

    def _filler(self) -> list[str]:
        block = self._layout.block
        if block is None:
            return []
        text = block.fill
        if self._layout.fixed:
            text = (text * self._layout.fixed)[: self._layout.fixed]
        return [text + self._layout.line_end_text] * (-self._now.line % block.lines)

    def _flush(self, *, is_last: bool = False) -> None:
        """Write what is waiting; the last line waits, since its end may be left out."""
        assert self._sink is not None, "lines belong to an open file"
        waiting = [] if is_last else [self._buffer.pop()]
        text = "".join(self._buffer)
        self._buffer = waiting
        if is_last:
            if self._layout.last_line == "open":
                text = text.removesuffix(self._layout.line_end_text)
            text += self._layout.end_of_file
        if text and not self._shaper._refusals.count:
            self._sink.write(text.encode(self._codec))

    # Totals that stand before their rows

    def _plain_sums(self, rows: Iterator[str], group: _Totals, room: int) -> tuple[str | None, int]:
        """Add rows the fast way, as `_plain_rows` writes them; return the first that needs more, and how many were added."""
        (variant,), adds, sums = self._shaper._variants, self._shaper.quick_sums, group.sums
        match, count, line = variant.match, 0, None
        for line in rows:
            if count == room or (found := match(line)) is None:
                break
            slots = found.groups("")
            count += 1
            for index, quick in adds:
                sums[index] += quick(slots)
        else:
            line = None
        group.rows += count
        group.lines += count
        return line, count

    def _whole_batch(self) -> _Totals:
        """Return the totals of the batch, from a reading of all rows ahead, and how many files there will be."""
        batch, files = self._zero(), 0
        for totals in self._totals_of("file"):
            batch.add(totals)
            files += 1
        self._now.parts = max(files, 1)
        return batch

    def _totals_of(self, wanted: Scope) -> Iterator[_Totals]:
        """Yield the totals of each group or file of the batch, in order, reading the rows ahead of the writing."""
        shaper, layout = self._shaper, self._layout
        file: _Totals | None = None
        group, key, in_file = self._zero(), None, 0
        is_open = False
        rows = self._rows()
        line = next(rows, None)
        while line is not None:
            read = shaper.read(line)
            if read is None:
                break
            if file is None or (self._per_file and in_file == self._per_file):
                if file is not None:
                    file.add(group)
                    if wanted == "group":
                        yield group
                    else:
                        yield file
                file, is_open, in_file = self._zero(), False, 0
                group = self._zero()
                file.lines = len(layout.at("start")) + len(layout.at("end"))
            if layout.group_by and (not is_open or read.key != key):
                if is_open:
                    file.add(group)
                    if wanted == "group":
                        yield group
                group, key, is_open = self._zero(), read.key, True
                group.groups, group.lines = 1, shaper._group_lines
            in_file += 1
            group.rows += 1
            group.lines += shaper.count_lines(read, line)
            for index, amount in enumerate(shaper.amounts(read, line)):
                group.sums[index] += amount
            if shaper.is_plain:
                line, count = self._plain_sums(rows, group, self._per_file - in_file if self._per_file else -1)
                in_file += count
            else:
                line = next(rows, None)
        if file is not None:
            file.add(group)
            yield group if wanted == "group" else file


def _not_in_order(expected: int, found: int) -> FileRefused:
    return FileRefused(
        f"the extract is not whole or not in order: row {expected} was expected, {found} came",
        "run the window again; when it happens again, report it",
    )


def _raise_faults(faults: Iterator[str]) -> None:
    if found := list(faults):
        raise FileRefused("\n".join(found), "correct the mart or the partner file, then run the window again")


def _ahead_of(layout: Layout) -> Iterator[Scope]:
    """Yield which totals must be known before their rows are written."""
    for record in layout.records:
        for f in record.fields:
            if f.number == "parts":
                yield "batch"
            if not f.is_total or f.number:
                continue
            scope = scope_of(f, record.at)
            if (
                scope == "batch"
                or (scope == "file" and record.at != "end")
                or (scope == "group" and record.at == "group")
            ):
                yield scope
