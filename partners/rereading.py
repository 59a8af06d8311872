"""Reads a written file back and counts again: the second witness of every file, before it is sealed.

Shares nothing with the writer but the partner file: each record is one regular expression, made from the layout alone. Every
line must be one of the records, in a legal order; rows, lines, groups and sums are counted anew and compared with the totals
inside the file. A fault names the line, the record and the field, never a value.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from partners.errors import PartnerError
from partners.figures import UNIT, FileFigures
from partners.layout import Column, Layout, Record, RecordField, is_number, meets, scale_of
from partners.naming import BatchFacts

_CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029"
_CONTROLS_OF_BYTES = "\x00-\x1f\x7f"
_LETTER_OF = {
    "Y": r"\d{4}", "y": r"\d\d", "m": r"(?:0[1-9]|1[0-2])", "d": r"(?:0[1-9]|[12]\d|3[01])", "j": r"[0-3]\d\d",
    "H": r"(?:[01]\d|2[0-3])", "I": r"(?:0[1-9]|1[0-2])", "M": r"[0-5]\d", "S": r"[0-5]\d", "p": "[AP]M", "f": r"\d{6}",
    "z": r"[+-]\d{4}",
}  # fmt: skip
_PUNCHED = {letter: (1, number) for number, letter in enumerate("{ABCDEFGHI")}
_PUNCHED |= {letter: (-1, number) for number, letter in enumerate("}JKLMNOPQR")}


class Mismatch(PartnerError):
    """A file is not what its layout says: it is never sealed."""


def _mismatch(text: str) -> Mismatch:
    return Mismatch(
        f"the written file does not read back as its layout says: {text}",
        "run the window again; when it happens again, report it: the file was not sealed",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which file of a batch is read: its part, its number, how many rows stand in the parts before it, how many parts."""

    part: int = 1
    sequence: int = 1
    rows_before: int = 0
    parts: int | None = None


@dataclass(slots=True)
class _Count:
    """What was counted in a group or in the file; `claims` are totals that stand in the file, to be compared."""

    sums: list[int]
    rows: int = 0
    lines: int = 0
    groups: int = 0
    claims: list[tuple[int, str, RecordField, int]] = field(default_factory=list)


class Rereader:
    """Reads the files of one batch back; compiled once."""

    def __init__(self, layout: Layout, columns: Sequence[Column], facts: BatchFacts) -> None:
        self.layout = layout
        self.facts = facts
        self.known = {column.name: column for column in columns}
        self.sums = list(_countable(layout, self.known))
        self.records = {id(record): _Record(record, layout, self.known, facts, self.sums) for record in layout.records}
        self.markers = _row_markers(layout)

    def file(self, place: Place) -> FileReader:
        """Return what reads one file of the batch."""
        return FileReader(self, place)


