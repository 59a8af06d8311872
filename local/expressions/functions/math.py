"""Math. Two integers give a 64-bit integer, and overflow is an error; one double makes the result a double."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from local.expressions.errors import ArgumentError, ValueFault
from local.expressions.functions.signature import MOST_ITEMS, Function, as_integer, as_number, bounded
from local.expressions.numbers import is_integer, whole
from local.expressions.scope import Scope

Number = int | float


def arithmetic(name: str, integers: Callable[[int, int], int], doubles: Callable[[float, float], float]) -> Function:
    def run(arguments: list[Any], _scope: Scope) -> Number:
        left, right = (as_number(name, value) for value in arguments)
        if is_integer(left) and is_integer(right):
            return whole(integers(int(left), int(right)), name)
        return doubles(float(left), float(right))

    return Function(name, 2, 2, run)


def truncated(left: int, right: int) -> int:
    if right == 0:
        raise ValueFault("div: cannot divide by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def divided(left: float, right: float) -> float:
    if right == 0:
        raise ValueFault("div: cannot divide by zero")
    return left / right


def remainder(left: int, right: int) -> int:
    if right == 0:
        raise ValueFault("mod: cannot divide by zero")
    rest = abs(left) % abs(right)
    return rest if left >= 0 else -rest


def float_remainder(left: float, right: float) -> float:
    if right == 0:
        raise ValueFault("mod: cannot divide by zero")
    return math.fmod(left, right)


def extreme(name: str, choose: Callable[..., Any]) -> Function:
    def run(arguments: list[Any], _scope: Scope) -> Number:
        items = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else arguments
        if not items:
            raise ArgumentError(f"{name}: the array is empty")
        numbers = [as_number(name, value, "every item") for value in items]
        chosen: Number = choose(numbers)
        return chosen if all(map(is_integer, numbers)) else float(chosen)

    return Function(name, 1, None, run)


def rand(arguments: list[Any], _scope: Scope) -> int:
    low, high = (as_integer("rand", value) for value in arguments)
    if low >= high:
        raise ValueFault(f"rand: the first number {low} must be less than the second {high}")
    return random.randrange(low, high)  # noqa: S311 - rand() is no secret


def make_range(arguments: list[Any], _scope: Scope) -> list[int]:
    start, count = (as_integer("range", value) for value in arguments)
    if count < 0:
        raise ValueFault("range: the count must not be negative")
    bounded("range", count, MOST_ITEMS, "items")
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
