"""JSON values and what the engine does with them: their kinds, their equality, their text."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any, Final

from adf_runner.expressions.numbers import fitting, float_text, is_number


def kind(value: Any) -> str:
    """Return the name of a value's kind, as error messages use it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, (list, tuple)) else "object"


def same(left: Any, right: Any) -> bool:
    """Return whether two JSON values are the same, deeply and by kind: 1 is not 1.0, true is not 1."""
    return key_of(left) == key_of(right)


def key_of(value: Any) -> Hashable:
    """Return a hashable stand-in for a JSON value; two values are the same exactly when their stand-ins are equal."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, list):
        return ("array", *map(key_of, value))
    if isinstance(value, Mapping):
        return ("object", frozenset((name, key_of(member)) for name, member in value.items()))
    return (type(value).__name__, value)


def equal(left: Any, right: Any) -> bool:
    """Compare as `equals` does: as `same`, but an integer and a double are compared as doubles."""
    for value in (left, right):
        if isinstance(value, int):
            fitting(value)
    if is_number(left) and is_number(right) and type(left) is not type(right):
        return float(left) == float(right)
    return same(left, right)


LINE_BREAKS: Final = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def json_string(text: str) -> str:
    """Return a text as a JSON string."""
    written = json.dumps(text, ensure_ascii=False)
    return written if written.isascii() else written.translate(LINE_BREAKS)


def compact_json(value: Any) -> str:
    """Return JSON without blanks, as Newtonsoft writes it (`1.0` stays `1.0`, no escapes outside ASCII)."""
    pieces: list[str] = []
    write_json(value, pieces)
    return "".join(pieces)


def write_json(value: Any, pieces: list[str]) -> None:
    """Append a value's JSON to `pieces`."""
    if isinstance(value, str):
        pieces.append(json_string(value))
    elif value is None or isinstance(value, bool):
        pieces.append("null" if value is None else "true" if value else "false")
    elif isinstance(value, int):
        pieces.append(str(value))
    elif isinstance(value, float):
        text = float_text(value)
        pieces.append(text if set(text) & set(".EIN") else text + ".0")
    elif isinstance(value, Mapping):
        pieces.append("{")
        for index, (name, member) in enumerate(value.items()):
            pieces.append(("," if index else "") + json_string(name) + ":")
            write_json(member, pieces)
        pieces.append("}")
    else:
        pieces.append("[")
        for index, member in enumerate(value):
            if index:
                pieces.append(",")
            write_json(member, pieces)
        pieces.append("]")
