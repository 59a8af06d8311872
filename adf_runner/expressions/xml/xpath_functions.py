"""The function library of XPath 1.0 and its conversions between the four kinds of value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from adf_runner.expressions.numbers import float_text
from adf_runner.expressions.texts import from_units, units
from adf_runner.expressions.xml.document import (
    XML_NAMESPACE,
    Attribute,
    Comment,
    Document,
    Element,
    Instruction,
    Node,
    Text,
    XmlFault,
)

Value = list[Node] | str | float | bool
NUMBER: Final = re.compile(r"[ \t\r\n]*-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class XPathFunction:
    """One function; `id` is missing because documents without a DTD have no ids, and the engine refuses it."""

    least: int
    most: float
    run: Callable[[list[Value], Node], Value]


def string_value(node: Node) -> str:
    """Return a node's text as XPath defines it."""
    if isinstance(node, Attribute | Comment | Instruction):
        return node.value
    if isinstance(node, Text):
        return run_of_text(node)
    pieces: list[str] = []
    pending: list[Node] = list(reversed(node.children))
    while pending:
        current = pending.pop()
        if isinstance(current, Text):
            pieces.append(current.value)
        elif isinstance(current, Element):
            pending.extend(reversed(current.children))
    return "".join(pieces)


def run_of_text(node: Text) -> str:
    """Return a text node with the character data that touches it (CDATA sections are not nodes of their own)."""
    if node.parent is None:
        return node.value
    around = node.parent.children
    index = next(index for index, other in enumerate(around) if other is node)
    pieces = []
    for other in around[index:]:
        if not isinstance(other, Text):
            break
        pieces.append(other.value)
    return "".join(pieces)


def as_string(value: Value) -> str:
    """Return a value as XPath's string()."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    return string_value(value[0]) if value else ""


def as_number(value: Value) -> float:
    """Return a value as XPath's number(); NaN for a text that is none."""
    if isinstance(value, (bool, float)):
        return float(value)
    text = as_string(value)
    if text.strip(" \t\r\n").lower() in ("infinity", "-infinity"):
        return float(text.strip(" \t\r\n"))
    return float(text) if NUMBER.fullmatch(text) else math.nan


def as_boolean(value: Value) -> bool:
    """Return a value as XPath's boolean()."""
    if isinstance(value, float):
        return value != 0 and not math.isnan(value)
    return bool(value)


def nodes_of(value: Value) -> list[Node]:
    """Return an argument that must be a node set. Raises XmlFault."""
    if isinstance(value, list):
        return value
    raise XmlFault("an XPath function needs a node set where it has a value")


def shown_name(node: Element | Attribute | Instruction) -> str:
    """Return the name as .NET's navigator gives it: with the nearest prefix of its namespace, not the one written."""
    if isinstance(node, Instruction) or not node.namespace:
        return node.name
    home = node if isinstance(node, Element) else node.parent
    prefix = prefix_of(home, node.namespace)
    return f"{prefix}:{node.local}" if prefix else node.local


def prefix_of(element: Element | None, namespace: str) -> str:
    """Return the first prefix that is declared for a namespace, the nearest element first, or nothing."""
    hidden: set[str] = set()
    node: Element | Document | None = element
    while isinstance(node, Element):
        declared = [attribute for attribute in node.attributes if attribute.name.startswith("xmlns:")]
        for attribute in declared:
            if attribute.value == namespace and attribute.local not in hidden:
                return attribute.local
        hidden |= {attribute.local for attribute in declared}
        node = node.parent
    return "xml" if namespace == XML_NAMESPACE else ""


def first_node(arguments: list[Value], node: Node) -> Node | None:
    """Return the first node of an argument, or the context's."""
    if not arguments:
        return node
    found = nodes_of(arguments[0])
    return found[0] if found else None


def full_name(node: Node | None) -> str:
    """Return a node's name with its prefix; empty for a node without one."""
    return shown_name(node) if isinstance(node, Element | Attribute | Instruction) else ""


def local_name(arguments: list[Value], node: Node) -> str:
    """Return a node's name without its prefix."""
    return full_name(first_node(arguments, node)).rpartition(":")[2]


def namespace_uri(arguments: list[Value], node: Node) -> str:
    """Return the namespace of a node's name."""
    found = first_node(arguments, node)
    return found.namespace if isinstance(found, Element | Attribute) else ""


def own_string(arguments: list[Value], node: Node) -> str:
    """Return the argument, or the context node, as a string."""
    return as_string(arguments[0]) if arguments else string_value(node)


