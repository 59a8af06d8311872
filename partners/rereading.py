"""Reads a written file back and counts again: the second witness of every file, before it is sealed.

Shares nothing with the writer but the partner file: each record is one regular expression, made from the layout alone. Every
line must be one of the records, in a legal order; rows, lines, groups and sums are counted anew and compared with the totals
inside the file. A fault names the line, the record and the field, never a value.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from partners.errors import PartnerError
from partners.figures import UNIT, FileFigures
from partners.layout import Column, Layout, Record, RecordField, scale_of
from partners.naming import BatchFacts
from partners.reading_records import RecordReader, countable, row_markers, sum_key


class Mismatch(PartnerError):
    """A file is not what its layout says: it is never sealed."""


def _mismatch(text: str) -> Mismatch:
    return Mismatch(
        f"the written file does not read back as its layout says: {text}",
        "run the window again; when it happens again, report it: the file was not sealed",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which file of a batch is read: its part, its number, how many rows are in the parts before it, how many parts."""

    part: int = 1
    sequence: int = 1
    rows_before: int = 0
    parts: int | None = None


@dataclass(slots=True)
class _Count:
    """What was counted in a group or in the file; `claims` are totals that are in the file, to be compared."""

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
        self.sums = list(countable(layout, self.known))
        self.records = {
            id(record): RecordReader(record, layout, self.known, facts, self.sums) for record in layout.records
        }
        self.markers = row_markers(layout)

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

    def check(self, written: FileFigures) -> FileFigures:
        """End the file and compare its figures with the writer's; return them. Raises Mismatch."""
        found = self.close()
        if not self._markers:
            found = replace(found, rows=written.rows)
        if differences := sorted(written.differences(found)):
            raise _mismatch(f"{' and '.join(differences)} differs from what was written")
        return found

    def close(self) -> FileFigures:
        """End the file and return what it holds. Raises Mismatch."""
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
            raise _mismatch(f"it has {total} lines, which is not a whole number of blocks")

    def _is_header_only(self, ends: int) -> bool:
        """Whether the file is that of a batch without rows that leaves out the end records."""
        lines = self._line + len(self._waiting)
        return (
            self._layout.empty == "header-only"
            and bool(ends)
            and self._stage == ""
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

    def _row(self, record: RecordReader, found: re.Match[str]) -> None:
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

    def _check_numbers(self, record: RecordReader, found: re.Match[str]) -> None:
        now = {
            "row": self._file.rows + self._group.rows,
            "row_in_group": self._group.rows,
            "row_in_batch": self._place.rows_before + self._file.rows + self._group.rows,
            "line": self._line,
            "group": self._file.groups + self._group.groups,
        }
        if not self._markers:
            now = {"line": self._line, "group": now["group"]}
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
        """Read a record that is not a row: its totals are compared when the group or the file is complete."""
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
        """Compare the totals that are in the file with what was counted."""
        block = self._layout.block
        for line, record, f, claimed in count.claims:
            found: int | None
            key = sum_key(f)
            if key in self._sums:
                found = count.sums[self._sums.index(key)]
            elif f.count and not f.where and (self._markers or f.count != "rows"):
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

    def _no_match(self, record: RecordReader, line: str) -> Mismatch:
        return _mismatch(f"line {self._line} is not a record {record.record.record}: {record.explain(line)}")


def spans(rereader: Rereader, record: Record, line: str) -> list[int]:
    """Return where each field of a record's line begins, from 0."""
    compiled = RecordReader(record, rereader.layout, rereader.known, rereader.facts, rereader.sums, is_marked=True)
    found = compiled.match(line)
    return [found.start(f"f{index}") for index in range(compiled.width)] if found else [0]
