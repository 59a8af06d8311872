"""Another writer of partners' files, for tests: it interprets docs/partners.md value by value, slowly, and checks nothing.

It shares no code with the product's writer. What that one accepts must have the bytes that this one gives.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from partners.naming import BatchFacts

Row = Mapping[str, str | None]
_PLAIN = {"Æ": "AE", "æ": "ae", "Ø": "O", "ø": "o", "ß": "ss", "\N{FRACTION SLASH}": "/", "€": "EUR"}


@dataclass(kw_only=True)
class File:
    """One file that is being written: its rows in groups, and the lines so far."""

    layout: Mapping[str, Any]
    types: Mapping[str, Mapping[str, Any]]
    facts: BatchFacts
    first_sequence: int
    parts: list[list[list[Row]]]
    part: int
    lines: list[str] = field(default_factory=list)
    row: int = 0
    row_in_group: int = 0
    group: int = 0
    totals: dict[str, int] = field(default_factory=dict)

    @property
    def groups(self) -> list[list[Row]]:
        return self.parts[self.part - 1]


def files_of(
    layout: Mapping[str, Any],
    types: Mapping[str, Mapping[str, Any]],
    rows: Sequence[Row],
    facts: BatchFacts,
    first: int,
) -> list[bytes]:
    """Return the files of a layout, which is as its YAML file has it, with all defaults."""
    size = layout.get("rows_per_file") or max(len(rows), 1)
    cut = [rows[at : at + size] for at in range(0, len(rows), size)] or [[]]
    parts = [_groups(layout, part) for part in cut]
    return [
        _file(File(layout=layout, types=types, facts=facts, first_sequence=first, parts=parts, part=part))
        for part in range(1, len(parts) + 1)
    ]


def _groups(layout: Mapping[str, Any], rows: Sequence[Row]) -> list[list[Row]]:
    keys = layout.get("group_by") or []
    return [list(group) for _, group in groupby(rows, key=lambda row: [row[key] for key in keys])] if rows else []


def _file(file: File) -> bytes:
    records = file.layout["records"]
    count = _count_lines(file)
    file.totals = {"lines": count}
    for record in _at(records, "start"):
        _line(file, record, {}, None)
    for number, rows in enumerate(file.groups, 1):
        file.group, file.row_in_group = number, 0
        for record in _at(records, "group"):
            _line(file, record, rows[0], rows)
        for row in rows:
            file.row, file.row_in_group = file.row + 1, file.row_in_group + 1
            for record in _at(records, "row"):
                if _fits(row, record.get("when")):
                    _line(file, record, row, None)
        for record in _at(records, "group_end"):
            _line(file, record, rows[0], rows)
    if file.groups or file.layout["empty"] != "header-only":
        for record in _at(records, "end"):
            _line(file, record, {}, None)
    return _bytes(file)


def _bytes(file: File) -> bytes:
    layout, lines = file.layout, file.lines
    if block := layout.get("block"):
        filler = (block["fill"] * layout["fixed"])[: layout["fixed"]]
        lines = lines + [filler] * (-len(lines) % block["lines"])
    end = {"lf": "\n", "crlf": "\r\n", "cr": "\r", "none": ""}[layout["line_end"]]
    text = "".join(line + end for line in lines)
    if layout["last_line"] == "open" and end:
        text = text.removesuffix(end)
    text += layout["end_of_file"]
    bom = "\ufeff" if layout["encoding"] == "utf-8-bom" else ""
    return (bom + text).encode(_codec(layout))


def _codec(layout: Mapping[str, Any]) -> str:
    return str(layout["encoding"]).removesuffix("-bom")


def _at(records: Sequence[Mapping[str, Any]], place: str) -> list[Mapping[str, Any]]:
    return [record for record in records if record.get("at", "row") == place]


def _fits(row: Row, condition: Mapping[str, Any] | None) -> bool:
    wanted = (condition or {}).items()
    return all((row[key] or "") in (value if isinstance(value, list) else [value]) for key, value in wanted)


def _lines_of(file: File, rows: Sequence[Row]) -> int:
    records = _at(file.layout["records"], "row")
    return sum(_fits(row, record.get("when")) for row in rows for record in records)


def _count_lines(file: File) -> int:
    records = file.layout["records"]
    around = len(_at(records, "group")) + len(_at(records, "group_end"))
    has_end = file.groups or file.layout["empty"] != "header-only"
    outer = len(_at(records, "start")) + (len(_at(records, "end")) if has_end else 0)
    return outer + sum(around + _lines_of(file, rows) for rows in file.groups)


def _line(file: File, record: Mapping[str, Any], row: Row, group: list[Row] | None) -> None:
    layout = file.layout
    if record.get("titles"):
        shown = record["fields"] or _at(layout["records"], "row")[0]["fields"]
        cells = [_quoted(layout, _text(layout, f, f["name"], padded=False)) for f in shown]
    else:
        cells = [_cell(file, f, row, group) for f in record["fields"]]
    file.lines.append((layout.get("delimited") or "").join(cells))


def _quoted(layout: Mapping[str, Any], text: str) -> str:
    if layout.get("fixed") or layout["quote"] == "never":
        return text
    is_split = (text + layout["delimited"]).index(layout["delimited"]) < len(text)
    needs = is_split or '"' in text or (layout.get("null") and text == layout["null"])
    if layout["quote"] == "always" or needs:
        return '"' + text.replace('"', '""') + '"'
    return text


def _cell(file: File, f: Mapping[str, Any], row: Row, group: list[Row] | None) -> str:
    layout = file.layout
    if f.get("column") and _is_missing(f, row):
        if layout.get("fixed"):
            return " " * int(f["length"])
        is_null = row[f["column"]] is None and not (f.get("blank_when") and _fits(row, f["blank_when"]))
        return str(layout.get("null") or "") if is_null else _quoted(layout, "")
    return _quoted(layout, _value(file, f, row, group))


def _is_missing(f: Mapping[str, Any], row: Row) -> bool:
    if f.get("blank_when") and _fits(row, f["blank_when"]):
        return True
    return (row[f["column"]] or "") == "" and "" not in (f.get("map") or {})


def _value(file: File, f: Mapping[str, Any], row: Row, group: list[Row] | None) -> str:
    layout, facts = file.layout, file.facts
    if column := f.get("column"):
        value, kind = row[column] or "", file.types[column]
        if f.get("map"):
            return _text(layout, f, f["map"][value])
        if kind["type"] in ("integer", "decimal"):
            return _number(f, Decimal(value), kind.get("scale") or 0)
        if kind["type"] == "date":
            day = date.fromisoformat(value)
            return _text(layout, f, _strftime(day, f["format"]) if f.get("format") else value)
        if kind["type"] == "timestamp":
            return _text(layout, f, _moment(datetime.fromisoformat(value), f, facts.time_zone))
        return _text(layout, f, value)
    if f.get("sum"):
        return _number(f, _sum(file, f, group), file.types[f["sum"]].get("scale") or 0)
    if f.get("count") or f.get("number"):
        return _number(f, Decimal(_known_number(file, f, group)), 0)
    if f.get("date") == "business":
        return _text(layout, f, _strftime(facts.business_date, f.get("format") or "%Y-%m-%d"))
    if f.get("date"):
        return _text(layout, f, _moment(facts.made, f, facts.time_zone))
    known = {"guid": facts.guid(file.part), "letter": "ABC"[facts.revision - 1], "blank": ""}
    return _text(layout, f, next((text for key, text in known.items() if f.get(key)), f.get("constant") or ""))


def _known_number(file: File, f: Mapping[str, Any], group: list[Row] | None) -> int:
    before = sum(len(rows) for part in file.parts[: file.part - 1] for rows in part)
    numbers = {
        "sequence": file.first_sequence + file.part - 1, "part": file.part, "parts": len(file.parts), "line": len(file.lines) + 1,
        "row": file.row, "row_in_group": file.row_in_group, "row_in_batch": before + file.row, "group": file.group,
    }  # fmt: skip
    if f.get("number"):
        return numbers[f["number"]]
    match f["count"]:
        case "rows":
            return sum(_fits(row, f.get("where")) for row in _rows(file, f, group))
        case "groups":
            groups = [len(part) if file.layout.get("group_by") else 0 for part in file.parts]
            return sum(groups) if f.get("over") == "batch" else groups[file.part - 1]
        case "lines" if group is not None and f.get("over") is None:
            records = file.layout["records"]
            return _lines_of(file, group) + len(_at(records, "group")) + len(_at(records, "group_end"))
        case "lines":
            return file.totals["lines"]
        case _:
            return -(-file.totals["lines"] // int(file.layout["block"]["lines"]))


def _rows(file: File, f: Mapping[str, Any], group: list[Row] | None) -> list[Row]:
    if group is not None and f.get("over") is None:
        return group
    parts = file.parts if f.get("over") == "batch" else [file.groups]
    return [row for part in parts for rows in part for row in rows]


def _sum(file: File, f: Mapping[str, Any], group: list[Row] | None) -> Decimal:
    rows = [row for row in _rows(file, f, group) if _fits(row, f.get("where"))]
    with localcontext(prec=100):
        total = sum((Decimal(row[f["sum"]] or 0) for row in rows), Decimal(0))
    return Decimal(abs(int(total)) % f["modulo"]) if f.get("modulo") else total


def _number(f: Mapping[str, Any], value: Decimal, scale: int) -> str:
    scale = scale if f.get("scale") is None else f["scale"]
    sign, negative = f.get("sign") or "minus", value < 0
    digits = str(int(abs(value).scaleb(scale))).rjust(scale + 1, "0")
    if scale and not f.get("implied"):
        digits = f"{digits[:-scale]}.{digits[-scale:]}"
    elif f.get("implied"):
        digits = digits.lstrip("0") or "0"
    ahead = "-" if negative and sign in ("minus", "leading") else ""
    behind = "-" if negative and sign == "trailing" else ""
    if not negative and not f.get("plain_positive"):
        ahead, behind = "+" if sign == "leading" else ahead, "+" if sign == "trailing" else behind
    if sign == "overpunch" and (negative or not f.get("plain_positive")):
        digits = digits[:-1] + ("}JKLMNOPQR" if negative else "{ABCDEFGHI")[int(digits[-1])]
    length = f.get("length") or 0
    if f.get("align") == "left":
        return (ahead + digits + behind).ljust(length, f.get("fill") or " ")
    if (f.get("fill") or "0") == "0":
        return ahead + digits.rjust(length - len(ahead + behind), "0") + behind
    return (ahead + digits + behind).rjust(length, f["fill"])


def _text(layout: Mapping[str, Any], f: Mapping[str, Any], text: str, *, padded: bool = True) -> str:
    text = unicodedata.normalize("NFC", text)
    if layout["transliterate"]:
        text = "".join(_plain(letter, _codec(layout)) for letter in text)
    in_bytes = layout["lengths"] == "bytes"
    if f.get("truncate"):
        text = text[: f.get("max") or f.get("length")]
    if not padded and not layout.get("fixed"):
        return text
    missing = (f.get("length") or 0) - (len(text.encode(_codec(layout))) if in_bytes else len(text))
    filling = (f.get("fill") or " ") * max(missing, 0)
    return filling + text if f.get("align") == "right" else text + filling


def _plain(letter: str, codec: str) -> str:
    try:
        letter.encode(codec)
    except UnicodeEncodeError:
        return "".join(
            _PLAIN.get(each, each) for each in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(each)
        )
    return letter


def _strftime(day: date, form: str) -> str:
    """Years have four digits, offsets four: before standard time they had seconds, which are left out."""
    offset = day.strftime("%z")[:5]
    return day.strftime(form.replace("%Y", f"{day.year:04d}").replace("%z", offset))


def _moment(moment: datetime, f: Mapping[str, Any], zone: str) -> str:
    if f.get("format"):
        return _strftime(moment.astimezone(ZoneInfo(f.get("zone") or zone)), f["format"])
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "Z"
