"""Numbers the .NET way: 64-bit integers that refuse to overflow, and doubles printed with the fewest digits."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from adf_runner.expressions.errors import InvalidSyntax, ValueFault

LEAST_INTEGER: Final = -(2**63)
MOST_INTEGER: Final = 2**63 - 1
MOST_INT32: Final = 2**31 - 1


MOST_PLAIN_DIGITS: Final = 17


def read_number(word: str, position: int) -> int | float:
    """Return the number of a literal: an integer without a point or exponent, else a double."""
    try:
        if not any(mark in word for mark in ".eE"):
            value = int(word) if word.lstrip("+-").isdigit() else None
            if value is not None and LEAST_INTEGER <= value <= MOST_INTEGER:
                return value
        elif "_" not in word and not math.isinf(float(word)):
            return float(word)
    except ValueError:
        pass
    raise InvalidSyntax(f"'{word}' is not a number", position=position)


def whole(value: int, function: str) -> int:
    """Return an integer that fits 64 bits; raise ValueFault when it does not."""
    if LEAST_INTEGER <= value <= MOST_INTEGER:
        return value
    raise ValueFault(f"{function}: the result does not fit a 64-bit integer")


def fitting(value: int) -> int:
    """Return an integer that fits 64 bits; JSON can hold larger ones, but no function takes them."""
    if LEAST_INTEGER <= value <= MOST_INTEGER:
        return value
    raise ValueFault(f"the integer {value} does not fit 64 bits")


def wrapped(value: int) -> int:
    """Return the lower 32 bits as a signed integer: so the engine takes positions and counts."""
    return (value + 2**31) % 2**32 - 2**31


NUMBER: Final = re.compile(
    r"[ \t-\r]*([+-]?)((?:[0-9][0-9,]*)?(?:\.[0-9]*)?)(?:[eE]([+-]?[0-9]+))?[ \t-\r]*(-|\+)?[ \t-\r]*"
)


def parse_number(text: str, *, trailing_sign: bool = False) -> float | None:
    """Return the double that .NET reads in an invariant text (`1,234.5e3`), or None when it reads none."""
    match = NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, digits, exponent, after = match.groups()
    if not any("0" <= character <= "9" for character in digits) or (after and (sign or not trailing_sign)):
        return None
    power = f"e{exponent}" if exponent else ""
    value = float(digits.replace(",", "") + power)
    return -value if "-" in (sign, after) else value


def float_text(value: float) -> str:
    """Return a double as .NET prints it: shortest round trip, no `.0`, exponent from 1E+17 on and below 0.0001."""
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
    if point > MOST_PLAIN_DIGITS or point < -3:
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        power = point - 1
        return f"{sign}{digits[0]}{rest}E{'-' if power < 0 else '+'}{abs(power):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if len(digits) <= point:
        return sign + digits.ljust(point, "0")
    return f"{sign}{digits[:point]}.{digits[point:]}"


def is_integer(value: Any) -> bool:
    """Return whether a value is a whole number and no boolean."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a number and no boolean."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
