"""String functions. Positions count UTF-16 units; startsWith, endsWith, indexOf and lastIndexOf ignore case."""

from __future__ import annotations

import uuid
from typing import Any

from local.expressions.errors import ValueFault
from local.expressions.functions.signature import MOST_CHARACTERS, Function, as_count, as_text, bounded
from local.expressions.scope import Scope
from local.expressions.texts import from_units, text_of, units


def concat(arguments: list[Any], _scope: Scope) -> str:
    parts = [text_of(argument) for argument in arguments]
    bounded("concat", sum(map(len, parts)), MOST_CHARACTERS, "characters")
    return "".join(parts)


def ends_with(arguments: list[Any], _scope: Scope) -> bool:
    whole, part = (fold(as_text("endsWith", value)) for value in arguments)
    return whole.endswith(part)


def starts_with(arguments: list[Any], _scope: Scope) -> bool:
    whole, part = (fold(as_text("startsWith", value)) for value in arguments)
    return whole.startswith(part)


def index_of(arguments: list[Any], _scope: Scope) -> int:
    whole, part = (units(fold(as_text("indexOf", value))) for value in arguments)
    return whole.find(part)


def last_index_of(arguments: list[Any], _scope: Scope) -> int:
    whole, part = (units(fold(as_text("lastIndexOf", value))) for value in arguments)
    return whole.rfind(part) if part else max(len(whole) - 1, 0)


def fold(text: str) -> str:
    """Return text for a comparison without case: character by character, so that positions stay."""
    if text.isascii():
        return text.upper()
    return "".join(upper_character(character) for character in text)


def upper_character(character: str) -> str:
    upper = character.upper()
    return upper if len(upper) == 1 else character


def lower_character(character: str) -> str:
    lower = character.lower()
    return lower if len(lower) == 1 else character


def guid(arguments: list[Any], _scope: Scope) -> str:
    """Return a new random id; the format is N, D (default), B, P or X."""
    form = as_text("guid", arguments[0]) if arguments else "D"
    identity = uuid.uuid4()
    if form in ("N", "D", "B", "P"):
        digits = identity.hex if form == "N" else str(identity)
        return {"B": f"{{{digits}}}", "P": f"({digits})"}.get(form, digits)
    if form == "X":
        low, middle, high, *rest = identity.fields[:3]
        tail = ",".join(f"0x{byte:02x}" for byte in identity.bytes[8:])
        return f"{{0x{low:08x},0x{middle:04x},0x{high:04x},{{{tail}}}}}"
    raise ValueFault(f"guid: the format '{form}' is none of N, D, B, P, X")


def replace(arguments: list[Any], _scope: Scope) -> str:
    whole, old, new = (as_text("replace", value) for value in arguments)
    if not old:
        raise ValueFault("replace: the text to look for is empty")
    bounded("replace", len(whole) + whole.count(old) * (len(new) - len(old)), MOST_CHARACTERS, "characters")
    return whole.replace(old, new)


def split(arguments: list[Any], _scope: Scope) -> list[str]:
    whole, separator = (as_text("split", value) for value in arguments)
    return whole.split(separator) if separator else [whole]


def substring(arguments: list[Any], _scope: Scope) -> str:
    whole = units(as_text("substring", arguments[0], "the text"))
    start = as_count("substring", arguments[1], "the start")
    if not 0 <= start < len(whole):
        raise ValueFault(f"substring: the start {start} is not inside the text of {len(whole)} characters")
    length = as_count("substring", arguments[2], "the length") if len(arguments) == 3 else len(whole) - start
    if length < 0 or start + length > len(whole):
        raise ValueFault(f"substring: {length} characters from {start} are not inside the text of {len(whole)}")
    return from_units(whole[start : start + length])


def to_lower(arguments: list[Any], _scope: Scope) -> str:
    return "".join(map(lower_character, as_text("toLower", arguments[0])))


def to_upper(arguments: list[Any], _scope: Scope) -> str:
    return "".join(map(upper_character, as_text("toUpper", arguments[0])))


def trim(arguments: list[Any], _scope: Scope) -> str:
    return as_text("trim", arguments[0]).strip()


FUNCTIONS = (
    Function("concat", 1, None, concat),
    Function("endsWith", 2, 2, ends_with),
    Function("guid", 0, 1, guid),
    Function("indexOf", 2, 2, index_of),
    Function("lastIndexOf", 2, 2, last_index_of),
    Function("replace", 3, 3, replace),
    Function("split", 2, 2, split),
    Function("startsWith", 2, 2, starts_with),
    Function("substring", 2, 3, substring),
    Function("toLower", 1, 1, to_lower),
    Function("toUpper", 1, 1, to_upper),
    Function("trim", 1, 1, trim),
)
