"""Walks a tree with a scope. `if`, `and`, `or` and `coalesce` see their arguments unevaluated; all others get values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from adf_runner.expressions.collation import is_same
from adf_runner.expressions.errors import (
    ExpressionError,
    LimitExceeded,
    UnknownName,
    ValueFault,
    WrongArguments,
    did_you_mean,
    listing,
)
from adf_runner.expressions.functions import FUNCTIONS, Function, Lazy
from adf_runner.expressions.numbers import is_integer
from adf_runner.expressions.scope import Scope
from adf_runner.expressions.syntax import Access, Call, Joined, Literal, Node, parse
from adf_runner.expressions.texts import text_of
from adf_runner.expressions.values import kind

MOST_HANDLED: Final = 64 * 1024 * 1024


class Evaluation:
    """One evaluation: the text (for carets), the scope, and how much text and how many items were handled so far."""

    __slots__ = ("handled", "scope", "text")

    def __init__(self, text: str, scope: Scope) -> None:
        self.text = text
        self.scope = scope
        self.handled = 0

    def value(self, node: Node) -> Any:
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Call):
            return self.call(node)
        if isinstance(node, Access):
            return self.access(node)
        return self.joined(node)

    def call(self, node: Call) -> Any:
        try:
            result = self.run(node)
            if isinstance(result, (str, list)):
                self.count(len(result))
        except ExpressionError as error:
            raise error.by(node.name).at(self.text, node.position) from None
        return result

    def run(self, node: Call) -> Any:
        function = FUNCTIONS.get(node.name.lower())
        if function is None:
            raise unknown_function(node.name)
        if not takes(function, len(node.arguments)):
            raise wrong_count(function, len(node.arguments))
        if isinstance(function.run, Lazy):
            return function.run.evaluate([partial(self.value, part) for part in node.arguments])
        arguments = [self.value(part) for part in node.arguments]
        for argument in arguments:
            if isinstance(argument, (str, list)):
                self.count(len(argument))
        return function.run(arguments, self.scope)

    def count(self, size: int) -> None:
        """Add to what this evaluation handled; a whole pipeline text has a budget, not only each function."""
        self.handled += size
        if self.handled > MOST_HANDLED:
            raise LimitExceeded(f"the expression handles more than {MOST_HANDLED} characters and items")

    def access(self, node: Access) -> Any:
        """Follow a chain of properties; `?.` on null makes the whole rest of the chain null."""
        chain: list[Access] = []
        root: Node = node
        while isinstance(root, Access):
            chain.append(root)
            root = root.target
        value = self.value(root)
        for step in reversed(chain):
            try:
                key = self.value(step.key)
                if value is None and step.safe and (isinstance(key, str) or is_integer(key)):
                    return None
                value = member(value, key, step.safe)
            except ExpressionError as error:
                raise error.at(self.text, step.position) from None
        return value

    def joined(self, node: Joined) -> str:
        parts = [part if isinstance(part, str) else text_of(self.value(part)) for part in node.parts]
        self.count(sum(map(len, parts)))
        return "".join(parts)


def unknown_function(name: str) -> UnknownName:
    """Return the error of a function that does not exist, with the nearest names."""
    names = [function.name for function in FUNCTIONS.values()]
    return UnknownName(
        f"unknown function '{name}'{did_you_mean(name, names)}",
        hint="Data Factory documents 84 functions; no others exist",
    )


def takes(function: Function, count: int) -> bool:
    """Say whether a function can be called with so many arguments."""
    return function.least <= count and (function.most is None or count <= function.most)


def wrong_count(function: Function, count: int) -> WrongArguments:
    """Return the error of a call with too few or too many arguments."""
    least, most = function.least, function.most
    wanted = str(least) if least == most else f"{least} or more" if most is None else f"{least} to {most}"
    return WrongArguments(
        f"{function.name}: expects {wanted} argument{'' if wanted == '1' else 's'}, got {count}",
        hint=f"Data Factory documents {function.name}() with {wanted}",
    )


def member(value: Any, key: Any, safe: bool) -> Any:
    """Return a property of an object or an element of an array."""
    if isinstance(value, Mapping):
        if not isinstance(key, str):
            raise ValueFault(f"an object has named properties; {kind(key)} {text_of(key)} is not a name")
        if key in value:
            return value[key]
        for name in value:
            if is_same(name, key):
                return value[name]
        if safe:
            return None
        raise UnknownName(
            f"property '{key}' does not exist{did_you_mean(key, value)}",
            hint=f"available: {listing(value)}; write ?.{key} where it may be missing",
        )
    if isinstance(value, list):
        if not is_integer(key):
            raise ValueFault(f"an array is indexed by integers, not by {kind(key)} '{text_of(key)}'")
        if 0 <= key < len(value):
            return value[key]
        if safe:
            return None
        raise ValueFault(f"index {key} is outside of the array with {len(value)} elements")
    raise ValueFault(f"property '{text_of(key)}' cannot be read from {kind(value)}")


def evaluate(text: str, scope: Scope) -> Any:
    """Return the value of one string of a pipeline: a literal, an interpolated text or an expression.

    Raises ExpressionError, and nothing else, whatever the text.
    """
    evaluation = Evaluation(text, scope)
    try:
        return evaluation.value(parse(text))
    except ExpressionError as error:
        raise error.at(text, 0) from None
    except RecursionError:
        raise LimitExceeded("a value nests too deeply").at(text, 0) from None


def evaluate_tree(value: Any, scope: Scope, path: str = "") -> Any:
    """Return a copy of a JSON value with every string evaluated; `{"type": "Expression", "value": ...}` is unwrapped.

    An error carries the path of the string that caused it: `sink.fileName`, `activities[2].name`.
    """
    try:
        return evaluated(value, scope, path)
    except RecursionError:
        error = LimitExceeded("the JSON value nests too deeply")
        error.path = path
        raise error from None


def evaluated(value: Any, scope: Scope, path: str) -> Any:
    """Return a value with every expression in it evaluated; a fault gets the path of its place."""
    if isinstance(value, str):
        try:
            return evaluate(value, scope)
        except ExpressionError as error:
            error.path = path
            raise
    if isinstance(value, Mapping):
        if value.get("type") == "Expression" and set(value) == {"type", "value"}:
            return evaluated(value["value"], scope, path)
        return {name: evaluated(part, scope, f"{path}.{name}" if path else name) for name, part in value.items()}
    if isinstance(value, list):
        return [evaluated(part, scope, f"{path}[{index}]") for index, part in enumerate(value)]
    return value
