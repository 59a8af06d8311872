"""String functions. Positions count UTF-16 units; startsWith, endsWith, indexOf and lastIndexOf ignore case."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from adf_runner.expressions.collation import begins_with, ends_with, find, find_last
from adf_runner.expressions.errors import ValueFault
from adf_runner.expressions.functions.signature import MOST_CHARACTERS, Function, as_count, as_text, bounded
from adf_runner.expressions.scope import Scope
from adf_runner.expressions.texts import BLANKS, from_units, lower, text_of, units, upper


def concat(arguments: list[Any], _scope: Scope) -> str:
    """Return all arguments as one text."""
    parts = [text_of(argument) for argument in arguments]
    bounded("concat", sum(map(len, parts)), MOST_CHARACTERS, "characters")
    return "".join(parts)


def searching(name: str, search: Callable[[str, str], Any]) -> Function:
    """Make a function that searches a text for another."""

    def run(arguments: list[Any], _scope: Scope) -> Any:
        return search(as_text(name, arguments[0], "the text"), as_text(name, arguments[1], "the text to look for"))

    return Function(name, 2, 2, run)


def guid(arguments: list[Any], _scope: Scope) -> str:
    """Return a new random id; the format is N, D (default), B, P or X."""
    form = as_text("guid", arguments[0]) if arguments else "D"
    identity = uuid.uuid4()
    if form in ("N", "D", "B", "P"):
        digits = identity.hex if form == "N" else str(identity)
        return {"B": f"{{{digits}}}", "P": f"({digits})"}.get(form, digits)
    if form == "X":
        low, middle, high = identity.fields[:3]
        tail = ",".join(f"0x{byte:02x}" for byte in identity.bytes[8:])
        return f"{{0x{low:08x},0x{middle:04x},0x{high:04x},{{{tail}}}}}"
    raise ValueFault(f"guid: the format '{form}' is none of N, D, B, P, X")


def replace(arguments: list[Any], _scope: Scope) -> str:
    """Return a text with every occurrence of a part replaced."""
    whole, old, new = (as_text("replace", value) for value in arguments)
    if not whole:
        return ""
    if not old:
        raise ValueFault("replace: the text to look for is empty")
    bounded("replace", len(whole) + whole.count(old) * (len(new) - len(old)), MOST_CHARACTERS, "characters")
    return whole.replace(old, new)


def split(arguments: list[Any], _scope: Scope) -> list[str]:
    """Return the parts of a text between separators."""
    whole, separator = (as_text("split", value) for value in arguments)
    return whole.split(separator) if separator else [whole]


def substring(arguments: list[Any], _scope: Scope) -> str:
    """Return a part of a text by UTF-16 units. Raises ValueFault."""
    whole = units(as_text("substring", arguments[0], "the text"))
    start = as_count("substring", arguments[1], "the start")
    if not 0 <= start < len(whole):
        raise ValueFault(f"substring: the start {start} is not inside the text of {len(whole)} characters")
    length = as_count("substring", arguments[2], "the length") if len(arguments) == 3 else len(whole) - start
    if length < 0 or start + length > len(whole):
        raise ValueFault(f"substring: {length} characters from {start} are not inside the text of {len(whole)}")
    return from_units(whole[start : start + length])


def to_lower(arguments: list[Any], _scope: Scope) -> str:
    """Return a text in lower case."""
    return lower(as_text("toLower", arguments[0]))


def to_upper(arguments: list[Any], _scope: Scope) -> str:
    """Return a text in upper case."""
    return upper(as_text("toUpper", arguments[0]))


def trim(arguments: list[Any], _scope: Scope) -> str:
    """Return a text without blanks at its ends."""
    return as_text("trim", arguments[0]).strip(BLANKS)


FUNCTIONS = (
    Function("concat", 1, None, concat),
    searching("endsWith", ends_with),
    Function("guid", 0, 1, guid),
    searching("indexOf", find),
    searching("lastIndexOf", find_last),
    Function("replace", 3, 3, replace),
    Function("split", 2, 2, split),
    searching("startsWith", begins_with),
    Function("substring", 2, 3, substring),
    Function("toLower", 1, 1, to_lower),
    Function("toUpper", 1, 1, to_upper),
    Function("trim", 1, 1, trim),
)
