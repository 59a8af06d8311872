"""The grammar: text to tree. One string value of a pipeline is a literal, an interpolated text or an expression.

    value        'plain text' | '@@' rest | '@' expression | text with '@{' expression '}' in it
    expression   literal | call
    literal      string | number | true | false | null
    call         name '(' [expression (',' expression)*] ')' access*
    access       '.' name | '?.' name | '[' expression ']' | '?[' expression ']'

Depth and length are bounded, so hostile text costs a clear error and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from adf_runner.expressions.errors import InvalidSyntax, LimitExceeded
from adf_runner.expressions.numbers import read_number
from adf_runner.expressions.tokens import END, NAME, NUMBER, STRING, Token, next_token

MOST_DEPTH: Final = 100
MOST_CHARACTERS: Final = 1_000_000
MOST_KEPT_CHARACTERS: Final = 4_000
CONSTANTS: Final = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that is written in the text itself."""

    value: Any
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    name: str
    arguments: tuple[Node, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Access:
    """A property or an element of a value; `safe` is the question mark before it."""

    target: Node
    key: Node
    safe: bool
    position: int


@dataclass(frozen=True, slots=True)
class Joined:
    """Text with expressions in it: the parts are joined into one string."""

    parts: tuple[str | Node, ...]
    position: int = 0


Node = Literal | Call | Access | Joined


def parse(text: str) -> Node:
    """Return the tree of one string value, as it is in a pipeline file; trees of usual texts are kept.

    Raises InvalidSyntax with the place in the text, or LimitExceeded.
    """
    return parse_kept(text) if len(text) <= MOST_KEPT_CHARACTERS else parse_new(text)


def parse_new(text: str) -> Node:
    """Return the tree of an expression that was not parsed before. Raises InvalidSyntax, LimitExceeded."""
    if len(text) > MOST_CHARACTERS:
        raise LimitExceeded(f"the text has {len(text)} characters; at most {MOST_CHARACTERS} are evaluated")
    try:
        if text.startswith("@@") or text == "@":
            return Literal(text[1:] or text, 0)
        if text.startswith("@") and not text.startswith("@{"):
            parser = Parser(text, 1)
            node = parser.expression()
            parser.expect(END, "the end of the expression")
            return node
        return parse_text(text)
    except InvalidSyntax as error:
        raise error.at(text, error.position or 0) from None


parse_kept = lru_cache(maxsize=4096)(parse_new)


def parse_text(text: str) -> Node:
    """Return text with its `@{...}` parts; `@@{` stands for a plain `@{`."""
    parts: list[str | Node] = []
    plain: list[str] = []
    position = 0
    while (found := text.find("@{", position)) >= 0:
        if found > 0 and text[found - 1] == "@" and found - 1 >= position:
            plain.append(text[position : found - 1] + "@{")
            position = found + 2
            continue
        plain.append(text[position:found])
        parser = Parser(text, found + 2)
        node = parser.expression()
        closing = parser.expect("}", "'}'")
        if "".join(plain):
            parts.append("".join(plain))
        plain = []
        parts.append(node)
        position = closing.position + 1
    plain.append(text[position:])
    if "".join(plain):
        parts.append("".join(plain))
    if all(isinstance(part, str) for part in parts):
        return Literal("".join(str(part) for part in parts), 0)
    return Joined(tuple(parts))


class Parser:
    """Reads one expression from a position on; looks one token ahead."""

    def __init__(self, text: str, position: int) -> None:
        self.text = text
        self.depth = 0
        self.token, self.after = next_token(text, position)

    def advance(self) -> Token:
        token = self.token
        self.token, self.after = next_token(self.text, self.after)
        return token

    def expect(self, kind: str, wanted: str) -> Token:
        token = self.token
        if token.kind != kind:
            raise InvalidSyntax(f"expected {wanted} but found {shown(token)}", position=token.position)
        # What follows a closing brace is plain text, not tokens.
        return token if kind in ("}", END) else self.advance()

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise LimitExceeded(f"the expression nests deeper than {MOST_DEPTH} levels").at(
                self.text, self.token.position
            )
        token = self.token
        if token.kind == STRING:
            node: Node = Literal(token.text[1:-1].replace("''", "'"), token.position)
            self.advance()
        elif token.kind == NUMBER:
            node = Literal(read_number(token.text, token.position), token.position)
            self.advance()
        elif token.kind == NAME:
            self.advance()
            is_call = self.token.kind == "(" and token.text.lower() not in CONSTANTS
            node = self.call(token) if is_call else constant(token)
        else:
            raise InvalidSyntax(
                f"expected a function, a text, a number, true, false or null but found {shown(token)}",
                position=token.position,
            )
        self.depth -= 1
        return node

    def call(self, name: Token) -> Node:
        self.advance()
        arguments: list[Node] = []
        if self.token.kind != ")":
            arguments.append(self.expression())
            while self.token.kind == ",":
                self.advance()
                arguments.append(self.expression())
        self.expect(")", "',' or ')'")
        return self.accesses(Call(name.text, tuple(arguments), name.position))

    def accesses(self, node: Node) -> Node:
        while self.token.kind in (".", "[", "?"):
            position = self.token.position
            safe = self.token.kind == "?"
            if safe:
                self.advance()
            if self.token.kind == ".":
                self.advance()
                name = self.expect(NAME, "a property name")
                key: Node = Literal(name.text, name.position)
            else:
                self.expect("[", "'.' or '['")
                key = self.expression()
                self.expect("]", "']'")
            node = Access(node, key, safe, position)
        return node


def constant(token: Token) -> Node:
    """Return the node of true, false or null. Raises InvalidSyntax for other words."""
    word = token.text.lower()
    if word in CONSTANTS:
        return Literal(CONSTANTS[word], token.position)
    raise InvalidSyntax(
        f"'{token.text}' is neither a function call nor a literal",
        hint=f"a function needs brackets: {token.text}(...); a text needs single quotes: '{token.text}'",
        position=token.position,
    )


def shown(token: Token) -> str:
    """Return a token as an error names it."""
    return "the end of the text" if token.kind == END else token.text if token.kind == STRING else f"'{token.text}'"


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and everything below it."""
    pending: list[Node] = [node]
    while pending:
        current = pending.pop()
        yield current
        if isinstance(current, Call):
            pending.extend(reversed(current.arguments))
        elif isinstance(current, Access):
            pending += (current.key, current.target)
        elif isinstance(current, Joined):
            pending.extend(part for part in reversed(current.parts) if not isinstance(part, str))
