"""Which values of SQL Server have a text in Data Factory, and that text; other types are refused with the cast."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from adf_runner.errors import ActivityFailed
from adf_runner.expressions.dates import DAY, HOUR, MINUTE, SECOND
from adf_runner.stores.postgres import DATE_HINT, DOTNET_TOKEN, JSON_DATETIME, Conversion

# TDS type -> the runner's kind. [MS-TDS] 2.2.5.4
KINDS = {
    50: "boolean", 104: "boolean", 38: "integer", 48: "integer", 52: "integer", 56: "integer", 127: "integer",
    55: "decimal", 63: "decimal", 106: "decimal", 108: "decimal", 60: "money", 110: "money", 122: "money",
    59: "real", 62: "float", 109: "float", 40: "date", 42: "datetime2", 43: "datetimeoffset",
    58: "datetime", 61: "datetime", 111: "datetime", 36: "guid", 35: "string", 39: "string", 47: "string", 99: "string",
    167: "string", 175: "string", 231: "string", 239: "string", 241: "string",
}  # fmt: skip
CASTS = {
    41: ("time", "convert(varchar(16), {})"), 34: ("image", "convert(varchar(max), convert(varbinary(max), {}), 2)"),
    37: ("varbinary", "convert(varchar(max), {}, 2)"), 45: ("binary", "convert(varchar(max), {}, 2)"),
    165: ("varbinary", "convert(varchar(max), {}, 2)"), 173: ("binary", "convert(varchar(max), {}, 2)"),
    98: ("sql_variant", "cast({} as nvarchar(4000))"), 240: ("a CLR type", "{}.ToString()"),
}  # fmt: skip
COMMON = {"money": "decimal", "real": "float", "datetime2": "datetime", "guid": "string"}
FIELDS = {"yyyy": "{y:04d}", "yy": "{yy:02d}", "MM": "{M:02d}", "dd": "{d:02d}", "HH": "{H:02d}", "mm": "{m:02d}",
          "ss": "{s:02d}", "zzz": "{z}"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlColumn:
    """A column, its interim type as postgres.Column has it, and how a value of it becomes text."""

    name: str
    kind: str
    write: Callable[[Any], str]


def columns_of(description: Sequence[Sequence[Any]] | None, conversion: Conversion) -> list[SqlColumn]:
    """Return the columns of a result; refuses none at all, and types whose text in Data Factory is not known."""
    if not description:
        raise ActivityFailed("the query gives no columns", code="BadRequest", retriable=False)
    return [_column(entry, conversion) for entry in description]


def _column(entry: Sequence[Any], conversion: Conversion) -> SqlColumn:
    name, code, scale = str(entry[0]), int(entry[1]), entry[5]
    found = KINDS.get(code)
    if found is None:
        kind, cast = CASTS.get(code, (f"number {code}", "cast({} as nvarchar(max))"))
        raise ActivityFailed(
            f"column {name!r} is of type {kind}, whose text in Data Factory is not known",
            f"cast it in the query: {cast.format(quoted(name))}",
            code="UserErrorUnsupportedType",
            retriable=False,
        )
    if code == 109 and entry[3] == 4:
        found = "real"
    return SqlColumn(name=name, kind=COMMON.get(found, found), write=_writer(found, int(scale or 0), conversion))


def _writer(kind: str, scale: int, conversion: Conversion) -> Callable[[Any], str]:
    match kind:
        case "boolean":
            yes, no = ("1", "0") if conversion.boolean_as_number else ("True", "False")
            return lambda value: yes if value else no
        case "decimal" | "money":
            pattern = f".{4 if kind == 'money' else scale}f"
            return lambda value: format(Decimal(value), pattern)
        case "real" | "float":
            return double_text if kind == "float" else single_text
        case "date" | "datetime" | "datetime2":
            write = date_writer(conversion.datetime)
            return lambda value: write(ticks_of(value), 0)
        case "datetimeoffset":
            write = date_writer(conversion.datetimeoffset)
            if conversion.datetimeoffset == JSON_DATETIME:  # its Z says UTC
                return lambda value: write(value[0] - value[1] * MINUTE, 0)
            return lambda value: write(*value)
    return str


def ticks_of(value: int | date) -> int:
    """Return a date or time as ticks since the year 1; datetime2 comes as such."""
    if isinstance(value, int):
        return value
    ticks = (value.toordinal() - 1) * DAY
    if isinstance(value, datetime):
        ticks += value.hour * HOUR + value.minute * MINUTE + value.second * SECOND + value.microsecond * 10
    return ticks


def date_writer(pattern: str) -> Callable[[int, int], str]:
    """Return what writes ticks and an offset in minutes by a custom .NET format; others are refused."""
    parts: list[str] = []
    for part in DOTNET_TOKEN.findall(pattern):
        if part in FIELDS:
            parts.append(FIELDS[part])
        elif part[0] == "f":
            parts.append(f"{{f{len(part)}:0{len(part)}d}}")
        elif len(part) == 1 and part in "dfFgHhKmMstyz%":
            raise ActivityFailed(
                f"date format {pattern!r}: {part!r} is not supported", DATE_HINT, code="BadRequest", retriable=False
            )
        else:
            literal = part[1:-1] if part[0] in "'\"" else part[-1]
            parts.append(literal.replace("{", "{{").replace("}", "}}"))
    template = "".join(parts).format
    digits = sorted({len(part) for part in DOTNET_TOKEN.findall(pattern) if part[0] == "f"})

    def write(ticks: int, offset: int) -> str:
        day, rest = date.fromordinal(ticks // DAY + 1), ticks % DAY
        fraction = rest % SECOND
        zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
        return template(
            y=day.year, yy=day.year % 100, M=day.month, d=day.day, H=rest // HOUR, m=rest % HOUR // MINUTE,
            s=rest % MINUTE // SECOND, z=zone, **{f"f{count}": fraction // 10 ** (7 - count) for count in digits},
        )  # fmt: skip

    return write


def double_text(value: float) -> str:
    """Return a double as .NET writes it: the shortest digits that give it back, 1E+15 and 1E-05 with an exponent."""
    return _number_text(repr(value))


def single_text(value: float) -> str:
    """Return a real the same way: the shortest digits that give back the 32 bits."""
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        if struct.pack("<f", float(text)) == struct.pack("<f", value):
            break
    return _number_text(text, places=7)


def _number_text(text: str, places: int = 15) -> str:
    number = Decimal(text)
    sign, digits, exponent = number.as_tuple()
    shown = "".join(map(str, digits)).rstrip("0") or "0"
    assert isinstance(exponent, int)
    power = exponent + len(digits) - 1 if number else 0
    minus = "-" if sign else ""
    if number and (power >= max(len(shown), places) or power < -4):
        fraction = f".{shown[1:]}" if len(shown) > 1 else ""
        return f"{minus}{shown[0]}{fraction}E{'-' if power < 0 else '+'}{abs(power):02d}"
    plain = format(number, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def quoted(name: str) -> str:
    """Return a name in brackets, as T-SQL takes any name."""
    return f"[{name.replace(']', ']]')}]"


def split_name(text: str) -> list[str]:
    """Return the parts of a name such as dbo.table, [dbo].[a.b] or "a"."b"; raises ActivityFailed when it is none."""
    parts: list[str] = []
    rest = text.strip()
    while True:
        closing = {"[": "]", '"': '"'}.get(rest[:1], "")
        if closing:
            part, rest = _bracketed(rest, closing, text)
        else:
            part, dot, after = rest.partition(".")
            rest = dot + after
            part = part.strip()
        parts.append(part)
        rest = rest.lstrip()
        if not rest:
            break
        if rest[0] != ".":
            raise _no_name(text)
        rest = rest[1:].lstrip()
    if not parts[-1] or len(parts) > 4:
        raise _no_name(text)
    return parts


def _bracketed(rest: str, closing: str, text: str) -> tuple[str, str]:
    part, position = "", 1
    while True:
        end = rest.find(closing, position)
        if end < 0:
            raise _no_name(text)
        part += rest[position:end]
        if rest[end + 1 : end + 2] != closing:
            return part, rest[end + 1 :]
        part, position = part + closing, end + 2


def _no_name(text: str) -> ActivityFailed:
    return ActivityFailed(
        f"{text!r} is not a name of SQL Server", "write [schema].[name]", code="BadRequest", retriable=False
    )


def quoted_name(text: str) -> str:
    """Return a name of up to four parts with every part in brackets; a part left out stays so: a..b."""
    return ".".join(quoted(part) if part else "" for part in split_name(text))
