"""Shapes rows without services: staged lines as the database gives them, files in memory, and the reader over them."""

# ruff: noqa: E501 - a layout reads best on one line; look-alike letters are on purpose

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext

import yaml

from partners.figures import FileFigures
from partners.layout import Column, Layout
from partners.naming import BatchFacts
from partners.rereading import Place, Rereader
from partners.shaping import Shaped, Shaper

FACTS = BatchFacts(
    batch="lloyds.credits.2026-11-27.1",
    partner="lloyds",
    business_date=date(2026, 11, 27),
    made=datetime(2026, 11, 28, 3, 4, 5, tzinfo=UTC),
    time_zone="Europe/Athens",
)
FIRST_SEQUENCE = 9

Row = Sequence[str | None]


def columns_of(*named: str | Mapping[str, object]) -> list[Column]:
    """Return columns: `amount:2` is a decimal, `n:integer` and so on another type, a bare name a text."""
    found = []
    for each in named:
        name, _, kind = str(each).partition(":")
        if kind.isdigit():
            found.append(Column(name=name, type="decimal", scale=int(kind)))
        else:
            found.append(Column.model_validate({"name": name, "type": kind or "text"}))
    return found


def layout_of(text: str | Mapping[str, object]) -> Layout:
    return Layout.model_validate(yaml.safe_load(text) if isinstance(text, str) else text)


def staged(columns: Sequence[Column], rows: Sequence[Row], control: Mapping[str, object] | None = None) -> list[str]:
    """Return the lines of an extract: rows with their number, then what the database counted."""
    lines = [json.dumps([number, *row], ensure_ascii=False) for number, row in enumerate(rows, 1)]
    sums: dict[str, str] = {}
    for index, column in enumerate(columns):
        if column.is_number:
            values = [Decimal(row[index] or 0) for row in rows if _is_number(row[index])]
            with localcontext(prec=200):
                sums[column.name] = str(sum(values, Decimal(0)))
    return [*lines, json.dumps({"rows": len(rows), "sums": sums} | dict(control or {}))]


def _is_number(value: str | None) -> bool:
    try:
        return Decimal(value or 0).is_finite()
    except ArithmeticError:
        return False


class Kept:
    """A file in memory."""

    def __init__(self) -> None:
        self.data = b""
        self.figures: FileFigures | None = None

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self, figures: FileFigures) -> None:
        self.figures = figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    files: list[bytes]
    shaped: Shaped


def write(
    layout: Layout,
    columns: Sequence[Column],
    lines: Sequence[str],
    facts: BatchFacts = FACTS,
    *,
    fast: bool = True,
    **more: bool,
) -> Written:
    kept: list[Kept] = []

    def open_file(part: int) -> Kept:
        kept.append(Kept())
        return kept[-1]

    shaper = Shaper(layout, columns, facts, fast=fast)
    shaped = shaper.shape(lambda: iter(lines), open_file, lambda part: FIRST_SEQUENCE + part - 1, **more)
    return Written(files=[file.data for file in kept], shaped=shaped)


def shape(
    text: str | Mapping[str, object], columns: Sequence[Column], rows: Sequence[Row], facts: BatchFacts = FACTS
) -> list[bytes]:
    """Write and read back; return the files."""
    layout = layout_of(text)
    written = write(layout, columns, staged(columns, rows), facts)
    reread(layout, columns, written, facts)
    return written.files


def reread(
    layout: Layout, columns: Sequence[Column], written: Written, facts: BatchFacts = FACTS, piece: int = 97
) -> None:
    """Read every file back in pieces and compare the figures of writer and reader."""
    rereader, before = Rereader(layout, columns, facts), 0
    for data, figures in zip(written.files, written.shaped.files, strict=True):
        place = Place(
            part=figures.part, sequence=FIRST_SEQUENCE + figures.part - 1, rows_before=before, parts=len(written.files)
        )
        found = read_file(rereader, data, place, piece)
        assert (found.part, found.rows, found.lines) == (figures.part, figures.rows, figures.lines), (found, figures)
        assert found.sums == {name: figures.sums[name] for name in found.sums}
        before += found.rows


def read_file(rereader: Rereader, data: bytes, place: Place | None = None, piece: int = 97) -> FileFigures:
    reader = rereader.file(place or Place(sequence=FIRST_SEQUENCE, parts=1))
    for at in range(0, len(data), piece):
        reader.feed(data[at : at + piece])
    return reader.close()


# Random layouts and rows: every form, values that fit and values that do not.

