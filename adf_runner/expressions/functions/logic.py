"""Logical functions. `if`, `and` and `or` stop as soon as the answer is known; they demand real booleans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adf_runner.expressions.collation import sort_key
from adf_runner.expressions.functions.signature import Function, Lazy, as_boolean, wrong
from adf_runner.expressions.numbers import fitting, is_number
from adf_runner.expressions.scope import Scope
from adf_runner.expressions.values import equal

Thunks = list[Callable[[], Any]]


def every(arguments: Thunks) -> bool:
    """Return whether all arguments are true; evaluation ends at the first that is not."""
    return all(as_boolean("and", argument()) for argument in arguments)


def some(arguments: Thunks) -> bool:
    """Return whether an argument is true; evaluation ends at the first that is."""
    return any(as_boolean("or", argument()) for argument in arguments)


def choose(arguments: Thunks) -> Any:
    """Return one of two arguments; the other is not evaluated."""
    condition, then, otherwise = arguments
    return then() if as_boolean("if", condition(), "the condition") else otherwise()


def equals(arguments: list[Any], _scope: Scope) -> bool:
    """Return whether two values are the same."""
    return equal(*arguments)


def negate(arguments: list[Any], _scope: Scope) -> bool:
    """Return the opposite of a boolean."""
    return not as_boolean("not", arguments[0])


def compared(name: str, judge: Callable[[Any, Any], bool]) -> Function:
    """Make a comparison of two numbers or two texts."""

    def run(arguments: list[Any], _scope: Scope) -> bool:
        left, right = arguments
        if isinstance(left, str) and isinstance(right, str):
            return judge(sort_key(left), sort_key(right))
        for value in arguments:
            if not is_number(value):
                raise wrong(name, "both arguments", "numbers or both strings", value)
        return judge(*alike(left, right))

    return Function(name, 2, 2, run)


def alike(left: float, right: float) -> tuple[float, float]:
    """Return two integers as they are, and anything else as two doubles."""
    if isinstance(left, int) and isinstance(right, int):
        return fitting(left), fitting(right)
    return float(left), float(right)


FUNCTIONS = (
    Function("and", 1, None, Lazy(every)),
    Function("or", 1, None, Lazy(some)),
    Function("if", 3, 3, Lazy(choose)),
    Function("not", 1, 1, negate),
    Function("equals", 2, 2, equals),
    compared("greater", lambda left, right: bool(left > right)),
    compared("greaterOrEquals", lambda left, right: bool(left >= right)),
    compared("less", lambda left, right: bool(left < right)),
    compared("lessOrEquals", lambda left, right: bool(left <= right)),
)