class FileReader:
    """Reads one file in pieces of any size."""

    def __init__(self, rereader: Rereader, place: Place) -> None:
        self._layout = layout = rereader.layout
        self._facts = rereader.facts
        self._place = place
        self._by_bytes = layout.lengths == "bytes" and layout.encoding.startswith("utf-8")
        self._codec = "utf-8" if layout.encoding.startswith("utf-8") else layout.encoding
        self._known, self._sums, self._records = rereader.known, rereader.sums, rereader.records
        self._end = self._bytes(layout.line_end_text)
        self._tail = self._bytes(layout.end_of_file)
        self._mark = codecs.BOM_UTF8 if layout.encoding == "utf-8-bom" else b""
        self._rest = b""
        self._waiting: list[str] = []
        self._held = len(layout.at("end")) + (layout.block.lines - 1 if layout.block else 0)
        self._starts = list(layout.at("start"))
        self._line = 0
        self._filled = 0
        self._file = self._count()
        self._group = self._count()
        self._stage = ""  # within groups: the place of the last record
        self._index = -1
        self._has_row = False
        self._row_records = [self._records[id(record)] for record in layout.at("row")]
        self._markers = rereader.markers
        self._is_plain = len(self._row_records) == 1 and not layout.group_by and not layout.at("row")[0].when

    def feed(self, data: bytes) -> None:
        """Take the next piece of the file. Raises Mismatch."""
        self._rest += data
        if self._mark:
            if len(self._rest) < len(self._mark):
                return
            if not self._rest.startswith(self._mark):
                raise _mismatch("it does not begin with the byte order mark")
            self._rest, self._mark = self._rest[len(self._mark) :], b""
        self._waiting += self._cut()
        self._work(len(self._waiting) - self._held)

    def close(self) -> FileFigures:
        """Return what the file holds. Raises Mismatch."""
        if self._mark:
            raise _mismatch("it does not begin with the byte order mark")
        self._last_line()
        self._drop_filler()
        ends = self._layout.at("end")
        is_short = self._is_header_only(len(ends))
        self._work(len(self._waiting) - (0 if is_short else len(ends)))
        if self._starts:
            raise _mismatch(f"record {self._starts[0].record} is missing")
        self._close_group(is_last=True)
        if not is_short:
            if len(self._waiting) != len(ends):
                raise _mismatch(f"record {ends[len(self._waiting)].record} is missing")
            for record in ends:
                self._other(record, self._take(), self._file)
        self._file.lines = self._line
        self._settle(self._file)
        sums = {name: total for name, total in zip(self._sums, self._file.sums, strict=True) if isinstance(name, str)}
        return FileFigures(part=self._place.part, rows=self._file.rows, lines=self._line, sums=sums)

    # Bytes to lines

    def _bytes(self, text: str) -> bytes:
        return text.encode(self._codec)

    def _text(self, data: bytes) -> str:
        try:
            text = data.decode(self._codec)
        except UnicodeDecodeError:
            raise _mismatch(f"after line {self._line} are bytes that {self._layout.encoding} does not have") from None
        return data.decode("latin-1") if self._by_bytes else text

    def _cut(self) -> list[str]:
        """Return the whole lines that have come, and keep the rest."""
        ready = len(self._rest) - len(self._tail)
        if ready <= 0:
            return []
        if self._end:
            last = self._rest.rfind(self._end, 0, ready)
            if last < 0:
                return []
            text = self._text(self._rest[:last])
            self._rest = self._rest[last + len(self._end) :]
            return text.split(self._layout.line_end_text)
        return self._cut_fixed(ready)

    def _cut_fixed(self, ready: int) -> list[str]:
        """Cut lines without an end: each is so long."""
        length = self._layout.fixed or 1
        if self._codec != "utf-8" or self._by_bytes:
            whole = ready - ready % length
            text = self._text(self._rest[:whole])
            self._rest = self._rest[whole:]
        else:
            while ready and ready < len(self._rest) and self._rest[ready] & 0xC0 == 0x80:
                ready -= 1
            decoder = codecs.getincrementaldecoder("utf-8")()
            text = decoder.decode(self._rest[:ready])
            text = text[: len(text) - len(text) % length]
            self._rest = self._rest[len(text.encode()) :]
        return [text[at : at + length] for at in range(0, len(text), length)]

    def _last_line(self) -> None:
        if not self._rest.endswith(self._tail):
            raise _mismatch("it does not end with the text of end_of_file")
        rest = self._rest[: len(self._rest) - len(self._tail)]
        if rest and (not self._end or self._layout.last_line == "ended"):
            raise _mismatch("its last line is not whole")
        if self._layout.last_line == "open" and self._end and (self._line or self._waiting or rest):
            if not rest:
                raise _mismatch("its last line has an end, and should have none")
            self._waiting.append(self._text(rest))

    def _drop_filler(self) -> None:
        block = self._layout.block
        if block is None:
            return
        text = block.fill
        if self._layout.fixed:
            text = (text * self._layout.fixed)[: self._layout.fixed]
        total, count = self._line + len(self._waiting), 0
        while count < block.lines - 1 and self._waiting and self._waiting[-1] == text:
            self._waiting.pop()
            count += 1
        if total % block.lines:
            raise _mismatch(f"it has {total} lines, which is no whole number of blocks")

    def _is_header_only(self, ends: int) -> bool:
        """Whether the file is that of a batch without rows that leaves out the end records."""
        lines = self._line + len(self._waiting)
        return (
            self._layout.empty == "header-only"
            and bool(ends)
            and self._file.rows == 0
            and lines == len(self._layout.at("start"))
        )

    # Lines to records

    def _take(self) -> str:
        self._line += 1
        return self._waiting.pop(0)

    def _work(self, count: int) -> None:
        """Read so many of the waiting lines: all but those that may be the end."""
        if count <= 0:
            return
        lines, self._waiting = self._waiting[:count], self._waiting[count:]
        at = 0
        while self._starts and at < count:
            self._line += 1
            self._other(self._starts.pop(0), lines[at], self._file)
            at += 1
        if self._is_plain:
            self._plain_rows(lines[at:] if at else lines)
        else:
            for line in lines[at:]:
                self._line += 1
                self._body(line)

    def _plain_rows(self, lines: list[str]) -> None:
        """Read rows of the one kind that there is."""
        record, group = self._row_records[0], self._group
        match, adds, checks, sums = record.match, record.adds, record.checks, group.sums
        for line in lines:
            self._line += 1
            found = match(line)
            if found is None:
                raise self._no_match(record, line)
            group.rows += 1
            group.lines += 1
            for index, add in adds:
                sums[index] += add(found)
            if checks:
                self._check_numbers(record, found)

    def _body(self, line: str) -> None:
        """Read one line between start and end records: a row's record, or one of a group."""
        for place in ("group_end", "group"):
            records = self._layout.at("group_end" if place == "group_end" else "group")
            following = self._next_of(place, records)
            if following is not None and self._records[id(following)].match(line):
                self._enter(place)
                self._other(following, line, self._group)
                return
        for record in self._row_records:
            found = record.match(line)
            if found:
                self._row(record, found)
                return
        raise (
            self._no_match(self._row_records[0], line)
            if len(self._row_records) == 1
            else _mismatch(f"line {self._line} is none of the records that may stand there")
        )

    def _next_of(self, place: str, records: list[Record]) -> Record | None:
        """Return the record of a group's begin or end that may come now."""
        if not records:
            return None
        if self._stage == place:
            return (
                records[self._index + 1]
                if self._index + 1 < len(records)
                else (records[0] if place == "group" else None)
            )
        if place == "group_end":
            return records[0] if self._stage == "row" else None
        ends = self._layout.at("group_end")
        is_closed = (
            self._stage == ""
            or (self._stage == "row" and not ends)
            or (self._stage == "group_end" and self._index + 1 == len(ends))
        )
        return records[0] if is_closed else None

    def _enter(self, place: str) -> None:
        if place == "group" and self._stage != "group":
            self._close_group(is_last=False)
            self._group = self._count()
            self._group.groups = 1
            self._index = -1
        elif place == "group_end" and self._stage != "group_end":
            self._finish_row()
            self._index = -1
        elif place == "group" and self._index + 1 == len(self._layout.at("group")):
            raise _mismatch(f"line {self._line} begins a group, and the one before has no rows")
        self._stage, self._index = place, self._index + 1

    def _row(self, record: _Record, found: re.Match[str]) -> None:
        layout = self._layout
        if self._stage == "group" and self._index + 1 < len(layout.at("group")):
            raise _mismatch(
                f"line {self._line}: record {layout.at('group')[self._index + 1].record} is missing before it"
            )
        if layout.group_by and self._stage in ("", "group_end") and (layout.at("group") or layout.at("group_end")):
            if layout.at("group") or (self._stage == "group_end" and self._index + 1 < len(layout.at("group_end"))):
                raise _mismatch(f"line {self._line} is a row outside of a group")
            self._close_group(is_last=False)
            self._group = self._count()
            self._group.groups = 1
        index, is_marker = self._row_records.index(record), id(record.record) in self._markers
        if self._stage != "row" or index <= self._index or (is_marker and self._has_row):
            if self._stage == "row":
                self._finish_row()
            self._has_row = False
        self._stage, self._index = "row", index
        if is_marker:
            self._has_row = True
            self._group.rows += 1
        self._group.lines += 1
        for place, add in record.adds:
            self._group.sums[place] += add(found)
        if record.checks:
            self._check_numbers(record, found)

    def _finish_row(self) -> None:
        if self._markers and self._stage == "row" and not self._has_row:
            raise _mismatch(f"before line {self._line} is a part of a row without its main record")

    def _check_numbers(self, record: _Record, found: re.Match[str]) -> None:
        now = {
            "row": self._file.rows + self._group.rows,
            "row_in_group": self._group.rows,
            "row_in_batch": self._place.rows_before + self._file.rows + self._group.rows,
            "line": self._line,
            "group": self._file.groups + self._group.groups,
        }
        for f, read in record.checks:
            self._check_known(record.record, f, read, found)
            if f.number in now and read(found) != now[f.number] * UNIT:
                raise _mismatch(
                    f"line {self._line}, record {record.record.record}, field '{f.name}': the number is not the next"
                )

    def _check_known(
        self, record: Record, f: RecordField, read: Callable[[re.Match[str]], int], found: re.Match[str]
    ) -> None:
        """Compare what belongs to this file alone: its number, its part, its GUID."""
        place = self._place
        numbers = {"sequence": place.sequence, "part": place.part, "parts": place.parts}
        number = numbers.get(f.number or "")
        is_other = number is not None and read(found) != number * UNIT
        if f.guid:
            is_other = self._facts.guid(place.part) not in found[f"f{record.fields.index(f)}"]
        if is_other:
            raise _mismatch(f"line {self._line}, record {record.record}, field '{f.name}' is not that of this file")

    # Totals

    def _count(self) -> _Count:
        return _Count([0] * len(self._sums))

    def _other(self, record: Record, line: str, count: _Count) -> None:
        """Read a record that is no row: its totals are compared when the group or the file is complete."""
        compiled = self._records[id(record)]
        found = compiled.match(line)
        if found is None:
            raise self._no_match(compiled, line)
        if count is self._group:
            self._group.lines += 1
        for f, read in compiled.checks:
            self._check_known(record, f, read, found)
            if f.is_total and f.number is None:
                scope = f.over or ("group" if count is self._group else "file")
                if scope != "batch" or self._place.parts == 1:
                    (self._group if scope == "group" else self._file).claims.append(
                        (self._line, record.record, f, read(found))
                    )
            elif f.number in ("line", "group"):
                now = self._line if f.number == "line" else self._file.groups + self._group.groups
                if read(found) != now * UNIT:
                    raise _mismatch(
                        f"line {self._line}, record {record.record}, field '{f.name}': the number is not the next"
                    )

    def _close_group(self, *, is_last: bool) -> None:
        group, layout = self._group, self._layout
        if self._stage:
            self._finish_row()
            if self._stage == "group" or (
                layout.at("group_end") and (self._stage != "group_end" or self._index + 1 < len(layout.at("group_end")))
            ):
                raise _mismatch(f"before line {self._line + 1 if is_last else self._line}: the group is not whole")
        self._settle(group)
        file = self._file
        file.rows += group.rows
        file.groups += group.groups
        file.sums = [mine + theirs for mine, theirs in zip(file.sums, group.sums, strict=True)]
        self._group, self._stage, self._index = self._count(), "", -1

    def _settle(self, count: _Count) -> None:
        """Compare the totals that stand in the file with what was counted."""
        block = self._layout.block
        for line, record, f, claimed in count.claims:
            found: int | None
            key = _sum_key(f)
            if key in self._sums:
                found = count.sums[self._sums.index(key)]
            elif f.count and not f.where:
                lines = -(-count.lines // (block.lines if block else 1))
                found = (
                    UNIT * {"rows": count.rows, "groups": count.groups, "lines": count.lines, "blocks": lines}[f.count]
                )
            else:
                continue
            if f.modulo:
                scale = 10 ** (12 - scale_of(f, self._known))
                found = found // scale % f.modulo * scale
            if f.sign == "absolute":
                found = abs(found)
            if claimed != found:
                raise _mismatch(f"line {line}, record {record}, field '{f.name}' differs from what was counted again")

    def _no_match(self, record: _Record, line: str) -> Mismatch:
        return _mismatch(f"line {self._line} is no record {record.record.record}: {record.explain(line)}")


def reread(pieces: Iterable[bytes], reader: FileReader) -> Iterator[bytes]:
    """Yield the pieces of a file while it is read back; the figures come from `reader.close()`. Raises Mismatch."""
    for piece in pieces:
        reader.feed(piece)
        yield piece


def uncountable(layout: Layout, columns: Mapping[str, Column]) -> Iterator[tuple[RecordField, str]]:
    """Yield the totals that this reader cannot count again from the file, with the reason."""
    known = set(_countable(layout, columns))
    for record in layout.records:
        for f in record.fields:
            if f.is_total and f.over == "batch" and layout.rows_per_file:
                yield f, "it spans several files, and each is read alone"
            elif (f.sum or f.where) and _sum_key(f) not in known:
                yield f, "the rows of the file do not show every value that it needs"
            elif f.count == "rows" and not f.where and not _row_markers(layout):
                yield f, "the records of a row do not show where the next begins"


def _sum_key(f: RecordField) -> object:
    """Return what identifies a sum: the column alone, or the column with digits and condition."""
    if f.where or f.digits:
        where = tuple(sorted((name, tuple(sorted(values))) for name, values in meets(f.where or {}).items()))
        return (f.sum or f.count, tuple(f.digits or ()), where)
    return f.sum if f.sum else None


def _row_markers(layout: Layout) -> set[int]:
    """Return the records of which each row has exactly one: the first without a condition, or all when they exclude each other."""
    rows = layout.at("row")
    if plain := [record for record in rows if not record.when]:
        return {id(plain[0])}
    conditions = [meets(record.when or {}) for record in rows]
    for number, first in enumerate(conditions):
        for second in conditions[number + 1 :]:
            if not any(not first[name] & second[name] for name in first.keys() & second.keys()):
                return set()
    return {id(record) for record in rows}


def _countable(layout: Layout, columns: Mapping[str, Column]) -> Iterator[object]:
    """Yield the sums that the file's rows show: number columns, and those of fields with digits or conditions."""
    seen: set[object] = set()
    wanted = [(name, RecordField(name=name, sum=name)) for name, column in columns.items() if column.is_number]
    wanted += [
        (_sum_key(f), f) for record in layout.records for f in record.fields if f.is_total and (f.sum or f.where)
    ]
    for key, f in wanted:
        if (
            key not in seen
            and all(
                _shows(record, f, columns, layout) for record in layout.at("row") if id(record) in _row_markers(layout)
            )
            and _row_markers(layout)
        ):
            seen.add(key)
            yield key


def _shows(record: Record, f: RecordField, columns: Mapping[str, Column], layout: Layout) -> bool:
    """Tell whether a row's record shows the number that is summed and the values of the condition."""
    for name, values in meets(f.where or {}).items():
        fixed = meets(record.when or {}).get(name)
        if fixed is not None and (fixed <= values or not fixed & values):
            continue
        if _holder(record, name, columns, layout) is None:
            return False
    if f.sum is None:
        return True
    if f.digits:
        return _holder(record, f.sum, columns, layout) is not None
    return any(_is_exact(each, f.sum, columns) for each in record.fields)


def _is_exact(each: RecordField, name: str, columns: Mapping[str, Column]) -> bool:
    return (
        each.column == name
        and is_number(each, columns)
        and each.sign != "absolute"
        and not each.modulo
        and not each.blank_when
    )


def _holder(record: Record, name: str, columns: Mapping[str, Column], layout: Layout) -> RecordField | None:
    """Return the field that shows a column's text as it is in the table."""
    for each in record.fields:
        if each.column != name or each.truncate or each.blank_when or layout.transliterate:
            continue
        if each.map is not None and len(set(each.map.values())) < len(each.map):
            continue
        if columns[name].type == "text" or each.map is not None:
            return each
        if columns[name].type == "integer" and each.sign in (None, "minus", "none"):
            return each
    return None


class _Record:
    """A record as one regular expression, with what must be read out of it."""

    def __init__(
        self, record: Record, layout: Layout, columns: Mapping[str, Column], facts: BatchFacts, sums: Sequence[object]
    ) -> None:
        self.record = record
        self._expressions = _Expressions(layout, columns, facts)
        fields = layout.titles(record) if record.titles else record.fields
        needed = set(range(len(fields))) if record.at != "row" else _needed(record, columns, layout, sums)
        self._parts = [
            self._expressions.title(f)
            if record.titles
            else self._expressions.field(f, index if index in needed else None)
            for index, f in enumerate(fields)
        ]
        if layout.fixed and not record.titles:
            for index, f in enumerate(fields):
                if self._expressions.is_loose(f):
                    left = sum(each.length or 0 for each in fields[index + 1 :])
                    self._parts[index] += rf"(?=.{{{left}}}\Z)"
        self._joint = re.escape(self._expressions.view(layout.delimited or ""))
        whole = self._joint.join(part for part in self._parts)
        self.match: Callable[[str], re.Match[str] | None] = re.compile(whole, re.ASCII).fullmatch
        self.checks = (
            []
            if record.titles
            else [(f, self._number_of(f, index)) for index, f in enumerate(fields) if f.is_total or f.number or f.guid]
        )
        self.adds = list(self._adds(sums, columns, layout)) if record.at == "row" else []

    def explain(self, line: str) -> str:
        """Return which field is the first that does not match."""
        for count in range(1, len(self._parts) + 1):
            if not re.compile(self._joint.join(self._parts[:count]), re.ASCII).match(line):
                fields = self.record.fields
                name = fields[count - 1].name if count <= len(fields) else "titles"
                return f"field {count} '{name}' is not as the layout says"
        return "it is longer than the layout says"

    def _number_of(self, f: RecordField, index: int) -> Callable[[re.Match[str]], int]:
        parse, group = self._expressions.number_parser(f), f"f{index}"
        return lambda found: parse(found[group])

    def _adds(
        self, sums: Sequence[object], columns: Mapping[str, Column], layout: Layout
    ) -> Iterator[tuple[int, Callable[[re.Match[str]], int]]]:
        if id(self.record) not in _row_markers(layout):
            return
        totals = {_sum_key(f): f for record in layout.records for f in record.fields if f.is_total}
        for place, key in enumerate(sums):
            f = RecordField(name=key, sum=key) if isinstance(key, str) else totals[key]
            value = self._value(f, columns, layout)
            tests: list[Callable[[re.Match[str]], bool]] = []
            is_never = False
            for name, values in meets(f.where or {}).items():
                fixed = meets(self.record.when or {}).get(name)
                if fixed is not None and fixed <= values:
                    continue
                if fixed is not None and not fixed & values:
                    is_never = True
                    break
                tests.append(self._tests(name, values, columns, layout))
            if is_never:
                continue
            if tests:
                yield (
                    place,
                    lambda found, value=value, tests=tests: value(found) if all(test(found) for test in tests) else 0,
                )
            else:
                yield place, value

    def _value(self, f: RecordField, columns: Mapping[str, Column], layout: Layout) -> Callable[[re.Match[str]], int]:
        if f.sum is None:
            return lambda found: UNIT
        if f.digits:
            first, last = f.digits
            text = self._text_of(f.sum, columns, layout)
            return lambda found: int(text(found)[first - 1 : last] or 0) * UNIT
        index, each = next((i, x) for i, x in enumerate(self.record.fields) if _is_exact(x, f.sum or "", columns))
        return self._number_of(each, index)

    def _tests(
        self, name: str, values: frozenset[str], columns: Mapping[str, Column], layout: Layout
    ) -> Callable[[re.Match[str]], bool]:
        text = self._text_of(name, columns, layout)
        shown = {self._expressions.view(value) for value in values}
        return lambda found: text(found) in shown

    def _text_of(self, name: str, columns: Mapping[str, Column], layout: Layout) -> Callable[[re.Match[str]], str]:
        """Return what reads a column's text out of a line: without padding, quotes and translation."""
        each = _holder(self.record, name, columns, layout)
        assert each is not None, "asked for columns that the record shows"
        index = self.record.fields.index(each)
        plain, group = self._expressions.plain_text(each, is_number(each, columns)), f"f{index}"
        back = {shown: value for value, shown in (each.map or {}).items()}
        if each.map is not None:
            return lambda found: back.get(plain(found[group]), "")
        return lambda found: plain(found[group])


def _needed(record: Record, columns: Mapping[str, Column], layout: Layout, sums: Sequence[object]) -> set[int]:
    """Return the fields of a row's record that are read out: those that are summed, tested or numbered."""
    names: set[str] = {key for key in sums if isinstance(key, str)}
    for each in (f for r in layout.records for f in r.fields if f.is_total):
        names |= {*(each.where or ()), *([each.sum] if each.sum else [])}
    return {index for index, f in enumerate(record.fields) if f.column in names or f.number or f.guid}


class _Expressions:
    """The regular expression of each field of a layout."""

    def __init__(self, layout: Layout, columns: Mapping[str, Column], facts: BatchFacts) -> None:
        self._layout = layout
        self._columns = columns
        self._facts = facts
        self._by_bytes = layout.lengths == "bytes" and layout.encoding.startswith("utf-8")
        self._mark, self._escape = layout.quote_mark, layout.escape or layout.quote_mark

    def view(self, text: str) -> str:
        """Return a text as lines show it: lengths that count bytes are read byte by byte."""
        return text.encode().decode("latin-1") if self._by_bytes else text

    def title(self, f: RecordField) -> str:
        text = f.name
        if self._layout.fixed:
            text = text.ljust(f.length or 0)
        return self._literal(self.view(text))

    def field(self, f: RecordField, group: int | None) -> str:
        """Return the expression of a field; with `group`, its text can be read out under that number."""
        expression = self._inside(f)
        return f"(?P<f{group}>{expression})" if group is not None else expression

    def _inside(self, f: RecordField) -> str:
        static = self._static(f)
        if static is not None:
            return self._literal(self.view(self._padded(f, static)))
        if f.guid:
            return self._marked(self._padding(f, "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"))
        if f.column is None:
            return self._marked(self._number(f))
        empties = self._empties(f)
        column = self._columns[f.column]
        if f.map is not None:
            body = self._choice(f, f.map.values())
        elif is_number(f, self._columns):
            body = self._marked(self._number(f))
        elif column.type in ("date", "timestamp"):
            body = self._marked(self._padding(f, self._date(f, column.type)))
        elif f.values:
            body = self._choice(f, f.values)
        else:
            body = self._text(f)
        return f"(?:{'|'.join([body, *empties])})" if empties else body

    def _static(self, f: RecordField) -> str | None:
        """Return the text of a field that no row decides."""
        match f.source:
            case "constant":
                return f.constant or ""
            case "blank":
                return ""
            case "letter":
                return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[self._facts.revision - 1]
            case "date":
                return self._shown(f)
        return None

    def _shown(self, f: RecordField) -> str:
        """Return a date of the batch; written here anew, by the library's strftime where that is safe."""
        if f.date == "business":
            return _strftime(self._facts.business_date, f.format or "%Y-%m-%d")
        if f.format is None:
            moment = self._facts.made.astimezone(ZoneInfo("UTC"))
            fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
            return _strftime(moment, "%Y-%m-%dT%H:%M:%S") + fraction + "Z"
        return _strftime(self._facts.made.astimezone(ZoneInfo(f.zone or self._facts.time_zone)), f.format)

    def _padded(self, f: RecordField, text: str) -> str:
        if not f.length:
            return text
        room = f.length - (len(text.encode()) if self._by_bytes else len(text))
        padding = (f.fill or " ") * max(room, 0)
        return padding + text if f.align == "right" else text + padding

    def _literal(self, text: str) -> str:
        """Return the expression of a known text: with quotes, bare, or either."""
        bare = re.escape(text)
        if self._layout.fixed or self._layout.quoting == "never":
            return bare
        inner = text if self._escape == self._mark else text.replace(self._escape, self._escape * 2)
        quoted = re.escape(self._mark + inner.replace(self._mark, self._escape + self._mark) + self._mark)
        return quoted if self._layout.quoting == "always" else f"(?:{bare}|{quoted})"

    def _marked(self, body: str) -> str:
        """Return the expression of a text that needs no escape: with quotes, bare, or either."""
        if self._layout.fixed or self._layout.quoting == "never":
            return f"(?:{body})"
        mark = re.escape(self._mark)
        return (
            f"{mark}(?:{body}){mark}" if self._layout.quoting == "always" else f"(?:{mark}(?:{body}){mark}|(?:{body}))"
        )

    def _choice(self, f: RecordField, texts: Iterable[str]) -> str:
        return f"(?:{'|'.join(self._literal(self.view(self._padded(f, text))) for text in sorted(texts, key=len, reverse=True))})"

    def _empties(self, f: RecordField) -> list[str]:
        if not (f.optional or f.blank_when or f.required_when):
            return []
        if self._layout.fixed:
            return [" " * (f.length or 0)]
        return (
            [re.escape(self._layout.null), "", re.escape(self._mark * 2)]
            if self._layout.quoting != "never"
            else [re.escape(self._layout.null), ""]
        )

    # Texts

    def _text(self, f: RecordField) -> str:
        layout = self._layout
        controls = _CONTROLS_OF_BYTES if self._by_bytes else _CONTROLS
        size = f"{{{f.length}}}" if f.length else f"{{1,{f.max}}}" if f.max else "+"
        ahead = self._match_ahead(f)
        if layout.fixed:
            return f"{ahead}[^{controls}]{size}"
        delimiter, mark, escape = layout.delimited or "", re.escape(self._mark), re.escape(self._escape)
        banned = controls + "".join(re.escape(letter) for letter in {self._mark} if layout.quoting != "always")
        bare = self._bare(delimiter, banned, size)
        if layout.quoting == "never":
            return ahead + bare
        letter = (
            f"(?:[^{controls}{mark}]|{escape}{mark})"
            if self._escape == self._mark
            else f"(?:[^{controls}{mark}{escape}]|{escape}[{mark}{escape}])"
        )
        quoted = f"{mark}{letter}{size}{mark}"
        return quoted if layout.quoting == "always" else f"(?:{quoted}|{ahead}{bare})"

    def _bare(self, delimiter: str, banned: str, size: str) -> str:
        """Return the expression of a text that holds no delimiter; one of several letters may be begun inside."""
        first = re.escape(delimiter[0])
        if len(delimiter) == 1:
            return f"[^{banned}{first}]{size}"
        return f"(?:[^{banned}{first}]|(?!{re.escape(delimiter)}){first}){size}"

    def _match_ahead(self, f: RecordField) -> str:
        if not f.match or self._layout.transliterate or f.truncate or self._by_bytes:
            return ""
        fill = re.escape(f.fill or " ")
        before, after = (f"{fill}*", "") if f.align == "right" else ("", f"{fill}*")
        if not f.length:
            before = after = ""
        return f"(?={before}(?:{f.match}){after}{self._stop(f)})"

    def _stop(self, f: RecordField) -> str:
        if self._layout.fixed:
            return ""
        return f"(?:{re.escape(self._layout.delimited or '')}|\\Z)"

    def plain_text(self, f: RecordField, is_digits: bool) -> Callable[[str], str]:
        """Return what takes padding and quotes off a field's text."""
        mark, escape, quoting, fill = (
            self._mark,
            self._escape,
            self._layout.quoting,
            f.fill or ("0" if is_digits else " "),
        )
        right = f.align == "right" or (is_digits and f.align is None)

        def plain(text: str) -> str:
            if quoting != "never" and len(text) > 1 and text[0] == mark == text[-1]:
                text = text[1:-1].replace(escape + mark, mark)
                text = text if escape == mark else text.replace(escape * 2, escape)
            if f.length:
                text = text.lstrip(fill) if right else text.rstrip(fill)
            return text or ("0" if is_digits else "")

        return plain

    # Dates

    def _date(self, f: RecordField, kind: str) -> str:
        if f.format is None:
            day = r"\d{4}-\d\d-\d\d"
            return day if kind == "date" else day + r"T\d\d:\d\d:\d\d(?:\.\d{1,6})?Z"
        found = ""
        for piece in re.findall(r"%.|[^%]", f.format, re.DOTALL):
            found += _LETTER_OF.get(piece[1:], "%") if piece[0] == "%" else re.escape(piece)
        return found

    def _padding(self, f: RecordField, body: str) -> str:
        if not f.length:
            return body
        fill = re.escape(f.fill or " ")
        return self._exactly(f, f"{fill}*{body}" if f.align == "right" else f"{body}{fill}*")

    # Numbers

    def _number(self, f: RecordField) -> str:
        """Return the expression of a number in its form; its exact width is part of it where zeros pad."""
        scale = scale_of(f, self._columns)
        sign, fill = f.sign or "minus", f.fill or ("0" if f.align != "left" else " ")
        tail = rf"\.\d{{{scale}}}" if scale and not f.implied else ""
        forms = []
        for before, after, last in _signs(sign, plain=f.plain_positive):
            taken = len(before) + bool(after) + (scale + 1 if tail else 0)
            room = (f.length or f.max or 1000) - taken - (1 if last else 0)
            if room < (0 if last and not tail else 1) - (1 if last else 0):
                continue
            if f.length and fill == "0":
                digits = rf"\d{{{room}}}"
            elif f.length or f.max:
                digits = rf"\d{{{0 if last and not tail else 1},{max(room, 0)}}}"
            else:
                digits = r"\d*" if last and not tail else r"\d+"
            body = digits + tail
            if last:
                body = f"{digits}{last}" if not tail else digits + rf"\.\d{{{scale - 1}}}" + last
                if tail and f.length and fill == "0":
                    body = rf"\d{{{room + 1}}}\.\d{{{scale - 1}}}{last}"
                elif tail:
                    body = rf"\d+\.\d{{{scale - 1}}}{last}"
            forms.append(re.escape(before) + body + after)
        form = f"(?:{'|'.join(forms)})"
        if f.length and fill != "0":
            padding = re.escape(fill)
            form = self._exactly(f, f"{form}{padding}*" if f.align == "left" else f"{padding}*{form}")
        return form

    def _exactly(self, f: RecordField, body: str) -> str:
        """Return the expression with its width; in a file of fixed widths the record looks at what is left instead."""
        if self._layout.fixed:
            return body
        return rf"(?=.{{{f.length}}}{re.escape(self._mark)}?{self._stop(f)}){body}"

    def is_loose(self, f: RecordField) -> bool:
        """Tell whether padding of the field could be taken for that of its neighbour."""
        if f.column is None and not f.is_total and not f.number:
            return False
        is_date = f.column is not None and f.map is None and self._columns[f.column].type in ("date", "timestamp")
        number = f.map is None and (f.column is None or self._columns[f.column].is_number)
        return is_date or (number and (f.fill or ("0" if f.align != "left" else " ")) != "0")

    def number_parser(self, f: RecordField) -> Callable[[str], int]:
        """Return what reads a written number, in units of 10^-12."""
        scale = scale_of(f, self._columns)
        unit = UNIT // 10**scale
        fill = f.fill or ("0" if f.align != "left" else " ")
        is_marked = not self._layout.fixed and self._layout.quoting != "never"
        if (
            f.sign in (None, "minus", "none")
            and not is_marked
            and (f.implied or not scale)
            and fill == "0"
            and not f.optional
            and not f.blank_when
            and not f.required_when
        ):
            return lambda text: int(text) * unit

        def parse(text: str) -> int:
            text = text.strip(self._mark + " ") if is_marked else text.strip(" ")
            text = text.strip(fill) if fill not in "0 " else text
            if not text or text == self._layout.null:
                return 0
            factor = 1
            if f.sign == "overpunch" and text[-1] in _PUNCHED:
                factor, last = _PUNCHED[text[-1]]
                text = f"{text[:-1]}{last}"
            if text[-1] in "+-":
                factor, text = (-1 if text[-1] == "-" else 1), text[:-1]
            return factor * int(text.replace(".", "")) * unit

        return parse


def _signs(sign: str, *, plain: bool) -> list[tuple[str, str, str]]:
    """Return what may stand before the digits, after them, and as the last digit."""
    match sign:
        case "leading":
            return [("", "", ""), ("-", "", "")] if plain else [("+", "", ""), ("-", "", "")]
        case "trailing":
            return [("", "", ""), ("", "-", "")] if plain else [("", "[+-]", "")]
        case "overpunch":
            return [("", "", "[0-9}J-R]" if plain else "[{A-I}J-R]")]
        case "minus":
            return [("", "", ""), ("-", "", "")]
        case _:
            return [("", "", "")]


def _strftime(value: date | datetime, format: str) -> str:
    """Write a date; years have four digits and half days are AM and PM, whatever the platform and the locale."""
    half = "AM" if getattr(value, "hour", 0) < 12 else "PM"
    pieces = re.findall(r"%.|[^%]", format, re.DOTALL)
    names = {"%Y": f"{value.year:04d}", "%y": f"{value.year:04d}"[2:], "%p": half}
    return "".join(names.get(piece) or (value.strftime(piece) if piece[0] == "%" else piece) for piece in pieces)
