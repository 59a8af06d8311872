"""XML text: on one line, as `string(xml(...))` gives it, and indented, as the nodes that `xpath` finds are written."""

from __future__ import annotations

from typing import Final

from adf_runner.expressions.xml.document import (
    INVALID,
    XML_NAMESPACE,
    XMLNS_NAMESPACE,
    Attribute,
    Child,
    Comment,
    Document,
    Element,
    Instruction,
    Text,
)
from adf_runner.expressions.xml.xpath_functions import shown_name

IN_TEXT: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
IN_ATTRIBUTE: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#xA;", "\r": "&#xD;"}
)
INDENTED_TEXT: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "\n"})
INDENTED_ATTRIBUTE: Final = str.maketrans({**IN_ATTRIBUTE, ord("\t"): "&#x9;"})


def outer_xml(node: Document | Child) -> str:
    """Return a node as text on one line; empty elements are written `<a />`."""
    pieces: list[str] = []
    if isinstance(node, Document):
        if node.declaration is not None:
            pieces.append(declaration_text(node.declaration))
        for child in node.children:
            write_plain(child, pieces)
    else:
        write_plain(node, pieces)
    return "".join(pieces)


def declaration_text(parts: dict[str, str]) -> str:
    """Return the XML declaration."""
    return "<?xml" + "".join(f' {name}="{value}"' for name, value in parts.items()) + "?>"


def escaped(text: str, table: dict[int, str]) -> str:
    """Return a text with what XML does not allow in it written as character references."""
    text = text.translate(table)
    return INVALID.sub(lambda match: f"&#x{ord(match[0]):X};", text) if INVALID.search(text) else text


def write_plain(node: Child, pieces: list[str]) -> None:
    """Append a node's start, or all of it when it holds nothing."""
    if isinstance(node, Element):
        pieces.append("<" + node.name)
        pieces.extend(f' {attribute.name}="{escaped(attribute.value, IN_ATTRIBUTE)}"' for attribute in node.attributes)
        if node.empty and not node.children:
            pieces.append(" />")
            return
        pieces.append(">")
        for child in node.children:
            write_plain(child, pieces)
        pieces.append(f"</{node.name}>")
    else:
        write_leaf(node, pieces, IN_TEXT)


def write_leaf(node: Text | Comment | Instruction, pieces: list[str], table: dict[int, str]) -> None:
    """Append a text, a comment or an instruction."""
    if isinstance(node, Comment):
        pieces.append(f"<!--{node.value}-->")
    elif isinstance(node, Instruction):
        pieces.append(f"<?{node.name} {node.value}?>" if node.value or table is IN_TEXT else f"<?{node.name}?>")
    elif node.form == "cdata":
        pieces.append(f"<![CDATA[{node.value}]]>")
    else:
        pieces.append(escaped(node.value, table))


def indented_xml(node: Document | Element) -> str:
    """Return a found node as text: two blanks a level, but none where an element holds text; CDATA becomes plain text."""
    pieces: list[str] = []
    for index, child in enumerate(node.children if isinstance(node, Document) else [node]):
        write_indented(child, pieces, "\n" if index else "", {"": "", "xml": XML_NAMESPACE})
    return "".join(pieces)


def new_declarations(element: Element, scope: dict[str, str]) -> dict[str, str]:
    """Return the namespaces to declare at an element, in the order of writing.

    First what it declared itself, the last one first, then what its attributes and its own name inherit.
    """
    own = {
        attribute.name[6:]: attribute.value
        for attribute in element.attributes
        if attribute.namespace == XMLNS_NAMESPACE
    }
    new = dict(reversed(own.items()))
    users: list[Element | Attribute] = [
        *(attribute for attribute in element.attributes if ":" in attribute.name),
        element,
    ]
    for node in users:
        prefix = shown_name(node).rpartition(":")[0]
        if node.namespace != XMLNS_NAMESPACE and scope.get(prefix) != node.namespace:
            new.setdefault(prefix, node.namespace)
    return new


def write_indented(node: Child, pieces: list[str], line: str | None, scope: dict[str, str]) -> None:
    """Write one node; `line` is the line break and indentation before it, None where text forbids any."""
    if isinstance(node, Text):
        pieces.append(escaped(node.value, INDENTED_TEXT))
        return
    pieces.append(line or "")
    if not isinstance(node, Element):
        write_leaf(node, pieces, INDENTED_TEXT)
        return
    new = new_declarations(node, scope)
    name = shown_name(node)
    pieces.append("<" + name)
    pieces.extend(
        f' {shown_name(attribute)}="{escaped(attribute.value, INDENTED_ATTRIBUTE)}"'
        for attribute in node.attributes
        if attribute.namespace != XMLNS_NAMESPACE
    )
    for prefix, namespace in new.items():
        declaration = f"xmlns:{prefix}" if prefix else "xmlns"
        pieces.append(f' {declaration}="{escaped(namespace, INDENTED_ATTRIBUTE)}"')
    if not node.children:
        pieces.append(" />" if node.empty else f"></{name}>")
        return
    pieces.append(">")
    inner = None if line is None else (line or "\n") + "  "
    for child in node.children:
        if isinstance(child, Text):
            inner = None
        write_indented(child, pieces, inner, {**scope, **new})
    pieces.append("" if inner is None else line or "\n")
    pieces.append(f"</{name}>")
