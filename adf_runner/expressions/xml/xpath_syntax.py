"""XPath 1.0: text to tree. Prefixes and variables are refused, as the engine refuses them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from adf_runner.expressions.xml.document import NCNAME, XmlFault
from adf_runner.expressions.xml.xpath_functions import FUNCTIONS

MOST_DEPTH: Final = 50
MOST_CHARACTERS: Final = 10_000
AXES: Final = frozenset({
    "ancestor", "ancestor-or-self", "attribute", "child", "descendant", "descendant-or-self", "following",
    "following-sibling", "namespace", "parent", "preceding", "preceding-sibling", "self",
})  # fmt: skip
NODE_TYPES: Final = frozenset({"comment", "text", "processing-instruction", "node"})
CONTEXT_FUNCTIONS: Final = frozenset({"position", "last"})
NODE_FUNCTIONS: Final = frozenset({"count", "sum", "name", "local-name", "namespace-uri"})
TOKEN: Final = re.compile(
    rf"""\s*(?:
        (?P<string>"[^"]*"|'[^']*')
      | (?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)
      | (?P<mark>::|\.\.|//|!=|<=|>=|[()\[\].@,/|+\-=<>*:$])
      | (?P<name>{NCNAME})
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
LEVELS: Final = (("or",), ("and",), ("=", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "div", "mod"))


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class String:
    value: str


@dataclass(frozen=True, slots=True)
class Negative:
    operand: XPath


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: XPath
    right: XPath


@dataclass(frozen=True, slots=True)
class FunctionCall:
    name: str
    arguments: tuple[XPath, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: an axis, a node test (`*`, a name, or a node type with `()`) and predicates."""

    axis: str
    test: str
    predicates: tuple[XPath, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """Steps from the root, from the context node (start None), or from another expression's nodes."""

    start: XPath | None
    from_root: bool
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Filtered:
    operand: XPath
    predicates: tuple[XPath, ...]


XPath = Number | String | Negative | Binary | FunctionCall | Path | Filtered


def nodes_only(tree: XPath) -> XPath:
    """Return a tree that finds nodes; raises XmlFault for one that gives a value, even where it would never run."""
    if isinstance(tree, (Path, Filtered)) or (isinstance(tree, Binary) and tree.operator == "|"):
        return tree
    raise XmlFault("the XPath expression needs a node set where it has a value")


def check_call(name: str, count: int) -> None:
    """Raise XmlFault for an unknown function or a wrong number of arguments, also where it would never run."""
    function = FUNCTIONS.get(name)
    least, most = (0, 0) if name in CONTEXT_FUNCTIONS else (function.least, function.most) if function else (0, -1)
    if most < 0:
        raise XmlFault(f"the XPath function '{name}' does not exist")
    if not least <= count <= most:
        raise XmlFault(f"the XPath function '{name}' has the wrong number of arguments")


def parse_xpath(text: str) -> XPath:
    """Return the tree of an XPath expression; raises XmlFault."""
    if len(text) > MOST_CHARACTERS:
        raise XmlFault(f"the XPath expression has more than {MOST_CHARACTERS} characters")
    parser = XPathParser(text)
    tree = parser.level(0)
    parser.expect("end")
    return tree


class XPathParser:
    """Recursive descent over all tokens, read ahead of time; depth is bounded."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        self.index = 0
        self.depth = 0
        position = 0
        while not self.tokens or self.tokens[-1][0] != "end":
            match = TOKEN.match(text, position)
            if match is None:
                raise XmlFault(f"'{text[position:].lstrip()[:1]}' starts nothing that XPath knows")
            kind = match.lastgroup or "end"
            self.tokens.append((match[kind] if kind == "mark" else kind, match[kind]))
            position = match.end()

    @property
    def kind(self) -> str:
        return self.tokens[self.index][0]

    @property
    def word(self) -> str:
        return self.tokens[self.index][1]

    def ahead(self, count: int = 1) -> str:
        return self.tokens[min(self.index + count, len(self.tokens) - 1)][0]

    def expect(self, kind: str) -> str:
        if self.kind != kind:
            raise XmlFault(f"the XPath expression needs {kind} where it has '{self.word}'")
        word = self.word
        self.index += kind != "end"
        return word

    def accept(self, kind: str) -> bool:
        found = self.kind == kind
        self.index += found
        return found

    def level(self, level: int) -> XPath:
        if level == len(LEVELS):
            return self.unary()
        if level == 0:
            self.depth += 1
            if self.depth > MOST_DEPTH:
                raise XmlFault(f"the XPath expression nests deeper than {MOST_DEPTH} levels")
        left = self.level(level + 1)
        while self.word in LEVELS[level] and self.kind != "string":
            operator = self.word
            self.index += 1
            left = Binary(operator, left, self.level(level + 1))
        self.depth -= level == 0
        return left

    def unary(self) -> XPath:
        negative = False
        while self.accept("-"):
            negative = not negative  # pairs vanish here, so `--//a` is the nodes themselves
        operand = self.union()
        return Negative(operand) if negative else operand

    def union(self) -> XPath:
        left = self.path()
        while self.accept("|"):
            left = Binary("|", nodes_only(left), nodes_only(self.path()))
        return left

    def path(self) -> XPath:
        if self.kind in ("/", "//"):
            return self.absolute()
        if not self.starts_primary():
            return Path(None, False, tuple(self.steps()))
        operand = self.primary()
        predicates = self.predicates()
        if predicates:
            operand = Filtered(nodes_only(operand), predicates)
        if self.kind not in ("/", "//"):
            return operand
        steps = [Step("descendant-or-self", "node()", ())] if self.word == "//" else []
        self.index += 1
        return Path(nodes_only(operand), False, (*steps, *self.steps()))

    def absolute(self) -> XPath:
        if self.accept("//"):
            return Path(None, True, (Step("descendant-or-self", "node()", ()), *self.steps()))
        self.index += 1
        begins_step = self.kind in ("name", "*", "@", ".", "..")
        return Path(None, True, tuple(self.steps()) if begins_step else ())

    def starts_primary(self) -> bool:
        if self.kind == "name":
            return self.ahead() == "(" and self.word not in NODE_TYPES
        if self.kind == "$":
            raise XmlFault("XPath variables are not supported")
        return self.kind in ("(", "string", "number")

    def primary(self) -> XPath:
        if self.accept("("):
            inner = self.level(0)
            self.expect(")")
            return inner
        if self.kind == "string":
            return String(self.expect("string")[1:-1])
        if self.kind == "number":
            return Number(float(self.expect("number")))
        name = self.expect("name")
        self.expect("(")
        arguments: list[XPath] = []
        if self.kind != ")":
            arguments.append(self.level(0))
            while self.accept(","):
                arguments.append(self.level(0))
        self.expect(")")
        check_call(name, len(arguments))
        if name in NODE_FUNCTIONS:
            arguments = [nodes_only(argument) for argument in arguments]
        return FunctionCall(name, tuple(arguments))

    def steps(self) -> list[Step]:
        found = [self.step()]
        while self.kind in ("/", "//"):
            if self.word == "//":
                found.append(Step("descendant-or-self", "node()", ()))
            self.index += 1
            found.append(self.step())
        return found

    def step(self) -> Step:
        if self.accept("."):
            return Step("self", "node()", ())
        if self.accept(".."):
            return Step("parent", "node()", ())
        axis = "child"
        if self.accept("@"):
            axis = "attribute"
        elif self.kind == "name" and self.ahead() == "::":
            axis = self.expect("name")
            self.index += 1
            if axis not in AXES:
                raise XmlFault(f"the XPath axis '{axis}' is not supported")
        return Step(axis, self.node_test(), self.predicates())

    def node_test(self) -> str:
        if self.accept("*"):
            return "*"
        name = self.expect("name")
        if self.kind == ":":
            raise XmlFault(f"the prefix '{name}' is not known to XPath; use local-name() and namespace-uri()")
        if not self.accept("("):
            return name
        if name not in NODE_TYPES:
            raise XmlFault(f"'{name}()' is not a node test")
        target = self.expect("string")[1:-1] if self.kind == "string" and name == "processing-instruction" else ""
        self.expect(")")
        return f"{name}({target})"

    def predicates(self) -> tuple[XPath, ...]:
        found: list[XPath] = []
        while self.accept("["):
            found.append(self.level(0))
            self.expect("]")
        return tuple(found)
