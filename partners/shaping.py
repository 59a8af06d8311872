"""Rows become the bytes of a batch's files: the writer.

The staged rows are lines: a JSON array per row, its number first, in order, and last the control object of the same statement.
Totals that stand before their rows are read from the same rows ahead of the writing, a file or a group at a time, so memory is
constant. Does not read storage, does not check the written bytes: `rereading` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from partners.figures import Control, FileFigures
from partners.layout import Column, Layout, Place
from partners.naming import BatchFacts
from partners.record_writing import Read, RecordWriter, Scope, Totals, scope_of
from partners.refusals import EmptyBatch, FileRefused
from partners.values import Unfit, codec

Rows = Callable[[], Iterator[str]]

_FLUSH_LINES = 2000


class Sink(Protocol):
    """Where one file goes."""

    def write(self, data: bytes) -> None: ...

    def close(self, figures: FileFigures) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped:
    """What became of a batch: the figures of each file, in order, and the sums of every number column."""

    files: Sequence[FileFigures]
    rows: int
    sums: Mapping[str, int]


class Shaper:
    """Writes the files of one batch."""

    def __init__(self, layout: Layout, columns: Sequence[Column], facts: BatchFacts, *, fast: bool = True) -> None:
        """Compile the layout. Without `fast` every row is written the plain way: the same bytes, slower."""
        self._records = RecordWriter(layout, columns, facts, fast=fast)

    def shape(
        self, rows: Rows, open_file: Callable[[int], Sink], sequence: Callable[[int], int], *, has_totals: bool = False
    ) -> Shaped:
        """Write every file; `sequence` gives a part's number, `has_totals` whether the control object must have the mart's.

        Raises FileRefused with all refusals, EmptyBatch. A sink that is open then was not closed: its file is not whole.
        """
        return _Writing(self._records, rows, open_file, sequence).run(has_totals=has_totals)


class _Writing:
    """One run of the writer over the rows."""

    def __init__(
        self, records: RecordWriter, rows: Rows, open_file: Callable[[int], Sink], sequence: Callable[[int], int]
    ) -> None:
        self._records = records
        self._layout = records.layout
        self._now = records.now
        self._rows = rows
        self._open_file = open_file
        self._sequence = sequence
        self._codec = codec(self._layout)
        self._per_file = self._layout.rows_per_file or 0
        places: tuple[Place, ...] = ("start", "group", "group_end", "end")
        self._records_at = {place: self._layout.at(place) for place in places}
        self._edge_lines = len(self._records_at["start"]), len(self._records_at["end"])
        self._buffer: list[str] = []
        self._sink: Sink | None = None
        self._key: tuple[str, ...] | None = None
        self._group = self._zero()
        self._file = self._zero()
        self._batch = self._zero()
        self._files: list[FileFigures] = []
        needs = set(_ahead_of(self._layout))
        self._ahead = {scope: self._totals_of(scope) for scope in ("group", "file") if scope in needs}
        # Sums that were read ahead are not made again: the reader counts what is written of the same, pinned rows.
        self._is_summed = "file" in self._ahead and not self._layout.group_by
        if "batch" in needs:
            self._now.totals["batch"] = self._whole_batch()

    def run(self, *, has_totals: bool) -> Shaped:
        records, now, control = self._records, self._now, None
        rows = self._rows()
        line = next(rows, None)
        while line is not None:
            read = records.read(line)
            if read is None:
                control = self._control(line, now.row_in_batch)
                break
            if read.number != now.row_in_batch + 1:
                raise _not_in_order(now.row_in_batch + 1, read.number)
            self._row(read, line)
            line = self._plain_rows(rows) if records.is_plain else next(rows, None)
        if control is None or next(rows, None) is not None:
            raise FileRefused(
                "the extract does not end with its control object: it was cut, or changed",
                "run the window again: the rows are extracted anew",
            )
        return self._finish(control, has_totals=has_totals)

    def _control(self, line: str, number: int) -> Control | None:
        if line.startswith("["):
            raise FileRefused(
                f"row {number + 1} of the extract is not a number with {len(self._records.page.columns)} texts",
                "run the window again; when it happens again, report it",
            )
        return Control.parse(line)

    def _finish(self, control: Control, *, has_totals: bool) -> Shaped:
        if self._records.refusals.count:
            raise self._records.refusals.error()
        numbers = self._records.numbers
        if self._now.row_in_batch == 0:
            _raise_faults(control.faults(0, {}, has_totals=has_totals))
            self._empty()
        elif self._sink is not None:
            self._close_file()
        if self._records.refusals.count:
            raise self._records.refusals.error()
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

    def _zero(self) -> Totals:
        return Totals([0] * len(self._records.sums))

    # Rows

    def _plain_rows(self, rows: Iterator[str]) -> str | None:
        """Write rows the fast way; return the first that needs more: another file, the plain way, or that is not a row.

        Does in one loop what `_row` does, for layouts with one kind of row and no groups: a row costs microseconds.
        """
        records, now, buffer, sums = self._records, self._now, self._buffer, self._group.sums
        (variant,) = records.variants
        match, specials, (text,) = variant.match, variant.specials, variant.texts
        adds, is_numbered = [] if self._is_summed else records.quick_sums, records.is_numbered
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

    def _row(self, read: Read, line: str) -> None:
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
        lines = self._records.write_row(read, line)
        now.line += len(lines)
        group.rows += 1
        group.lines += len(lines)
        amounts = self._records.amounts(read, line, self._records.refusals)
        if not self._is_summed:
            group.sums = [total + amount for total, amount in zip(group.sums, amounts, strict=True)]
        self._buffer += lines
        if len(self._buffer) > _FLUSH_LINES:
            self._flush()

    def _others(self, place: Place) -> None:
        for record in self._records_at[place]:
            self._buffer.append(self._records.other_line(record))
            self._now.line += 1

    # Groups and files

    def _begin_group(self, read: Read, line: str) -> None:
        now = self._now
        self._key = read.key
        now.group += 1
        now.row_in_group = 0
        now.first_row = self._records.row_of(read, line)
        self._group = self._zero()
        self._group.groups = 1
        self._group.lines = self._records.group_lines
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
        starts, ends = self._edge_lines
        self._file.lines = starts + (0 if without_end else ends)
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
        if self._is_summed:
            self._file.sums = [*self._now.totals["file"].sums]
        self._batch.add(self._file)
        if not without_end:
            self._others("end")
        self._buffer += self._filler()
        self._flush(is_last=True)
        names = self._records.numbers
        sums = dict(zip(names, self._file.sums, strict=False))
        figures = FileFigures(part=self._now.part, rows=self._file.rows, lines=self._now.line, sums=sums)
        self._files.append(figures)
        if not self._records.refusals.count:
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
        if text and not self._records.refusals.count:
            self._sink.write(text.encode(self._codec))

    # Totals that stand before their rows

    def _plain_sums(self, rows: Iterator[str], group: Totals, room: int) -> tuple[str | None, int]:
        """Add rows the fast way, as `_plain_rows` writes them; return the first that needs more, and how many were added."""
        (variant,), adds, sums = self._records.variants, self._records.quick_sums, group.sums
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

    def _whole_batch(self) -> Totals:
        """Return the totals of the batch, from a reading of all rows ahead, and how many files there will be."""
        batch, files = self._zero(), 0
        for totals in self._totals_of("file"):
            batch.add(totals)
            files += 1
        self._now.parts = max(files, 1)
        return batch

    def _totals_of(self, wanted: Scope) -> Iterator[Totals]:
        """Yield the totals of each group or file of the batch, in order, reading the rows ahead of the writing."""
        records, layout = self._records, self._layout
        file: Totals | None = None
        group, key, in_file = self._zero(), None, 0
        is_open = False
        rows = self._rows()
        line = next(rows, None)
        while line is not None:
            read = records.read(line)
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
                file.lines = sum(self._edge_lines)
            if layout.group_by and (not is_open or read.key != key):
                if is_open:
                    file.add(group)
                    if wanted == "group":
                        yield group
                group, key, is_open = self._zero(), read.key, True
                group.groups, group.lines = 1, records.group_lines
            in_file += 1
            group.rows += 1
            group.lines += records.count_lines(read, line)
            for index, amount in enumerate(records.amounts(read, line)):
                group.sums[index] += amount
            if records.is_plain:
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
