"""What can go wrong with an expression, and where.

    ExpressionError                     the root: catch this one
    |-- InvalidSyntax           the text is not an expression
    |-- UnknownName                a function, property, variable, activity, ... that does not exist
    |-- WrongArguments                   a function got too many, too few or the wrong kind of arguments
    |-- ValueFault                      right kinds, impossible value: division by zero, a date that is none
    `-- LimitExceeded                      too deep, too long, too big: evaluation is bounded on purpose

`str(error)` is one line: the path into the pipeline file (when `evaluate_tree` knows it) and the message.
`error.caret` shows the expression with a mark under the place; `error.hint` is the action that helps.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

from adf_runner.errors import FactoryError

SHOWN_CHARACTERS = 100
MOST_MESSAGE = 500
MOST_NAME = 100
MOST_COMPARED = 500


class ExpressionError(FactoryError):
    """An expression that cannot be parsed or evaluated; the pipeline's author has to correct it."""

    status = 422
    usual_hint = "try it alone: ./sealift adf eval 'EXPRESSION' --scope FILE"

    def __init__(self, message: str, *, hint: str = "", text: str = "", position: int | None = None) -> None:
        reason = message if len(message) <= MOST_MESSAGE else message[:MOST_MESSAGE] + "..."
        super().__init__(reason, hint or self.usual_hint)
        self.reason = reason
        self.text = text
        self.position = position
        self.path = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason

    @property
    def caret(self) -> str:
        """The expression on one line and a `^` below the place; empty when the place is not known."""
        if self.position is None or not self.text:
            return ""
        start = max(0, self.position - SHOWN_CHARACTERS // 2)
        shown = self.text[start : start + SHOWN_CHARACTERS]
        flat = "".join(character if character.isprintable() else " " for character in shown)
        return f"{flat}\n{' ' * (self.position - start)}^"

    def by(self, function: str) -> ExpressionError:
        """Name the function that failed, unless the text names it or a deeper place is already known."""
        if self.position is None and function.lower() not in self.reason.lower():
            self.reason = f"{function}: {self.reason}"
        return self

    def at(self, text: str, position: int) -> ExpressionError:
        """Note the expression and the place in it, unless a deeper place is already known."""
        self.text = self.text or text
        if self.position is None:
            self.position = position
        return self


class InvalidSyntax(ExpressionError):
    """The text does not follow the grammar."""

    usual_hint = "write function(argument, ...), texts in single quotes, properties as .name, ['name'] or [0]"


class UnknownName(ExpressionError):
    """Something is named that does not exist."""

    usual_hint = "names are compared without case; check the spelling"


class WrongArguments(ExpressionError):
    """A function was given the wrong number or kinds of arguments."""

    usual_hint = "nothing is converted by itself: use string(), int(), float(), bool(), json() or array()"


class ValueFault(ExpressionError):
    """The arguments have the right kinds, but no answer exists for their values."""


class LimitExceeded(ExpressionError):
    """The expression asks for more depth, text or items than evaluation is willing to spend."""

    usual_hint = "split the work over several variables or activities"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known name, or nothing."""
    if len(name) > MOST_NAME:
        return ""
    by_folded = {candidate.casefold(): candidate for candidate in islice(known, MOST_COMPARED)}
    near = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean '{by_folded[near[0]]}'?" if near else ""


def listing(names: Iterable[str], most: int = 12) -> str:
    """Return the names as a readable, bounded list for a hint."""
    found = sorted(names, key=str.casefold)
    shown = ", ".join(f"'{name}'" for name in found[:most])
    return shown + (f" and {len(found) - most} more" if len(found) > most else "") if found else "none"