_WORDS = [
    "A",
    "INV 50",
    "O'NEIL",
    "Ærø",
    "Zoë",
    "a,b",
    'say "x"',
    "50%",
    "%",
    "a|b",
    "½",
    "漢字",
    "x" * 30,
    "",
    " ",
    "tail ",
    "ABC",
    "e\u0301",
    "tab\t",
    "€5",
    "H",
    "T",
    "9999999999",
]
_NUMBERS = [
    "0",
    "5",
    "-5",
    "12",
    "123456",
    "-99",
    "1.5",
    "19241.69",
    "-0.05",
    "0.05",
    "0.50",
    "007",
    "-0",
    "NaN",
    "1e3",
    "99999999999",
    "100.00",
    "12.30",
    "-12.34",
]
_DATES = ["2026-11-27", "0001-01-01", "9999-12-31", "2024-02-29", "2026-02-30", "infinity", "2026-11-27T00:00:00"]
_MOMENTS = [
    "2026-11-27T10:11:12+00:00", "2026-10-25T01:30:00+00:00", "2026-03-29T00:59:59.5+00:00", "2026-07-01T23:59:59.123456+02:00",
    "1890-05-05T00:00:00+00:00", "2026-11-27T10:11:12", "infinity", "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00",
    "2026-11-27T10:11:60+00:00", "2026-11-27T10:11:12Z",
]  # fmt: skip


def random_layout(rng: random.Random) -> tuple[Layout, list[Column]]:
    """Return a layout that lint would accept as far as the writer can tell, and its columns."""
    columns = columns_of("kind", "a", "b", "n:integer", "m:2", "d:date", "t:timestamp", "g")
    fixed = rng.random() < 0.4
    data: dict[str, object] = {
        "line_end": rng.choice(["lf", "crlf", "cr"] + (["none"] if fixed else [])),
        "encoding": rng.choice(["ascii", "latin-1", "cp1252", "utf-8", "utf-8", "utf-8-bom", "cp037", "cp1140"]),
        "transliterate": rng.random() < 0.3,
        "last_line": rng.choice(["ended", "ended", "open"]),
        "end_of_file": rng.choice(["", "", "\x1a"]),
        "empty": rng.choice(["send", "header-only"]),
        "lengths": rng.choice(["characters", "characters", "bytes"]),
    }
    if data["line_end"] == "none":
        data["last_line"] = "ended"
    if not fixed:
        data |= {
            "delimited": rng.choice([",", ";", "|", "%%", "\t"]),
            "quote": rng.choice(["never", "minimal", "always"]),
        }
        data["null"] = rng.choice(["", "", "NULL"]) if data["quote"] != "never" else ""
    if rng.random() < 0.4:
        data["rows_per_file"] = rng.choice([1, 2, 3, 7])
    grouped = rng.random() < 0.3
    if grouped:
        data["group_by"] = ["g"]
    kinds = rng.random() < 0.3
    records: list[dict[str, object]] = []
    if rng.random() < 0.3 and not fixed:
        records.append({"record": "titles", "titles": True})
    if rng.random() < 0.7:
        records.append({"record": "H", "at": "start", "fields": _head(rng, "H")})
    if grouped:
        records.append(
            {
                "record": "B",
                "at": "group",
                "fields": [
                    {"constant": "B"},
                    {"column": "g"},
                    {"number": "group"},
                    {"count": "rows"},
                    {"sum": "m", "sign": "minus"},
                ],
            }
        )
    records.append({"record": "R", "at": "row", "fields": _row(rng), **({"when": {"kind": "A"}} if kinds else {})})
    if kinds:
        records.append(
            {"record": "S", "at": "row", "when": {"kind": ["B", "C"]}, "fields": [{"constant": "S"}, *_row(rng)]}
        )
    if grouped:
        records.append(
            {
                "record": "E",
                "at": "group_end",
                "fields": [{"constant": "E"}, {"count": "lines"}, {"sum": "n", "modulo": 100, "sign": "absolute"}],
            }
        )
    if rng.random() < 0.8:
        records.append({"record": "T", "at": "end", "fields": _head(rng, "T")})
    if fixed:
        _fix(records, rng)
        data["fixed"] = 220
        if rng.random() < 0.4:
            data["block"] = {"lines": rng.choice([2, 5]), "fill": "9"}
    data["records"] = records
    return layout_of(data), columns


