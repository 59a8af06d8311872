"""Writes an instant as .NET's DateTime.ToString(format) does for the invariant culture."""

from __future__ import annotations

from typing import Final

from adf_runner.expressions.dates import Instant
from adf_runner.expressions.texts import units

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
STANDARD: Final = {
    "d": "M/d/yyyy", "D": "dddd, MMMM d, yyyy", "f": "dddd, MMMM d, yyyy h:mm tt", "F": "dddd, MMMM d, yyyy h:mm:ss tt",
    "g": "M/d/yyyy h:mm tt", "G": "M/d/yyyy h:mm:ss tt", "m": "MMMM d", "M": "MMMM d",
    "o": "yyyy-MM-ddTHH:mm:ss.fffffffK", "O": "yyyy-MM-ddTHH:mm:ss.fffffffK",
    "r": "ddd, dd MMM yyyy HH:mm:ss 'GMT'", "R": "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
    "s": "yyyy-MM-ddTHH:mm:ss", "t": "h:mm tt", "T": "h:mm:ss tt", "u": "yyyy-MM-dd HH:mm:ss'Z'",
    "U": "dddd, MMMM d, yyyy h:mm:ss tt", "y": "MMMM yyyy", "Y": "MMMM yyyy",
}  # fmt: skip


class FormatFault(ValueError):
    """The format string is not one that .NET accepts."""


def format_date(moment: Instant, pattern: str) -> str:
    """Return the instant in a .NET standard (one letter) or custom format; raises FormatFault."""
    if pattern in ("o", "O"):
        hour, minute, second, fraction = moment.clock
        return f"{moment.day.isoformat()}T{hour:02d}:{minute:02d}:{second:02d}.{fraction:07d}{moment.zone}"
    if len(units(pattern)) < 2:
        pattern = pattern or "G"
        if pattern not in STANDARD:
            raise FormatFault
        pattern = STANDARD[pattern]
    pieces: list[str] = []
    position = 0
    while position < len(pattern):
        position = write_specifier(moment, pattern, position, pieces)
    return "".join(pieces)


def run_length(pattern: str, position: int) -> int:
    """Return how many times the letter at a position repeats."""
    end = position
    while end < len(pattern) and pattern[end] == pattern[position]:
        end += 1
    return end - position


def write_specifier(moment: Instant, pattern: str, position: int, pieces: list[str]) -> int:
    """Write what stands at a position of the pattern; return the next position. Raises FormatFault."""
    letter = pattern[position]
    if letter in "'\"":
        return write_quoted(pattern, position, pieces)
    if letter == "\\":
        if position + 1 >= len(pattern):
            raise FormatFault
        pieces.append(pattern[position + 1])
        return position + 2
    if letter == "%":
        if position + 1 >= len(pattern) or pattern[position + 1] == "%":
            raise FormatFault
        # Alone, so a quote or a backslash after it is an error and `%dd` is the day twice.
        write_specifier(moment, pattern[position + 1], 0, pieces)
        return position + 2
    if letter not in "dMyhHmsfFtgzK:/":
        pieces.append(letter)
        return position + 1
    count = 1 if letter in "K:/" else run_length(pattern, position)
    write_field(moment, letter, count, pieces)
    return position + count


def write_quoted(pattern: str, position: int, pieces: list[str]) -> int:
    """Write a quoted part of the pattern; return the next position. Raises FormatFault."""
    quote = pattern[position]
    position += 1
    while position < len(pattern):
        character = pattern[position]
        if character == quote:
            return position + 1
        if character == "\\":
            position += 1
            if position >= len(pattern):
                raise FormatFault
        pieces.append(pattern[position])
        position += 1
    raise FormatFault


def write_field(moment: Instant, letter: str, count: int, pieces: list[str]) -> None:
    """Write one field of a moment, such as `yyyy`. Raises FormatFault."""
    day = moment.day
    hour, minute, second, fraction = moment.clock
    if letter in "hHms":
        value = {"h": hour % 12 or 12, "H": hour, "m": minute, "s": second}[letter]
        pieces.append(f"{value:0{min(count, 2)}d}")
    elif letter == "d":
        name = DAYS[day.weekday()]
        pieces.append(f"{day.day:0{count}d}" if count <= 2 else name[:3] if count == 3 else name)
    elif letter == "M":
        name = MONTHS[day.month - 1]
        pieces.append(f"{day.month:0{count}d}" if count <= 2 else name[:3] if count == 3 else name)
    elif letter == "y":
        pieces.append(f"{day.year % 100:0{count}d}" if count <= 2 else f"{day.year:0{count}d}")
    elif letter in "fF":
        write_fraction(f"{fraction:07d}", letter, count, pieces)
    elif letter == "t":
        half = "AM" if hour < 12 else "PM"
        pieces.append(half[0] if count == 1 else half)
    elif letter == "g":
        pieces.append("AD")
    elif letter == "z":
        pieces.append("+0" if count == 1 else "+00" if count == 2 else "+00:00")
    else:
        pieces.append(moment.zone if letter == "K" else letter)


def write_fraction(digits: str, letter: str, count: int, pieces: list[str]) -> None:
    """Write the fraction of a second; `F` leaves out zeros at the end. Raises FormatFault."""
    if count > 7:
        raise FormatFault
    shown = digits[:count]
    if letter == "F":
        shown = shown.rstrip("0")
        if not shown:
            drop_point(pieces)
    pieces.append(shown)


def drop_point(pieces: list[str]) -> None:
    """Remove the point that the text written so far ends with; pieces such as `K` may have written nothing after it."""
    last = next((index for index in reversed(range(len(pieces))) if pieces[index]), None)
    if last is not None and pieces[last].endswith("."):
        pieces[last] = pieces[last][:-1]
