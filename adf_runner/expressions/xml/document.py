"""XML documents: the nodes, and a strict parser for XML 1.0 with namespaces.

White space between elements is dropped, as the engine drops it, unless `xml:space="preserve"` keeps it. A document type
is refused: nothing that a pipeline handles needs one, and entities are an old way to attack a parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from adf_runner.expressions.xml.names import FIRST, LATER

XML_NAMESPACE: Final = "http://www.w3.org/XML/1998/namespace"
XMLNS_NAMESPACE: Final = "http://www.w3.org/2000/xmlns/"
MOST_DEPTH: Final = 100
INVALID: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
ENTITIES: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
BLANK: Final = " \t\r\n"

NCNAME: Final = f"[{FIRST}][{LATER}]*"
QNAME: Final = re.compile(f"{NCNAME}(?::{NCNAME})?")
ATTRIBUTE: Final = re.compile(f"[{BLANK}]+({NCNAME}(?::{NCNAME})?)[{BLANK}]*=[{BLANK}]*(?:\"([^\"<]*)\"|'([^'<]*)')")
DECLARATION: Final = re.compile(
    r"""<\?xml\s+version\s*=\s*(?P<q1>["'])1\.0(?P=q1)
    (?:\s+encoding\s*=\s*(?P<q2>["'])(?P<encoding>[A-Za-z][A-Za-z0-9._:-]*)(?P=q2))?
    (?:\s+standalone\s*=\s*(?P<q3>["'])(?P<standalone>yes|no)(?P=q3))?\s*\?>""",
    re.VERBOSE,
)
# xml() takes white space that is written in hexadecimal for white space, and for text when it is in decimal.
BLANK_RUN: Final = re.compile(r"(?:[ \t\r\n]|&#x0*(?:20|9|[AaDd]);)*")
REFERENCE: Final = re.compile(r"&(?:#(\d+)|#x([0-9A-Fa-f]+)|([A-Za-z]\w*));|&")


class XmlFault(ValueError):
    """The text is not well-formed XML, or the XPath expression is none."""


@dataclass(slots=True, eq=False)
class Attribute:
    """An attribute, or a namespace declaration (its namespace is then XMLNS_NAMESPACE)."""

    name: str
    namespace: str
    value: str
    parent: Element | None = None

    @property
    def local(self) -> str:
        return self.name.rpartition(":")[2]


@dataclass(slots=True, eq=False)
class Text:
    """Character data; `form` says whether it stood in a CDATA section or is kept white space."""

    value: str
    form: str = "text"
    parent: Element | Document | None = None


@dataclass(slots=True, eq=False)
class Comment:
    value: str
    parent: Element | Document | None = None


@dataclass(slots=True, eq=False)
class Instruction:
    name: str
    value: str
    parent: Element | Document | None = None


@dataclass(slots=True, eq=False)
class Element:
    """An element; `empty` remembers that it was written `<a/>`."""

    name: str
    namespace: str = ""
    attributes: list[Attribute] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    empty: bool = False
    parent: Element | Document | None = None

    @property
    def local(self) -> str:
        return self.name.rpartition(":")[2]


@dataclass(slots=True, eq=False)
class Document:
    """A whole document; `declaration` holds version, encoding and standalone where the text has them."""

    declaration: dict[str, str] | None = None
    children: list[Child] = field(default_factory=list)
    parent: None = None


Child = Element | Text | Comment | Instruction
Node = Document | Child | Attribute


def parse_xml(text: str, *, exact: bool = False) -> Document:
    """Return the document of an XML text; raises XmlFault with the place where it stops being XML.

    `exact` does as xpath(): it makes every line end one line feed, keeps white space between elements, and refuses
    references to characters that XML forbids. Without it, as xml() does, line ends stay as they are.
    """
    return XmlParser(text, exact=exact).document()


class XmlParser:
    """Reads a document from left to right; the open elements are a stack, so depth costs no recursion."""

    def __init__(self, text: str, *, exact: bool) -> None:
        self.exact = exact
        self.text = text.removeprefix("\ufeff")
        if exact:
            self.text = self.text.replace("\r\n", "\n").replace("\r", "\n")
        self.position = 0
        self.root = Document()
        self.open: list[Element] = []
        self.scopes: list[dict[str, str]] = [{"xml": XML_NAMESPACE, "xmlns": XMLNS_NAMESPACE, "": ""}]
        self.preserve = [False]

    def fault(self, message: str) -> XmlFault:
        line = self.text.count("\n", 0, self.position) + 1
        column = self.position - self.text.rfind("\n", 0, self.position)
        return XmlFault(f"{message} (line {line}, position {column})")

    def document(self) -> Document:
        invalid = INVALID.search(self.text)
        if invalid is not None:
            self.position = invalid.start()
            raise self.fault(f"the character 0x{ord(invalid[0]):02X} is not allowed in XML")
        self.read_declaration()
        while self.position < len(self.text):
            if self.text[self.position] == "<":
                self.read_markup()
            else:
                self.read_text()
        if self.open:
            raise self.fault(f"the element '{self.open[-1].name}' is not closed")
        if not any(isinstance(child, Element) for child in self.root.children):
            raise self.fault("the root element is missing")
        return self.root

    def read_declaration(self) -> None:
        if not re.match(f"<\\?xml[{BLANK}]", self.text):
            return
        match = DECLARATION.match(self.text)
        if match is None:
            raise self.fault("the XML declaration is not valid")
        parts = {"version": "1.0", "encoding": match["encoding"], "standalone": match["standalone"]}
        self.root.declaration = {name: value for name, value in parts.items() if value}
        self.position = match.end()

    def add(self, child: Child) -> None:
        parent = self.open[-1] if self.open else self.root
        child.parent = parent
        parent.children.append(child)

    def read_markup(self) -> None:
        text, position = self.text, self.position
        if text.startswith("</", position):
            self.close_element()
        elif text.startswith("<!--", position):
            comment = self.until("<!--", "-->", "the comment")
            if "--" in comment or comment.endswith("-"):
                raise self.fault("a comment must not hold '--'")
            self.add(Comment(comment))
        elif text.startswith("<![CDATA[", position) and self.open:
            self.add(Text(self.until("<![CDATA[", "]]>", "the CDATA section"), "cdata"))
        elif text.startswith("<?", position):
            self.read_instruction()
        elif text.startswith("<!", position):
            raise self.fault("a document type or markup declaration is not accepted")
        else:
            self.open_element()

    def until(self, opening: str, closing: str, what: str) -> str:
        start = self.position + len(opening)
        end = self.text.find(closing, start)
        if end < 0:
            raise self.fault(f"{what} is not closed")
        self.position = end + len(closing)
        return self.text[start:end]

    def read_instruction(self) -> None:
        body = self.until("<?", "?>", "the processing instruction")
        match = re.match(NCNAME, body)
        if match is None or match[0].lower() == "xml" or body[match.end() :][:1].strip(BLANK):
            raise self.fault("the processing instruction has no valid name")
        self.add(Instruction(match[0], body[match.end() :].lstrip(BLANK)))

    def read_text(self) -> None:
        end = self.text.find("<", self.position)
        end = len(self.text) if end < 0 else end
        raw = self.text[self.position : end]
        if not self.open:
            if raw.strip(BLANK):
                raise self.fault("there is text outside of the root element")
        elif "]]>" in raw:
            raise self.fault("']]>' is not allowed in text")
        elif self.exact or not BLANK_RUN.fullmatch(raw):
            self.add(Text(self.resolved(raw)))
        elif self.preserve[-1]:
            self.add(Text(self.resolved(raw), "significant-whitespace"))
        self.position = end

    def resolved(self, raw: str) -> str:
        return REFERENCE.sub(self.entity, raw) if "&" in raw else raw

    def entity(self, match: re.Match[str]) -> str:
        decimal, hexadecimal, name = match.groups()
        if name in ENTITIES:
            return ENTITIES[name]
        digits = decimal or hexadecimal
        if digits and len(digits.lstrip("0")) <= 7:
            code = int(digits, 10 if decimal else 16)
            is_character = code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
            if is_character and not (self.exact and INVALID.match(chr(code))):
                return chr(code)
        raise self.fault(f"'{match[0]}' is not a character or known entity")

    def open_element(self) -> None:
        match = QNAME.match(self.text, self.position + 1)
        if match is None:
            raise self.fault("'<' starts no valid tag")
        if len(self.open) >= MOST_DEPTH:
            raise self.fault(f"elements nest deeper than {MOST_DEPTH} levels")
        if not self.open and any(isinstance(child, Element) for child in self.root.children):
            raise self.fault("there are several root elements")
        element = Element(match[0])
        raw: list[tuple[str, str]] = []
        end = match.end()
        while attribute := ATTRIBUTE.match(self.text, end):
            value = attribute[2] if attribute[2] is not None else attribute[3]
            raw.append((attribute[1], self.resolved(re.sub("[\t\n]", " ", value) if self.exact else value)))
            end = attribute.end()
        closing = re.compile(f"[{BLANK}]*(/?)>").match(self.text, end)
        if closing is None:
            self.position = end
            raise self.fault(f"the tag '{element.name}' is not well-formed")
        space = next((value.strip(BLANK) for name, value in raw if name == "xml:space"), None)
        if space not in (None, "preserve", "default"):
            raise self.fault("xml:space is preserve or default")
        self.resolve_names(element, raw)
        self.add(element)
        self.position = closing.end()
        if closing[1]:
            element.empty = True
            self.scopes.pop()
        else:
            self.open.append(element)
            self.preserve.append(self.preserve[-1] if space is None else space == "preserve")

    def resolve_names(self, element: Element, raw: list[tuple[str, str]]) -> None:
        scope = self.scopes[-1]
        if any(name.startswith("xmlns") for name, _ in raw):
            scope = dict(scope)
        for name, value in raw:
            if name == "xmlns" or name.startswith("xmlns:"):
                scope[name[6:]] = value
                if name != "xmlns" and not value:
                    raise self.fault(f"the prefix '{name[6:]}' cannot be bound to nothing")
        self.scopes.append(scope)
        element.namespace = self.bound(element.name, scope)
        seen: set[tuple[str, str]] = set()
        for name, value in raw:
            is_declaration = name == "xmlns" or name.startswith("xmlns:")
            namespace = XMLNS_NAMESPACE if is_declaration else self.bound(name, scope) if ":" in name else ""
            key = (namespace, name.rpartition(":")[2])
            if key in seen:
                raise self.fault(f"the attribute '{name}' appears twice")
            seen.add(key)
            element.attributes.append(Attribute(name, namespace, value, element))

    def bound(self, name: str, scope: dict[str, str]) -> str:
        prefix = name.rpartition(":")[0]
        if prefix not in scope:
            raise self.fault(f"the prefix '{prefix}' is not declared")
        return scope[prefix]

    def close_element(self) -> None:
        match = re.compile(f"</({QNAME.pattern})[{BLANK}]*>").match(self.text, self.position)
        if match is None or not self.open or self.open[-1].name != match[1]:
            wanted = f"; </{self.open[-1].name}> is open" if self.open else ""
            raise self.fault(f"the end tag does not match{wanted}")
        self.open.pop()
        self.scopes.pop()
        self.preserve.pop()
        self.position = match.end()


def declared(element: Element, prefix: str) -> str | None:
    """Return the namespace that a prefix stands for at an element, or None when it is not declared."""
    wanted = f"xmlns:{prefix}" if prefix else "xmlns"
    node: Element | Document | None = element
    while isinstance(node, Element):
        for attribute in node.attributes:
            if attribute.name == wanted:
                return attribute.value
        node = node.parent
    return {"xml": XML_NAMESPACE, "": ""}.get(prefix)
