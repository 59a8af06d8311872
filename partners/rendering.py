"""Makes the files of a batch from rows of a CSV file, without a database: the very bytes that would be sealed, then read back."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path

from partners.compressing import Compressor
from partners.errors import PartnerError
from partners.figures import FileFigures, as_decimal
from partners.layout import Column
from partners.model import Feed
from partners.naming import BatchFacts
from partners.refusals import FileRefused
from partners.rereading import Place, Rereader
from partners.shaping import Shaper
from partners.values import Unfit, parse_number


class RowsUnreadable(PartnerError):
    """The CSV file of rows is not what the feed needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The files that were made, with their figures, and what people should know about the rows."""

    files: Sequence[tuple[Path, FileFigures]]
    notes: Sequence[str]


def render(feed: Feed, facts: BatchFacts, rows: Path, first_sequence: int, folder: Path) -> Rendered:
    """Write the batch's files into a folder. Raises RowsUnreadable, FileRefused, EmptyBatch, Mismatch; no file is left then."""
    layout, columns = feed.full_layout, feed.columns
    read, notes = _read_rows(feed, rows)
    lines = [json.dumps([number, *row], ensure_ascii=False) for number, row in enumerate(read, 1)]
    lines.append(json.dumps(_control(feed, read)))
    folder.mkdir(parents=True, exist_ok=True)
    made: list[_File] = []

    def open_file(part: int) -> _File:
        try:
            name = feed.name_file(facts, first_sequence + part - 1, part)
        except ValueError as error:
            raise FileRefused(str(error), "correct file_name in the partner file") from None
        made.append(_File(folder / name, layout.compress))
        return made[-1]

    try:
        shaped = Shaper(layout, columns, facts).shape(
            lambda: iter(lines), open_file, lambda part: first_sequence + part - 1
        )
        _reread(feed, facts, made, shaped.files, first_sequence)
    except BaseException:
        for file in made:
            file.drop()
        raise
    for file in made:
        file.keep()
    return Rendered(files=[(file.path, figures) for file, figures in zip(made, shaped.files, strict=True)], notes=notes)


class _File:
    """A file that gets its name when the whole batch is right. What is read back is kept beside it until then."""

    def __init__(self, path: Path, compress: str | None) -> None:
        self.path = path
        self.plain = path.with_name(f".{path.name}.plain")
        self._packed = path.with_name(f".{path.name}.packed")
        self._compress = compress
        self._out = self.plain.open("wb")

    def write(self, data: bytes) -> None:
        self._out.write(data)

    def close(self, _: FileFigures) -> None:
        self._out.close()

    def keep(self) -> None:
        if self._compress:
            with self.plain.open("rb") as source, self._packed.open("wb") as packed:
                compressor = Compressor(self._compress, self.path.name)
                while piece := source.read(1 << 20):
                    packed.write(compressor.feed(piece))
                packed.write(compressor.close())
            self._packed.replace(self.path)
            self.plain.unlink()
        else:
            self.plain.replace(self.path)

    def drop(self) -> None:
        self._out.close()
        self.plain.unlink(missing_ok=True)


def _reread(feed: Feed, facts: BatchFacts, made: Sequence[_File], written: Sequence[FileFigures], first: int) -> None:
    rereader, before = Rereader(feed.full_layout, feed.columns, facts), 0
    for file, figures in zip(made, written, strict=True):
        place = Place(part=figures.part, sequence=first + figures.part - 1, rows_before=before, parts=len(made))
        reader = rereader.file(place)
        with file.plain.open("rb") as source:
            while piece := source.read(1 << 20):
                reader.feed(piece)
        reader.check(figures)
        before += figures.rows


def _read_rows(feed: Feed, path: Path) -> tuple[list[list[str | None]], list[str]]:
    """Return the rows in the order of `order_by`, each with the feed's columns; an empty cell is NULL."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            titles = next(reader, [])
            cells = [row for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RowsUnreadable(
            f"{path}: {getattr(error, 'strerror', None) or error}",
            "give a CSV file in UTF-8 whose first line is the columns' names",
        ) from None
    names = [column.name for column in feed.columns]
    if missing := [name for name in names if name not in titles]:
        raise RowsUnreadable(
            f"{path} has no column {', '.join(missing)}", f"its first line must name {', '.join(names)}"
        )
    for number, row in enumerate(cells, 1):
        if len(row) != len(titles):
            raise RowsUnreadable(
                f"{path}: row {number} has {len(row)} values, the first line {len(titles)}", "correct the CSV file"
            )
    notes = _order(feed, titles, cells)
    places = [titles.index(name) for name in names]
    return [[row[place] or None for place in places] for row in cells], notes


def _order(feed: Feed, titles: Sequence[str], cells: list[list[str]]) -> list[str]:
    """Sort the rows as the database would, as far as the CSV file has the columns; return what is worth a note."""
    types = {column.name: column for column in feed.columns}
    if any(name not in titles for name in feed.order_by):
        return ["the rows keep their order: not every column of order_by is in the CSV file"]
    keys = [_key(types.get(name), titles.index(name)) for name in feed.order_by]

    def key(row: list[str]) -> tuple[object, ...]:
        return tuple(each(row) for each in keys)

    before = list(cells)
    cells.sort(key=key)
    notes = ["the rows were sorted by order_by, as the database does"] if cells != before else []
    if any(key(a) == key(b) for a, b in pairwise(cells)):
        notes.append("order_by does not decide the order of all rows: at night such a batch is refused")
    return notes


def _key(column: Column | None, place: int) -> Callable[[list[str]], object]:
    """Return a value's place in the order: numbers by size, texts by their bytes, NULL last."""
    if column is not None and column.is_number:
        return lambda row: (not row[place], _number(row[place]), row[place])
    return lambda row: (not row[place], row[place].encode())


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text or 0)
    except InvalidOperation:
        return Decimal(0)
    return number if number.is_finite() else Decimal(0)


def _control(feed: Feed, rows: Sequence[Sequence[str | None]]) -> dict[str, object]:
    """Return what the database would count about the rows."""
    sums: dict[str, str] = {}
    repeated: dict[str, int] = {}
    unique = {f.column for f in feed.full_layout.row_fields if f.unique}
    for index, column in enumerate(feed.columns):
        if column.is_number:
            sums[column.name] = _sum(row[index] for row in rows)
        if column.name in unique:
            counts = Counter(row[index] for row in rows if row[index] is not None)
            repeated[column.name] = sum(counts.values()) - len(counts)
    return {"rows": len(rows), "sums": sums, "repeated": repeated}


def _sum(values: Iterator[str | None]) -> str:
    """Return an exact sum; what is not a number is refused where it is written."""
    total = 0
    for value in values:
        with suppress(Unfit):
            total += parse_number(value or "0")
    return as_decimal(total)
