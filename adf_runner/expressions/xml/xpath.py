"""XPath 1.0 over a document: node sets, strings, numbers and booleans. Work is bounded by a budget of visited nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from adf_runner.expressions.xml.document import (
    XML_NAMESPACE,
    XMLNS_NAMESPACE,
    Attribute,
    Comment,
    Document,
    Element,
    Instruction,
    Node,
    Text,
    XmlFault,
)
from adf_runner.expressions.xml.xpath_functions import FUNCTIONS, Value, as_boolean, as_number, string_value
from adf_runner.expressions.xml.xpath_syntax import (
    CONTEXT_FUNCTIONS,
    Binary,
    Filtered,
    FunctionCall,
    Negative,
    Number,
    Path,
    Step,
    String,
    XPath,
    parse_xpath,
)

MOST_VISITS: Final = 1_000_000
AROUND: Final = frozenset({"following", "following-sibling", "preceding", "preceding-sibling"})
REVERSE: Final = frozenset({"ancestor", "ancestor-or-self", "preceding", "preceding-sibling"})


def select(document: Document, expression: str) -> Value:
    """Return what an XPath expression finds: a list of nodes in document order, a string, a float or a bool."""
    return Selection(document).value(parse_xpath(expression), document, 1, 1)


class Selection:
    """One evaluation over one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.visits = 0
        self.order: dict[int, tuple[int, int]] = {}
        self.known: dict[int, list[Namespace]] = {}
        for index, node in enumerate(all_nodes(document)):
            self.order[id(node)] = (index, 0)

    def namespaces(self, element: Element) -> list[Namespace]:
        """Return the namespace nodes of an element: its own, then those of the elements around it, `xml` at the end."""
        if id(element) not in self.known:
            nodes = [Namespace(prefix, "", value, element) for prefix, value in in_scope(element).items()]
            self.known[id(element)] = nodes
            for index, node in enumerate(nodes, 1):
                self.order[id(node)] = (self.order[id(element)][0], index)
        return self.known[id(element)]

    def spend(self, count: int = 1) -> None:
        self.visits += count
        if self.visits > MOST_VISITS:
            raise XmlFault(f"the XPath expression visits more than {MOST_VISITS} nodes")

    def value(self, tree: XPath, node: Node, position: int, size: int) -> Value:
        self.spend()
        if isinstance(tree, (Number, String)):
            return tree.value
        if isinstance(tree, Negative):
            return -as_number(self.value(tree.operand, node, position, size))
        if isinstance(tree, Path):
            return self.path(tree, node, position, size)
        if isinstance(tree, Binary):
            return self.binary(tree, node, position, size)
        if isinstance(tree, Filtered):
            nodes = node_set(self.value(tree.operand, node, position, size))
            for predicate in tree.predicates:
                nodes = self.kept(nodes, predicate)
            return nodes
        return self.call(tree, node, position, size)

    def call(self, tree: FunctionCall, node: Node, position: int, size: int) -> Value:
        if tree.name in CONTEXT_FUNCTIONS:
            return float(position if tree.name == "position" else size)
        return FUNCTIONS[tree.name].run(
            [self.value(argument, node, position, size) for argument in tree.arguments], node
        )

    def binary(self, tree: Binary, node: Node, position: int, size: int) -> Value:
        left = self.value(tree.left, node, position, size)
        if tree.operator == "or":
            return as_boolean(left) or as_boolean(self.value(tree.right, node, position, size))
        if tree.operator == "and":
            return as_boolean(left) and as_boolean(self.value(tree.right, node, position, size))
        right = self.value(tree.right, node, position, size)
        if tree.operator == "|":
            return self.sorted([*node_set(left), *node_set(right)])
        if tree.operator in COMPARISONS:
            return self.compared(tree.operator, left, right)
        return arithmetic(tree.operator, as_number(left), as_number(right))

    def compared(self, operator: str, left: Value, right: Value) -> bool:
        """Compare by the rules of XPath: a node set is compared by any of its nodes."""
        if isinstance(left, bool) or isinstance(right, bool):
            left = as_boolean(left) if isinstance(left, list) else left
            right = as_boolean(right) if isinstance(right, list) else right
        if isinstance(left, list):
            self.spend(len(left))
            return any(self.compared(operator, string_value(node), right) for node in left)
        if isinstance(right, list):
            self.spend(len(right))
            return any(self.compared(operator, left, string_value(node)) for node in right)
        if operator in ("=", "!="):
            if isinstance(left, bool) or isinstance(right, bool):
                equal = as_boolean(left) == as_boolean(right)
            elif isinstance(left, float) or isinstance(right, float):
                equal = as_number(left) == as_number(right)
            else:
                equal = left == right
            return equal == (operator == "=")
        return COMPARISONS[operator](as_number(left), as_number(right))

    def path(self, tree: Path, node: Node, position: int, size: int) -> list[Node]:
        if tree.start is not None:
            nodes = node_set(self.value(tree.start, node, position, size))
        else:
            nodes = [self.document if tree.from_root else node]
        for step in tree.steps:
            nodes = self.step(step, nodes)
        return nodes

    def step(self, step: Step, nodes: list[Node]) -> list[Node]:
        found: list[Node] = []
        for node in nodes:
            if step.axis == "namespace":
                around: list[Node] = [*self.namespaces(node)] if isinstance(node, Element) else []
            else:
                around = list(AXES[step.axis](node))
            self.spend(len(around) + 1 + (len(node.parent.children) if node.parent and step.axis in AROUND else 0))
            reached = [other for other in around if matches(other, step)]
            for predicate in step.predicates:
                reached = self.kept(reached, predicate)
            found += reached
        return found if len(nodes) == 1 and step.axis not in REVERSE else self.sorted(found)

    def kept(self, nodes: list[Node], predicate: XPath) -> list[Node]:
        size = len(nodes)
        kept: list[Node] = []
        for position, node in enumerate(nodes, 1):
            verdict = self.value(predicate, node, position, size)
            if verdict == position if isinstance(verdict, float) else as_boolean(verdict):
                kept.append(node)
        return kept

    def sorted(self, nodes: Iterable[Node]) -> list[Node]:
        unique = {id(node): node for node in nodes}
        self.spend(len(unique))
        return sorted(unique.values(), key=lambda node: self.order[id(node)])