def rounded(value: float) -> float:
    """Return the nearest whole number; a half goes up."""
    if not math.isfinite(value):
        return value
    below = math.floor(value)
    return math.copysign(below + (value - below >= 0.5), value)


def substring(arguments: list[Value], _node: Node) -> str:
    """Return characters from a place that counts from 1; a negative length takes those before it, as .NET does."""
    text = units(as_string(arguments[0]))
    start = rounded(as_number(arguments[1])) - 1
    if math.isnan(start) or len(text) <= start:
        return ""
    length = rounded(as_number(arguments[2])) if len(arguments) > 2 else math.inf
    if len(arguments) > 2 and (start < 0 or length < 0):
        start, length = 0.0, start + length
    if not length > 0:
        return ""
    first = int(max(start, 0))
    return from_units(text[first : first + int(min(length, len(text)))])


def before(text: str, part: str) -> str:
    """Return what stands before the first occurrence of a part."""
    return text.partition(part)[0] if part and part in text else ""


def translate(arguments: list[Value], _node: Node) -> str:
    """Return a text with its characters replaced one by one."""
    text, old, new = (units(as_string(argument)) for argument in arguments)
    table: dict[int, str] = {}
    for index, character in enumerate(old):
        table.setdefault(ord(character), new[index] if index < len(new) else "")
    return from_units(text.translate(table))


def has_language(arguments: list[Value], node: Node) -> bool:
    """Return whether a node is in a language or a variant of it."""
    wanted, found = as_string(arguments[0]).lower(), language(node).lower()
    return found == wanted or found.startswith(wanted + "-")


def language(node: Node) -> str:
    """Return the nearest xml:lang around a node, or nothing."""
    current: Node | None = node
    while current is not None:
        if isinstance(current, Element):
            for attribute in current.attributes:
                if attribute.local == "lang" and attribute.namespace == XML_NAMESPACE:
                    return attribute.value
        current = current.parent
    return ""


def total(arguments: list[Value], _node: Node) -> float:
    """Return the sum of the numbers of a node set."""
    return float(sum(as_number(string_value(node)) for node in nodes_of(arguments[0])))


def limit(cut: Callable[[float], int]) -> Callable[[list[Value], Node], float]:
    """Make floor and ceiling."""

    def run(arguments: list[Value], _node: Node) -> float:
        value = as_number(arguments[0])
        return math.copysign(cut(value), value) if math.isfinite(value) else value

    return run


FUNCTIONS: Final[dict[str, XPathFunction]] = {
    "count": XPathFunction(1, 1, lambda a, _n: float(len(nodes_of(a[0])))),
    "local-name": XPathFunction(0, 1, local_name),
    "namespace-uri": XPathFunction(0, 1, namespace_uri),
    "name": XPathFunction(0, 1, lambda a, n: full_name(first_node(a, n))),
    "string": XPathFunction(0, 1, own_string),
    "concat": XPathFunction(2, math.inf, lambda a, _n: "".join(map(as_string, a))),
    "starts-with": XPathFunction(2, 2, lambda a, _n: as_string(a[0]).startswith(as_string(a[1]))),
    "contains": XPathFunction(2, 2, lambda a, _n: as_string(a[1]) in as_string(a[0])),
    "substring-before": XPathFunction(2, 2, lambda a, _n: before(as_string(a[0]), as_string(a[1]))),
    "substring-after": XPathFunction(
        2, 2, lambda a, _n: as_string(a[0]).partition(as_string(a[1]))[2] if as_string(a[1]) else as_string(a[0])
    ),
    "substring": XPathFunction(2, 3, substring),
    "string-length": XPathFunction(0, 1, lambda a, n: float(len(units(own_string(a, n))))),
    "normalize-space": XPathFunction(
        0, 1, lambda a, n: " ".join(re.split("[ \t\r\n]+", own_string(a, n).strip(" \t\r\n")))
    ),
    "translate": XPathFunction(3, 3, translate),
    "boolean": XPathFunction(1, 1, lambda a, _n: as_boolean(a[0])),
    "not": XPathFunction(1, 1, lambda a, _n: not as_boolean(a[0])),
    "true": XPathFunction(0, 0, lambda _a, _n: True),
    "false": XPathFunction(0, 0, lambda _a, _n: False),
    "lang": XPathFunction(1, 1, has_language),
    "number": XPathFunction(0, 1, lambda a, n: as_number(a[0] if a else string_value(n))),
    "sum": XPathFunction(1, 1, total),
    "floor": XPathFunction(1, 1, limit(math.floor)),
    "ceiling": XPathFunction(1, 1, limit(math.ceil)),
    "round": XPathFunction(1, 1, lambda a, _n: rounded(as_number(a[0]))),
}
