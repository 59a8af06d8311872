"""Text: what a value becomes as text, and strings counted in UTF-16 units as .NET does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adf_runner.expressions.content import is_content, text_of_content
from adf_runner.expressions.numbers import fitting, float_text
from adf_runner.expressions.values import compact_json

BLANKS: Final = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
DOTLESS_I: Final = "\u0131"


def upper_character(character: str) -> str:
    """Return one character in upper case; what would become several characters (ß) stays as it is."""
    upper = character.upper()
    if len(upper) > 1:
        upper = character.title()
    return upper if len(upper) == 1 and character != DOTLESS_I else character


def lower_character(character: str) -> str:
    """Return a character in lower case, itself where that would be several."""
    lower = character.lower()
    return lower if len(lower) == 1 else character


def upper(text: str) -> str:
    """Return text in upper case, letter by letter, so that its length stays."""
    return (
        text.upper()
        if text.isascii()
        else text.translate({ord(letter): upper_character(letter) for letter in set(text)})
    )


def lower(text: str) -> str:
    """Return a text in lower case, character by character, as .NET's invariant culture does."""
    return (
        text.lower()
        if text.isascii()
        else text.translate({ord(letter): lower_character(letter) for letter in set(text)})
    )


def text_of(value: Any) -> str:
    """Return a value as `string()`, `concat()` and `@{...}` write it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, int):
        return str(fitting(value))
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, Mapping) and is_content(value):
        return text_of_content(value)
    return compact_json(value)


def units(text: str) -> str:
    """Return text with one character a UTF-16 unit: what is outside the basic plane becomes two surrogates."""
    if text.isascii() or max(text) < "\U00010000":
        return text
    return "".join(map(chr, memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H")))


def from_units(text: str) -> str:
    """Return text with pairs of surrogates joined again."""
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def repaired(text: str) -> str:
    """Return text with pairs of surrogates joined and each half without its partner as the replacement character."""
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
