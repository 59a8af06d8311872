"""How en-US compares texts, as the engine's runtime does it: for order, and for searches that ignore case.

A search compares what a reader sees: case, control characters and the way an accent is encoded do not count, an accent
does. `replace`, `split`, `contains` and `equals` do not use this: they compare character by character.
The service runs on Windows, whose order differs in places (hyphens, apostrophes); never let a pipeline depend on order.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from adf_runner.expressions.texts import DOTLESS_I, lower_character, units, upper_character

MARKS: Final = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789"
BLANKS: Final = "\t\n\x0b\x0c\r \x85\u2028\u2029\xa0"
RANKS: Final = {character: rank for rank, character in enumerate(BLANKS + MARKS)}
LETTER_RANK: Final = len(RANKS)
LIGATURES: Final = str.maketrans({"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"})
VISIBLE_CONTROLS: Final = "\t\n\x0b\x0c\r\x85"

Key = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def sort_key(text: str) -> Key:
    """Return a key that sorts as texts sort: by base letters, then by accents, then small before capital letters."""
    bases: list[int] = []
    accents: list[int] = []
    cases: list[int] = []
    if not text.isascii():
        text = unicodedata.normalize("NFD", text.translate(LIGATURES))
    for character in text:
        if unicodedata.combining(character):
            if accents:
                accents[-1] = accents[-1] * 1024 + ord(character) % 1024
            continue
        rank = RANKS.get(character)
        if rank is None:
            if is_ignored(character):
                continue
            rank = LETTER_RANK + ord(character.lower()[0])
        bases.append(rank)
        accents.append(0)
        cases.append(character.isupper())
    return tuple(bases), tuple(accents), tuple(cases)


class Element(NamedTuple):
    """One unit of comparison: a letter without case with its accents, and whether a visible character begins or ends here."""

    key: str
    start: int
    end: int
    begins: bool
    ends: bool


def is_ignored(character: str) -> bool:
    """Return whether .NET's comparison of texts passes over a character."""
    category = unicodedata.category(character)
    return (
        category == "Cf"
        or (category == "Cc" and character not in VISIBLE_CONTROLS)
        or "\ufe00" <= character <= "\ufe0f"
    )


def is_plain(text: str) -> bool:
    """Return whether searching a text needs nothing but upper case: ASCII that can be seen."""
    return text.isascii() and (text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable())


def elements(text: str) -> list[Element]:
    """Return a text as units of comparison, with positions in UTF-16 units."""
    found: list[Element] = []
    position = 0
    previous = ""
    for character in text:
        end = position + 1 + (character > "\uffff")
        joins, keys = comparison(character)
        if found and (joins or (character == "\n" and previous == "\r")):
            found[-1] = Element(found[-1].key + character, found[-1].start, end, found[-1].begins, found[-1].ends)
        elif len(keys) == 1:
            found.append(Element(keys[0], position, end, True, True))
        else:
            last = len(keys) - 1
            found.extend(Element(key, position, end, i == 0, i == last) for i, key in enumerate(keys))
        position, previous = end, character
    return found


@lru_cache(maxsize=4096)
def comparison(character: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether a character joins the one before it, and what it is compared by: nothing where it is ignored."""
    if is_ignored(character):
        return False, ()
    if unicodedata.decomposition(character).startswith(("<wide>", "<narrow>")):
        return False, (without_case(character),)
    keys: list[str] = []
    for part in unicodedata.normalize("NFKD", character):
        if keys and unicodedata.combining(part):
            keys[-1] += part
        else:
            keys.append(without_case(part))
    return bool(unicodedata.combining(character)), tuple(keys)


def without_case(character: str) -> str:
    """Return the form of a character that all its cases share."""
    return character if character == DOTLESS_I else lower_character(upper_character(character))


def coded(whole: list[Element], part: list[Element]) -> tuple[str, str]:
    """Return both texts with one character a unit, so that Python's own search can be used."""
    codes: dict[str, str] = {}

    def written(text: list[Element]) -> str:
        return "".join(codes.setdefault(element.key, chr(len(codes))) for element in text)

    return written(whole), written(part)


def places(whole: str, part: str) -> Iterator[int]:
    """Yield every position, in UTF-16 units, where a part begins and ends at visible characters."""
    inside, wanted = elements(whole), elements(part)
    text, sought = coded(inside, wanted)
    index = text.find(sought)
    while index >= 0:
        if inside[index].begins and inside[index + len(wanted) - 1].ends:
            yield inside[index].start
        index = text.find(sought, index + 1)


def is_same(left: str, right: str) -> bool:
    """Return whether a reader sees the same two texts, ignoring case."""
    if is_plain(left) and is_plain(right):
        return left.upper() == right.upper()
    return [element.key for element in elements(left)] == [element.key for element in elements(right)]


def is_empty(part: str) -> bool:
    """Return whether a text holds nothing that is compared."""
    return not part or all(map(is_ignored, part))


def find(whole: str, part: str) -> int:
    """Return where a part begins, in UTF-16 units, ignoring case; -1 when it is not there."""
    if is_plain(whole) and is_plain(part):
        return whole.upper().find(part.upper())
    if is_empty(part):
        return 0 if whole or not part else -1
    return next(places(whole, part), -1)


def find_last(whole: str, part: str) -> int:
    """Return where the last such part begins; an empty part is found at the last character."""
    if is_empty(part):
        return max(len(units(whole)) - 1, 0) if whole or not part else -1
    if is_plain(whole) and is_plain(part):
        return whole.upper().rfind(part.upper())
    return max(places(whole, part), default=-1)


def begins_with(whole: str, part: str) -> bool:
    """Return whether `whole` begins with `part`, without regard to case, as .NET compares."""
    if is_plain(whole) and is_plain(part):
        return whole.upper().startswith(part.upper())
    if is_empty(part):
        return bool(whole) or not part
    inside = elements(whole)
    return bool(inside) and next(places(whole, part), -1) == inside[0].start


def ends_with(whole: str, part: str) -> bool:
    """Return whether `whole` ends with `part`, without regard to case, as .NET compares."""
    if is_plain(whole) and is_plain(part):
        return whole.upper().endswith(part.upper())
    inside, wanted = elements(whole), elements(part)
    if not wanted or len(wanted) > len(inside):
        return not part
    text, sought = coded(inside, wanted)
    return text.endswith(sought) and inside[len(inside) - len(wanted)].begins
