"""JSON values and what the engine does with them: their kinds, their equality, their text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local.expressions.numbers import float_text


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
    """Tell whether two values are equal: 1 equals 1.0, true does not equal 1, arrays and objects are compared deeply."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, (list, Mapping)) or isinstance(right, (list, Mapping)):
        return False
    return bool(left == right)


def compact_json(value: Any) -> str:
    """Return JSON without blanks, as Newtonsoft writes it (`1.0` stays `1.0`, no escapes outside ASCII)."""
    pieces: list[str] = []
    write_json(value, pieces)
    return "".join(pieces)


def write_json(value: Any, pieces: list[str]) -> None:
    if isinstance(value, str):
        pieces.append(json.dumps(value, ensure_ascii=False))
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
            pieces.append(("," if index else "") + json.dumps(name, ensure_ascii=False) + ":")
            write_json(member, pieces)
        pieces.append("}")
    else:
        pieces.append("[")
        for index, member in enumerate(value):
            if index:
                pieces.append(",")
            write_json(member, pieces)
        pieces.append("]")
