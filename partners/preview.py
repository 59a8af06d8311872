"""Shows a layout to people: a file of invented rows with each record under a ruler of its fields, and the table of its fields.

Both are read from the layout alone; no row of the warehouse is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from partners import samples
from partners.figures import FileFigures
from partners.layout import Column, Layout, Record, RecordField, meets, scale_of
from partners.naming import BatchFacts
from partners.rereading import Rereader, spans
from partners.shaping import Shaper


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecLine:
    """One field in the partner's own terms; positions count from 1, and only fixed widths have them."""

    record: str
    number: int
    field: str
    start: str
    end: str
    length: str
    source: str


class _Text:
    """A file in memory."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self, figures: FileFigures) -> None:
        pass


def sample_file(layout: Layout, columns: Sequence[Column], facts: BatchFacts, count: int) -> bytes:
    """Return the first file of a batch of invented rows. Raises FileRefused when no row was found that fits."""
    lines = [json.dumps([n, *row]) for n, row in enumerate(samples.rows(layout, columns, facts, count), 1)]
    lines.append(json.dumps({"rows": count, "sums": {}}))
    files: list[_Text] = []

    def open_file(_: int) -> _Text:
        files.append(_Text())
        return files[-1]

    plain = layout.model_copy(update={"empty": "send", "compress": None})
    Shaper(plain, columns, facts).shape(lambda: iter(lines), open_file, lambda part: part)
    return files[0].data


def ruled(layout: Layout, columns: Sequence[Column], facts: BatchFacts, data: bytes) -> Iterator[str]:
    """Yield the lines of a file, each kind of record under its ruler: the numbers of its fields where they begin."""
    rereader = Rereader(layout, columns, facts)
    last = ""
    for record, line in _records(rereader, layout, data):
        if record is None:
            yield f"{'filler':<12}{line}"
            continue
        if record.record != last:
            yield ""
            if layout.fixed:
                yield f"{'':<12}{_scale(len(line))}"
            yield f"{'':<12}{_ruler(spans(rereader, record, line))}"
            last = record.record
        yield f"{record.record[:11]:<12}{line}"


def _records(rereader: Rereader, layout: Layout, data: bytes) -> Iterator[tuple[Record | None, str]]:
    text = data.decode("utf-8-sig" if layout.encoding == "utf-8-bom" else layout.encoding)
    text = text.removesuffix(layout.end_of_file)
    if layout.line_end_text:
        lines = text.removesuffix(layout.line_end_text).split(layout.line_end_text)
    else:
        lines = [text[at : at + (layout.fixed or 1)] for at in range(0, len(text), layout.fixed or 1)]
    starts, ends = layout.at("start"), layout.at("end")
    filler = (layout.block.fill * (layout.fixed or 1))[: layout.fixed or None] if layout.block else None
    count = len(lines)
    while filler and count and lines[count - 1] == filler:
        count -= 1
    body = [*layout.at("group_end"), *layout.at("group"), *layout.at("row")]
    for index, line in enumerate(lines):
        if index < len(starts):
            yield starts[index], line
        elif index >= count:
            yield None, line
        elif index >= count - len(ends):
            yield ends[index - (count - len(ends))], line
        else:
            yield next((record for record in body if rereader.records[id(record)].match(line)), None), line


def _scale(length: int) -> str:
    return "".join(str(n // 10 % 10) if n % 10 == 0 else "+" if n % 5 == 0 else "-" for n in range(1, length + 1))


def _ruler(starts: Sequence[int]) -> str:
    """Return field numbers at the places where the fields begin; where there is no room, a bar."""
    text = ""
    for number, (start, following) in enumerate(zip(starts, [*starts[1:], start_after(starts)], strict=True), 1):
        text = text.ljust(start)
        room = following - start
        text += str(number) if len(str(number)) <= max(room, 1) and room > 0 else "|"[:room]
    return text


def start_after(starts: Sequence[int]) -> int:
    """Return a place that leaves room for the last number."""
    return (starts[-1] if starts else 0) + 4


def spec(layout: Layout, columns: Sequence[Column]) -> Iterator[SpecLine]:
    """Yield every field of every record, to be laid beside the partner's own document."""
    known = {column.name: column for column in columns}
    for record in layout.records:
        at = 1
        for number, f in enumerate(layout.titles(record) if record.titles else record.fields, 1):
            length = f.length if layout.fixed or not record.titles else None
            yield SpecLine(
                record=record.record,
                number=number,
                field=f.name,
                start=str(at) if layout.fixed and length else "",
                end=str(at + length - 1) if layout.fixed and length else "",
                length=str(length) if length else f"<={f.max}" if f.max and not record.titles else "",
                source="title" if record.titles else describe(f, known),
            )
            at += length or 0


def describe(f: RecordField, columns: Mapping[str, Column]) -> str:
    """Return where a field's value comes from and how it is written, in words."""
    parts = [_source(f, columns)]
    shown = ("digits", "modulo", "over", "format", "zone", "match")
    parts += [f"{key} {getattr(f, key)}" for key in shown if getattr(f, key) is not None]
    if f.where:
        parts.append(f"where {_condition(f.where)}")
    if f.sign:
        parts.append(f"sign {f.sign}")
    if f.implied:
        parts.append("implied point")
    if f.values:
        parts.append(f"one of {', '.join(f.values)}")
    if f.map:
        parts.append("map " + ", ".join(f"{value} -> {text}" for value, text in f.map.items()))
    if f.blank_when:
        parts.append(f"blank when {_condition(f.blank_when)}")
    if f.required_when:
        parts.append(f"required when {_condition(f.required_when)}")
    parts += [key for key in ("optional", "truncate", "unique") if getattr(f, key)]
    return ", ".join(parts)


def _source(f: RecordField, columns: Mapping[str, Column]) -> str:
    match f.source:
        case "constant":
            return f"constant {f.constant!r}"
        case "blank":
            return "filler"
        case "column":
            column = columns.get(f.column or "")
            kind = column.type if column else "?"
            return f"column {f.column} ({kind}{f' {scale_of(f, columns)}' if kind == 'decimal' else ''})"
        case "sum":
            return f"sum of {f.sum}"
        case "count":
            return f"count of {f.count}"
        case "date":
            return "business date" if f.date == "business" else "instant of planning"
        case "number":
            return f"number: {f.number}"
        case "guid":
            return "GUID of the file"
        case _:
            return "letter of the revision"


def _condition(condition: Mapping[str, str | list[str]]) -> str:
    return " and ".join(f"{name} is {' or '.join(sorted(values))}" for name, values in meets(condition).items())
