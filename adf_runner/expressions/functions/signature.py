"""What a function is: its name, how many arguments it takes and the code behind it; and the checks they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from adf_runner.expressions.errors import LimitExceeded, WrongArguments
from adf_runner.expressions.numbers import fitting, is_integer, is_number, wrapped
from adf_runner.expressions.scope import Scope
from adf_runner.expressions.values import kind

MOST_CHARACTERS: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Lazy:
    """Code that decides itself which of its arguments are evaluated."""

    evaluate: Callable[[list[Callable[[], Any]]], Any]


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the language; `most` None means any number."""

    name: str
    least: int
    most: int | None
    run: Lazy | Callable[[list[Any], Scope], Any]


def wrong(function: str, what: str, wanted: str, value: Any) -> WrongArguments:
    """Return the error of an argument that has another type."""
    return WrongArguments(f"{function}: {what} must be {wanted}, not {kind(value)}")


def as_text(function: str, value: Any, what: str = "the argument") -> str:
    """Return a text. Raises WrongArguments."""
    if not isinstance(value, str):
        raise wrong(function, what, "a string", value)
    return value


def as_integer(function: str, value: Any, what: str = "the argument") -> int:
    """Return a whole number. Raises WrongArguments."""
    if not is_integer(value):
        raise wrong(function, what, "an integer", value)
    return fitting(value)


def as_count(function: str, value: Any, what: str = "the argument") -> int:
    """Return a position or count, cut to 32 bits as the engine cuts it."""
    return wrapped(as_integer(function, value, what))


def as_number(function: str, value: Any, what: str = "the argument") -> int | float:
    """Return a number. Raises WrongArguments."""
    if not is_number(value):
        raise wrong(function, what, "a number", value)
    return fitting(value) if isinstance(value, int) else float(value)


def as_boolean(function: str, value: Any, what: str = "the argument") -> bool:
    """Return a boolean. Raises WrongArguments."""
    if not isinstance(value, bool):
        raise wrong(function, what, "a boolean", value)
    return value


def as_array(function: str, value: Any, what: str = "the argument") -> list[Any]:
    """Return an array. Raises WrongArguments."""
    if not isinstance(value, list):
        raise wrong(function, what, "an array", value)
    return value


def bounded(function: str, size: int, most: int, what: str) -> None:
    """Refuse a result that would be too big."""
    if size > most:
        raise LimitExceeded(f"{function}: the result has {size} {what}; at most {most} are made")
