"""Walks a tree with a scope. `if`, `and`, `or` and `coalesce` see their arguments unevaluated; all others get values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from local.expressions.errors import (
    ArgumentError,
    ExpressionError,
    LimitError,
    UnknownNameError,
    ValueFault,
    did_you_mean,
    listing,
)
from local.expressions.functions import FUNCTIONS, Function, Lazy
from local.expressions.numbers import is_integer
from local.expressions.scope import Scope
from local.expressions.syntax import Access, Call, Joined, Literal, Node, parse
from local.expressions.texts import text_of
from local.expressions.values import kind

MOST_TEXT: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation: the text (for carets) and the scope."""

    text: str
    scope: Scope

    def value(self, node: Node) -> Any:
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Call):
            return self.call(node)
        if isinstance(node, Access):
            return self.access(node)
        return self.joined(node)

    def call(self, node: Call) -> Any:
        function = FUNCTIONS.get(node.name.lower())
        try:
            if function is None:
                raise unknown_function(node.name)
            check_count(function, len(node.arguments))
            if isinstance(function.run, Lazy):
                return function.run.evaluate([partial(self.value, part) for part in node.arguments])
            return function.run([self.value(part) for part in node.arguments], self.scope)
        except ExpressionError as error:
            raise error.at(self.text, node.position) from None
        except RecursionError:
            raise LimitError(f"{node.name}: the value nests too deeply").at(self.text, node.position) from None

    def access(self, node: Access) -> Any:
        """Follow a chain of properties; `?.` on null makes the whole rest of the chain null."""
        chain: list[Access] = []
        root: Node = node
        while isinstance(root, Access):
            chain.append(root)
            root = root.target
        value = self.value(root)
        for step in reversed(chain):
            if value is None and step.safe:
                return None
            try:
                value = member(value, self.value(step.key), step.safe)
            except ExpressionError as error:
                raise error.at(self.text, step.position) from None
        return value

    def joined(self, node: Joined) -> str:
        parts = [part if isinstance(part, str) else text_of(self.value(part)) for part in node.parts]
        if sum(map(len, parts)) > MOST_TEXT:
            raise LimitError(f"the text grows over {MOST_TEXT} characters").at(self.text, 0)
        return "".join(parts)


def unknown_function(name: str) -> UnknownNameError:
    names = [function.name for function in FUNCTIONS.values()]
    return UnknownNameError(
        f"unknown function '{name}'{did_you_mean(name, names)}",
        hint="Data Factory documents 84 functions; no others exist",
    )


def check_count(function: Function, count: int) -> None:
    least, most = function.least, function.most
    if count < least or (most is not None and count > most):
        wanted = str(least) if least == most else f"{least} or more" if most is None else f"{least} to {most}"
        raise ArgumentError(f"{function.name}: expects {wanted} argument{'' if wanted == '1' else 's'}, got {count}")


def member(value: Any, key: Any, safe: bool) -> Any:
    """Return a property of an object or an element of an array."""
    if isinstance(value, Mapping):
        if not isinstance(key, str):
            raise ValueFault(f"an object has named properties; {kind(key)} {text_of(key)} is no name")
        if key in value:
            return value[key]
        folded = key.lower()
        for name in value:
            if name.lower() == folded:
                return value[name]
        if safe:
            return None
        raise UnknownNameError(
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
    return Evaluation(text, scope).value(parse(text))


def evaluate_tree(value: Any, scope: Scope, path: str = "") -> Any:
    """Return a copy of a JSON value with every string evaluated; `{"type": "Expression", "value": ...}` is unwrapped.

    An error carries the path of the string that caused it: `sink.fileName`, `activities[2].name`.
    """
    try:
        return evaluated(value, scope, path)
    except RecursionError:
        error = LimitError("the JSON value nests too deeply")
        error.path = path
        raise error from None


def evaluated(value: Any, scope: Scope, path: str) -> Any:
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