def _head(rng: random.Random, letter: str) -> list[dict[str, object]]:
    pool: list[dict[str, object]] = [
        {"date": "business", "format": "%Y%m%d"},
        {"date": "made", "format": "%y%j%H%M%S"},
        {"number": "sequence", "length": 6},
        {"number": "part"},
        {"number": "parts"},
        {"number": "line"},
        {"guid": "file"},
        {"letter": "revision"},
        {"count": "rows", "length": 9},
        {"count": "lines"},
        {"count": "groups"},
        {"count": "rows", "over": "batch"},
        {"count": "rows", "where": {"kind": "A"}},
        {"sum": "m"},
        {"sum": "m", "scale": 2, "implied": True, "sign": "overpunch", "length": 14},
        {"sum": "n", "sign": "trailing"},
        {"sum": "m", "where": {"kind": ["A", "B"]}, "sign": "leading"},
        {"sum": "n", "over": "batch"},
        {"blank": True, "length": 3},
    ]
    return [{"constant": letter}, *rng.sample(pool, rng.randint(1, 7))]


def _row(rng: random.Random) -> list[dict[str, object]]:
    pool: list[dict[str, object]] = [
        {"column": "a", **rng.choice([{}, {"max": 10}, {"length": 12}, {"max": 8, "truncate": True}, {"length": 9, "align": "right", "fill": "0"}]), "optional": rng.random() < 0.6},
        {"column": "b", **rng.choice([{}, {"match": "[A-Z]{1,5}"}, {"values": ["A", "ABC", "H"]}, {"map": {"A": "1", "ABC": "2"}}]), "optional": rng.random() < 0.6},
        {"column": "b", "blank_when": {"kind": "A"}, "optional": True},
        {"column": "a", "required_when": {"kind": ["A"]}, "max": 40},
        {"column": "n", **_number(rng), "optional": rng.random() < 0.4},
        {"column": "m", **_number(rng), **rng.choice([{}, {"implied": True}, {"scale": 3}])},
        {"column": "d", **rng.choice([{}, {"format": "%d.%m.%Y"}, {"format": "%y%j", "length": 7}]), "optional": rng.random() < 0.5},
        {"column": "t", **rng.choice([{}, {"format": "%Y%m%d%H%M%S"}, {"format": "%d/%m/%Y %I:%M:%S %p", "zone": "America/New_York"}, {"format": "%H%M%S%f%z"}]), "optional": rng.random() < 0.5},
        {"number": rng.choice(["row", "line", "row_in_batch", "row_in_group"]), "length": 7},
        {"constant": rng.choice(["x", "D", "a b"])},
    ]  # fmt: skip
    return rng.sample(pool, rng.randint(2, 7))


def _number(rng: random.Random) -> dict[str, object]:
    form: dict[str, object] = {
        "sign": rng.choice(["minus", "minus", "none", "absolute", "leading", "trailing", "overpunch"])
    }
    form |= rng.choice([{}, {"length": 10}, {"max": 8}, {"length": 11, "fill": " "}, {"length": 9, "align": "left"}])
    if rng.random() < 0.3:
        form["plain_positive"] = True
    return form


def _fix(records: list[dict[str, object]], rng: random.Random) -> None:
    """Give every field a length, and every record the same."""
    for record in records:
        fields = record["fields"]
        assert isinstance(fields, list)
        total = 0
        for each in fields:
            each.pop("max", None)
            each.setdefault("length", rng.choice([14, 20, 27]) if each.get("guid") is None else 36)
            if each.get("format") and each["length"] < 24:
                each["length"] = 24
            total += each["length"]
        if total > 220:
            del fields[3:]
            total = sum(each["length"] for each in fields)
        fields.append({"blank": True, "length": 220 - total})


def random_rows(rng: random.Random, count: int) -> list[list[str | None]]:
    """Return rows in the order of `g`; most fit, some hold what no field takes."""
    wild = rng.random() < 0.5

    def pick(pool: list[str], tame: list[str]) -> str | None:
        if rng.random() < 0.1:
            return None
        return rng.choice(pool if wild and rng.random() < 0.5 else tame)

    rows = [
        [
            rng.choice(["A", "B", "C"]),
            pick(_WORDS, ["A", "INV 50", "Zoe"]),
            pick(_WORDS, ["A", "ABC"]),
            pick(_NUMBERS, ["5", "12", "123456", "-99", "0"]),
            pick(_NUMBERS, ["100.00", "12.30", "0.05", "-12.34"]) or "1.00",
            pick(_DATES, ["2026-11-27", "2024-02-29"]),
            pick(_MOMENTS, _MOMENTS[:2]),
            rng.choice(["G1", "G2", "G3"]),
        ]
        for _ in range(count)
    ]
    return sorted(rows, key=lambda row: row[-1] or "")