class Namespace(Attribute):
    """A namespace node: its name is the prefix, its value the namespace. It lives for one evaluation."""

    __slots__ = ()


def in_scope(element: Element) -> dict[str, str]:
    """Return the namespaces that are declared at an element by prefix, the nearest first."""
    found: dict[str, str] = {}
    node: Element | Document | None = element
    while isinstance(node, Element):
        for attribute in node.attributes:
            if attribute.namespace == XMLNS_NAMESPACE:
                found.setdefault(attribute.name[6:], attribute.value)
        node = node.parent
    return {prefix: value for prefix, value in found.items() if value} | {"xml": XML_NAMESPACE}


def node_set(value: Value) -> list[Node]:
    """Return a value that must be a node set. Raises XmlFault."""
    if isinstance(value, list):
        return value
    raise XmlFault("the XPath expression needs a node set where it has a value")


def arithmetic(operator: str, left: float, right: float) -> float:
    """Return the result of an arithmetic operator on doubles."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if right == 0 or not math.isfinite(left) or math.isnan(right):
        if operator == "mod" or left == 0 or math.isnan(left) or math.isnan(right):
            return math.nan
        return math.copysign(math.inf, left) * math.copysign(1, right)
    return left / right if operator == "div" else math.fmod(left, right)


COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def children(node: Node) -> list[Node]:
    """Return the children as XPath sees them: character data that touches is one node, the first of the run."""
    if not isinstance(node, (Document, Element)):
        return []
    found: list[Node] = []
    for child in node.children:
        if not (found and isinstance(child, Text) and isinstance(found[-1], Text)):
            found.append(child)
    return found


def all_nodes(node: Node) -> Iterator[Node]:
    """Yield a node and all below it in document order; attributes come right after their element."""
    pending: list[Node] = [node]
    while pending:
        current = pending.pop()
        yield current
        if isinstance(current, Element):
            yield from current.attributes
        pending.extend(reversed(children(current)))


def descendants(node: Node) -> Iterator[Node]:
    """Yield what a node holds, in the order of the document."""
    pending = children(node)[::-1]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(reversed(children(current)))


def ancestors(node: Node) -> Iterator[Node]:
    """Yield what holds a node, the nearest first."""
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def siblings(node: Node, *, after: bool) -> list[Node]:
    """Return the siblings on one side, the nearest first."""
    if isinstance(node, Attribute) or node.parent is None:
        return []
    around = children(node.parent)
    index = next(index for index, other in enumerate(around) if other is node)
    return around[index + 1 :] if after else around[:index][::-1]


def following(node: Node) -> Iterator[Node]:
    """Yield what comes after a node and is not in it."""
    if isinstance(node, Attribute) and node.parent is not None:
        yield from descendants(node.parent)
        yield from following(node.parent)
        return
    for start in (node, *ancestors(node)):
        for sibling in siblings(start, after=True):
            yield sibling
            yield from descendants(sibling)


def preceding(node: Node) -> Iterator[Node]:
    """Yield what comes before a node and does not hold it."""
    start = node.parent if isinstance(node, Attribute) and node.parent is not None else node
    for here in (start, *ancestors(start)):
        for sibling in siblings(here, after=False):
            yield from reversed([sibling, *descendants(sibling)])


AXES: Final[dict[str, Callable[[Node], Iterable[Node]]]] = {
    "self": lambda node: [node],
    "child": children,
    "parent": lambda node: [] if node.parent is None else [node.parent],
    "attribute": lambda node: (
        [a for a in node.attributes if a.namespace != XMLNS_NAMESPACE] if isinstance(node, Element) else []
    ),
    "descendant": descendants,
    "descendant-or-self": lambda node: [node, *descendants(node)],
    "ancestor": ancestors,
    "ancestor-or-self": lambda node: [node, *ancestors(node)],
    "following-sibling": lambda node: siblings(node, after=True),
    "preceding-sibling": lambda node: siblings(node, after=False),
    "following": following,
    "preceding": preceding,
}


PRINCIPAL: Final = {"attribute": Attribute, "namespace": Namespace}


def matches(node: Node, step: Step) -> bool:
    """Return whether a node passes a step's test."""
    test = step.test
    if test == "node()":
        return True
    if test == "text()":
        return isinstance(node, Text)
    if test == "comment()":
        return isinstance(node, Comment)
    if test.startswith("processing-instruction("):
        return isinstance(node, Instruction) and test[23:-1] in ("", node.name)
    principal = PRINCIPAL.get(step.axis, Element)
    if not isinstance(node, principal):
        return False
    return test == "*" or (node.local == test and not node.namespace)
