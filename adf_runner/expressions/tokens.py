"""Cuts an expression (the text after `@` or inside `@{...}`) into tokens.

The language has string literals in single quotes (`''` is a quote), numbers, names, and the marks `( ) [ ] , . ?`.
Nothing else is legal: no operators, no double quotes, no array literals.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from adf_runner.expressions.errors import InvalidSyntax
from adf_runner.expressions.texts import BLANKS

STRING: Final = "string"
NUMBER: Final = "number"
NAME: Final = "name"
END: Final = "end"

TOKEN: Final = re.compile(
    rf"""[{re.escape(BLANKS)}]*(?:
        (?P<string>'(?:[^']|'')*')
      | (?P<number>(?:[+-]?[0-9]|[+-]\.)[0-9A-Za-z_.]*(?:(?<=[eE])[+-][0-9]+)?)
      | (?P<name>[A-Za-z_$][A-Za-z0-9_$]*(?![A-Za-z0-9_$\x80-\uffff])|[A-Za-z_$\x80-\uffff][A-Za-z0-9_$\x80-\uffff]*)
      | (?P<mark>[()\[\],.?}}])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """One token: its kind (a mark is its own kind), its text as written and where it starts."""

    kind: str
    text: str
    position: int


def next_token(text: str, position: int) -> tuple[Token, int]:
    """Return the token at or after `position`, and where the next one begins.

    Raises InvalidSyntax for a character that starts no token and for a string without its closing quote.
    """
    match = TOKEN.match(text, position)
    if match is None:
        return refuse(text, position)
    kind = match.lastgroup or ""
    word = match.group(kind)
    if kind == NAME and not word.isascii():
        return letters(text, match.start(kind))
    return Token(word if kind == "mark" else kind, word, match.start(kind)), match.end()


def letters(text: str, start: int) -> tuple[Token, int]:
    """Return a name with letters of other scripts; symbols and half characters end it."""
    end = start
    while end < len(text) and (text[end].isalpha() or text[end] in "_$" or (end > start and text[end].isdecimal())):
        if text[end] > "\uffff":
            break
        end += 1
    return refuse(text, start) if end == start else (Token(NAME, text[start:end], start), end)


def refuse(text: str, position: int) -> tuple[Token, int]:
    """Raise InvalidSyntax for what is not a token."""
    while position < len(text) and text[position] in BLANKS:
        position += 1
    found = text[position]
    if found == "'":
        raise InvalidSyntax(
            "the string literal has no closing quote",
            hint="a quote inside a literal is written twice: ''",
            position=position,
        )
    hint = "text goes in single quotes" if found == '"' else ""
    if found in "&|=<>!+*/":
        hint = "there are no operators: use and(), or(), not(), equals(), greater(), add(), mul(), ..."
    raise InvalidSyntax(f"unexpected character '{found}'", hint=hint, position=position)
