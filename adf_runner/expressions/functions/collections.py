"""Functions over arrays, objects and strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adf_runner.expressions.collation import is_same
from adf_runner.expressions.errors import ValueFault
from adf_runner.expressions.functions.signature import (
    MOST_CHARACTERS,
    Function,
    as_array,
    as_count,
    as_text,
    bounded,
    wrong,
)
from adf_runner.expressions.scope import Scope
from adf_runner.expressions.texts import from_units, text_of, units
from adf_runner.expressions.values import key_of, same


def contains(arguments: list[Any], _scope: Scope) -> bool:
    """Return whether a text holds a part, an array an item, or an object a name."""
    whole, part = arguments
    if isinstance(whole, str):
        return as_text("contains", part, "the second argument") in whole
    if isinstance(whole, list):
        wanted = key_of(part)
        return any(key_of(item) == wanted for item in whole)
    if isinstance(whole, Mapping):
        wanted = as_text("contains", part, "the second argument")
        return any(is_same(name, wanted) for name in whole)
    raise wrong("contains", "the first argument", "an array, an object or a string", whole)


def empty(arguments: list[Any], _scope: Scope) -> bool:
    """Return whether a text, an array or an object holds nothing."""
    (value,) = arguments
    if value is None:
        return True
    if isinstance(value, (str, list, Mapping)):
        return not value
    raise wrong("empty", "the argument", "an array, an object or a string", value)


def first(arguments: list[Any], _scope: Scope) -> Any:
    """Return the first item of an array or character of a text."""
    return end_of("first", arguments[0], 0)


def last(arguments: list[Any], _scope: Scope) -> Any:
    """Return the last item of an array or character of a text."""
    return end_of("last", arguments[0], -1)


def end_of(name: str, value: Any, position: int) -> Any:
    """Return the item at one end; null for an empty array."""
    if isinstance(value, list):
        return value[position] if value else None
    text = units(as_text(name, value))
    return text[position] if text else ""


def intersection(arguments: list[Any], _scope: Scope) -> Any:
    """Return the items, or the members, that all arguments share."""
    if same_kind("intersection", arguments) is list:
        common = {key_of(item): item for item in arguments[0]}
        for other in arguments[1:]:
            found = {key_of(item): item for item in other}
            common = {key: found[key] for key in common if key in found}
        return list(common.values())
    members = dict(arguments[0])
    for other in arguments[1:]:
        members = {name: other[name] for name, value in members.items() if name in other and same(value, other[name])}
    return members


def union(arguments: list[Any], _scope: Scope) -> Any:
    """Join arrays without repeats, or objects where the later value wins (objects inside are replaced, not merged)."""
    if same_kind("union", arguments) is list:
        return list({key_of(item): item for argument in arguments for item in argument}.values())
    return {name: value for argument in arguments for name, value in argument.items()}


def same_kind(name: str, arguments: list[Any]) -> type:
    """Return list or dict: what all arguments are."""
    kinds = {list if isinstance(value, list) else dict if isinstance(value, Mapping) else None for value in arguments}
    (found, *others) = kinds
    if found is None or others:
        odd = next((value for value in arguments if not isinstance(value, (list, Mapping))), arguments[-1])
        raise wrong(name, "the arguments", "all arrays or all objects", odd)
    return found


def join(arguments: list[Any], _scope: Scope) -> str:
    """Return the items of an array as one text, with a separator."""
    items, separator = as_array("join", arguments[0], "the first argument"), as_text("join", arguments[1])
    parts = [text_of(item) for item in items]
    bounded("join", sum(map(len, parts)) + len(separator) * len(parts), MOST_CHARACTERS, "characters")
    return separator.join(parts)


def length(arguments: list[Any], _scope: Scope) -> int:
    """Return how many items or UTF-16 units a value has."""
    (value,) = arguments
    if isinstance(value, list):
        return len(value)
    return len(units(as_text("length", value)))


def skip(arguments: list[Any], _scope: Scope) -> Any:
    """Return an array or a text without its first items."""
    value, count = sliced("skip", arguments)
    return value[count:] if isinstance(value, list) else from_units(value[count:])


def take(arguments: list[Any], _scope: Scope) -> Any:
    """Return the first items of an array or a text."""
    value, count = sliced("take", arguments)
    return value[:count] if isinstance(value, list) else from_units(value[:count])


def sliced(name: str, arguments: list[Any]) -> tuple[Any, int]:
    """Return the array or text that is to be cut, and where."""
    value, count = arguments[0], as_count(name, arguments[1], "the count")
    if not isinstance(value, (list, str)):
        raise wrong(name, "the first argument", "an array or a string", value)
    if count < 0:
        raise ValueFault(f"{name}: the count must not be negative")
    return units(value) if isinstance(value, str) else value, count


FUNCTIONS = (
    Function("contains", 2, 2, contains),
    Function("empty", 1, 1, empty),
    Function("first", 1, 1, first),
    Function("intersection", 2, None, intersection),
    Function("join", 2, 2, join),
    Function("last", 1, 1, last),
    Function("length", 1, 1, length),
    Function("skip", 2, 2, skip),
    Function("take", 2, 2, take),
    Function("union", 2, None, union),
)
