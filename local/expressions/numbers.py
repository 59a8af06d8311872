"""Numbers the .NET way: 64-bit integers that refuse to overflow, and doubles printed with the fewest digits."""

from __future__ import annotations

from typing import Any, Final

from local.expressions.errors import ExpressionSyntaxError, ValueFault

LEAST_INTEGER: Final = -(2**63)
MOST_INTEGER: Final = 2**63 - 1


def read_number(word: str, position: int) -> int | float:
    """Return the number of a literal: an integer without a point or exponent, else a double."""
    try:
        if not any(mark in word for mark in ".eE"):
            value = int(word) if word.lstrip("+-").isdigit() else None
            if value is not None and LEAST_INTEGER <= value <= MOST_INTEGER:
                return value
        elif "_" not in word:
            return float(word)
    except ValueError:
        pass
    raise ExpressionSyntaxError(f"'{word}' is not a number", position=position)


def whole(value: int, function: str) -> int:
    """Return an integer that fits 64 bits; raise ValueFault when it does not."""
    if LEAST_INTEGER <= value <= MOST_INTEGER:
        return value
    raise ValueFault(f"{function}: the result does not fit a 64-bit integer")


def float_text(value: float) -> str:
    """Return a double as .NET prints it: shortest round trip, no `.0`, exponent from 1E+15 and below 1E-05."""
    text = repr(value)
    if text in ("inf", "-inf", "nan"):
        return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[text]
    sign = "-" if text.startswith("-") else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole_part, _, fraction = mantissa.partition(".")
    digits = (whole_part + fraction).lstrip("0")
    point = len(whole_part) + int(exponent or 0) - (len(whole_part + fraction) - len(digits))
    digits = digits.rstrip("0")
    if not digits:
        return sign + "0"
    if point > 15 or point < -4:
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        power = point - 1
        return f"{sign}{digits[0]}{rest}E{'-' if power < 0 else '+'}{abs(power):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if len(digits) <= point:
        return sign + digits.ljust(point, "0")
    return f"{sign}{digits[:point]}.{digits[point:]}"


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
