"""Math. Two integers give a 64-bit integer, and overflow is an error; one double makes the result a double."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from adf_runner.expressions.errors import ValueFault, WrongArguments
from adf_runner.expressions.functions.signature import Function, as_count, as_number
from adf_runner.expressions.numbers import LEAST_INTEGER, MOST_INT32, is_integer, whole
from adf_runner.expressions.scope import Scope

Number = int | float
MOST_RANGE = 100_000


def arithmetic(name: str, integers: Callable[[int, int], int], doubles: Callable[[float, float], float]) -> Function:
    """Make an operation that keeps whole numbers whole. Overflow raises ValueFault."""

    def run(arguments: list[Any], _scope: Scope) -> Number:
        left, right = (as_number(name, value) for value in arguments)
        if is_integer(left) and is_integer(right):
            return whole(integers(int(left), int(right)), name)
        result = doubles(float(left), float(right))
        if not math.isfinite(result):
            raise ValueFault(f"{name}: the result is too large for a double")
        return result

    return Function(name, 2, 2, run)


def truncated(left: int, right: int) -> int:
    """Divide whole numbers towards zero. Raises ValueFault."""
    if right == 0:
        raise ValueFault("div: cannot divide by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def divided(left: float, right: float) -> float:
    """Divide doubles. Raises ValueFault."""
    if right == 0:
        raise ValueFault("div: cannot divide by zero")
    return left / right


def remainder(left: int, right: int) -> int:
    """Return the remainder of whole numbers, with the sign of the first. Raises ValueFault."""
    if right == 0:
        raise ValueFault("mod: cannot divide by zero")
    if (left, right) == (LEAST_INTEGER, -1):
        raise ValueFault("mod: the quotient does not fit a 64-bit integer")
    rest = abs(left) % abs(right)
    return rest if left >= 0 else -rest


def float_remainder(left: float, right: float) -> float:
    """Return the remainder of doubles, with the sign of the first. Raises ValueFault."""
    if right == 0:
        raise ValueFault("mod: cannot divide by zero")
    return math.fmod(left, right)


def extreme(name: str, choose: Callable[..., Any]) -> Function:
    """Make max and min, over arguments or over one array."""

    def run(arguments: list[Any], _scope: Scope) -> Number:
        items = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else arguments
        if not items:
            raise WrongArguments(f"{name}: the array is empty")
        numbers = [as_number(name, value, "every item") for value in items]
        chosen: Number = choose(numbers)
        return chosen if all(map(is_integer, numbers)) else float(chosen)

    return Function(name, 1, None, run)


def rand(arguments: list[Any], _scope: Scope) -> int:
    """Return a random whole number from the first bound up to, and without, the second."""
    low, high = (as_count("rand", value, "every bound") for value in arguments)
    if low > high:
        raise ValueFault(f"rand: the first number {low} must not be greater than the second {high}")
    return low if low == high else random.randrange(low, high)  # noqa: S311 - rand() is no secret


def make_range(arguments: list[Any], _scope: Scope) -> list[int]:
    """Return so many whole numbers from a start. Raises ValueFault."""
    start, count = (as_count("range", value) for value in arguments)
    if not 0 <= count <= MOST_RANGE or start + count - 1 > MOST_INT32:
        raise ValueFault(f"range: the count must be 0 to {MOST_RANGE}, and the last number must fit 32 bits")
    return list(range(start, start + count))


FUNCTIONS = (
    arithmetic("add", lambda left, right: left + right, lambda left, right: left + right),
    arithmetic("sub", lambda left, right: left - right, lambda left, right: left - right),
    arithmetic("mul", lambda left, right: left * right, lambda left, right: left * right),
    arithmetic("div", truncated, divided),
    arithmetic("mod", remainder, float_remainder),
    extreme("max", max),
    extreme("min", min),
    Function("rand", 2, 2, rand),
    Function("range", 2, 2, make_range),
)
