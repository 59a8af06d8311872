"""Invented rows that fit a layout: for previews, and so that lint can try a layout out. Nothing here comes from a real row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from re import _constants as _codes  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from partners.layout import Column, Layout, RecordField, meets, scale_of
from partners.naming import BatchFacts

_MOST = 3  # repetitions of a part that may be repeated without end


class _NoSample(Exception):
    """A part of the pattern for which no text is invented."""


def matching(pattern: str) -> str | None:
    """Return a short text that the pattern matches, or None when none is found."""
    try:
        text = _text(_parser.parse(pattern))
    except (re.error, _NoSample, IndexError, OverflowError):
        return None
    return text if re.fullmatch(pattern, text, re.ASCII) else None


def _text(parts: Any) -> str:
    return "".join(_part(code, value) for code, value in parts)


def _part(code: Any, value: Any) -> str:
    if code is _codes.LITERAL:
        return chr(value)
    if code is _codes.IN:
        return _member(value)
    if code is _codes.ANY:
        return "A"
    if code in (_codes.MAX_REPEAT, _codes.MIN_REPEAT, getattr(_codes, "POSSESSIVE_REPEAT", None)):
        low, high, inner = value
        return _text(inner) * (low if low or high == 0 else min(1, _MOST))
    if code is _codes.SUBPATTERN:
        return _text(value[-1])
    if code is _codes.BRANCH:
        return _text(value[1][0])
    if code is _codes.AT:
        return ""
    if code is _codes.NOT_LITERAL:
        return "B" if value == ord("A") else "A"
    raise _NoSample


def _member(items: Any) -> str:
    if items[0][0] is _codes.NEGATE:
        for letter in "A0a -":
            if not any(_is_in(letter, item) for item in items[1:]):
                return letter
        raise _NoSample
    code, value = items[0]
    if code is _codes.RANGE:
        return chr(value[0] + min(1, value[1] - value[0]))
    if code is _codes.CATEGORY:
        return {"CATEGORY_DIGIT": "1", "CATEGORY_WORD": "A", "CATEGORY_SPACE": " "}.get(str(value), "-")
    return chr(value)


def _is_in(letter: str, item: Any) -> bool:
    code, value = item
    if code is _codes.RANGE:
        return bool(value[0] <= ord(letter) <= value[1])
    return code is _codes.LITERAL and bool(value == ord(letter))


def rows(layout: Layout, columns: Sequence[Column], facts: BatchFacts, count: int) -> Iterator[list[str | None]]:
    """Yield invented rows that the layout takes, in its order; each kind of row record comes up in turn."""
    known = {column.name: column for column in columns}
    kinds = layout.at("row")
    for number in range(1, count + 1):
        record = kinds[(number - 1) % len(kinds)]
        chosen = {name: min(values) for name, values in meets(record.when or {}).items()}
        for each in kinds:
            for name in each.when or ():
                chosen.setdefault(name, _unlike(each.when or {}, name))
        group = (number - 1) // 3 if layout.group_by else 0
        yield [_value(column, layout, known, facts, number, group, chosen) for column in columns]


def _unlike(condition: Mapping[str, str | list[str]], name: str) -> str:
    values = meets(condition)[name]
    return next(text for text in ("N", "0", "A", "B") if text not in values)


def _value(
    column: Column,
    layout: Layout,
    known: Mapping[str, Column],
    facts: BatchFacts,
    number: int,
    group: int,
    chosen: Mapping[str, str],
) -> str | None:
    if column.name in chosen:
        return chosen[column.name]
    fields = [f for record in layout.records for f in record.fields if f.column == column.name]
    number = group + 1 if column.name in layout.group_by else number
    if values := _allowed(fields):
        return values[(number - 1) % len(values)]
    if (match := next((f.match for f in fields if f.match), None)) and (text := matching(match)) is not None:
        return text
    limit = min((limit for f in fields if (limit := f.length or f.max)), default=24)
    match column.type:
        case "integer" | "decimal":
            return _number(fields, known, column, number, limit)
        case "date":
            return (
                (facts.business_date + timedelta(days=number % 28)).isoformat()
                if facts.business_date < date.max - timedelta(days=40)
                else facts.business_date.isoformat()
            )
        case "timestamp":
            moment = datetime(
                facts.business_date.year,
                facts.business_date.month,
                facts.business_date.day,
                number % 24,
                number % 60,
                tzinfo=UTC,
            )
            return moment.isoformat()
    digits = next(
        (f.digits for record in layout.records for f in record.fields if f.sum == column.name and f.digits), None
    )
    if digits:
        return str(number).rjust(max(digits[1], 1), "0")
    return f"{column.name.replace('_', ' ').upper()} {number}"[-limit:].strip() or "X"


def _allowed(fields: Sequence[RecordField]) -> list[str]:
    """Return the values that every field of a column takes, where they are enumerated."""
    sets = [list(f.map) if f.map is not None else list(f.values or []) for f in fields if f.map is not None or f.values]
    return [value for value in sets[0] if value and all(value in each for each in sets[1:])] if sets else []


def _number(fields: Sequence[RecordField], known: Mapping[str, Column], column: Column, number: int, limit: int) -> str:
    scale = min([scale_of(f, known) for f in fields] or [column.scale or 0])
    whole = 100 + number * 7
    room = limit - scale - 2
    if room < 3:
        whole = number % (10 ** max(room, 1))
    return f"{whole}.{'50'.ljust(scale, '0')[:scale]}" if scale else str(whole)
