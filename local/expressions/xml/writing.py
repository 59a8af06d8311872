"""XML text: on one line, as `string(xml(...))` gives it, and indented, as the nodes that `xpath` finds are written."""

from __future__ import annotations

import re
from typing import Final

from local.expressions.xml.document import Attribute, Child, Comment, Document, Element, Instruction, Text, declared

INVALID: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
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
    return "<?xml" + "".join(f' {name}="{value}"' for name, value in parts.items()) + "?>"


def escaped(text: str, table: dict[int, str]) -> str:
    text = text.translate(table)
    return INVALID.sub(lambda match: f"&#x{ord(match[0]):X};", text) if INVALID.search(text) else text


def write_plain(node: Child, pieces: list[str]) -> None:
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
    if isinstance(node, Comment):
        pieces.append(f"<!--{node.value}-->")
    elif isinstance(node, Instruction):
        pieces.append(f"<?{node.name} {node.value}?>" if node.value else f"<?{node.name}?>")
    elif node.form == "cdata":
        pieces.append(f"<![CDATA[{node.value}]]>")
    else:
        pieces.append(escaped(node.value, table))


def indented_xml(node: Document | Element | Attribute) -> str:
    """Return a found node as text: two blanks a level, but no blanks where an element holds text."""
    if isinstance(node, Attribute):
        return f'{node.name}="{escaped(node.value, INDENTED_ATTRIBUTE)}"'
    pieces: list[str] = []
    if isinstance(node, Document):
        for index, child in enumerate(node.children):
            write_indented(child, pieces, "\n" if index else "")
    else:
        write_indented(node, pieces, "", inherited_declarations(node))
    return "".join(pieces)


def inherited_declarations(element: Element) -> list[tuple[str, str]]:
    """Return the namespace declarations that an element takes along when it is written without its parents."""
    own = {attribute.name for attribute in element.attributes}
    names: dict[str, str] = {}
    node = element.parent
    while isinstance(node, Element):
        for attribute in node.attributes:
            if attribute.name == "xmlns" or attribute.name.startswith("xmlns:"):
                names.setdefault(attribute.name, attribute.value)
        node = node.parent
    prefixes = {
        element.name.rpartition(":")[0],
        *(a.name.rpartition(":")[0] for a in element.attributes if ":" in a.name),
    }
    used = {f"xmlns:{prefix}" if prefix else "xmlns" for prefix in prefixes}
    return [(name, value) for name, value in names.items() if name in used and name not in own and value]


def write_indented(node: Child, pieces: list[str], line: str, extra: list[tuple[str, str]] | None = None) -> None:
    if not isinstance(node, Element):
        if not isinstance(node, Text):
            pieces.append(line)
        write_leaf(node, pieces, INDENTED_TEXT)
        return
    pieces.append(f"{line}<{node.name}")
    pieces.extend(f' {name}="{escaped(value, INDENTED_ATTRIBUTE)}"' for name, value in extra or ())
    pieces.extend(f' {a.name}="{escaped(a.value, INDENTED_ATTRIBUTE)}"' for a in node.attributes)
    if not node.children:
        pieces.append(" />" if node.empty else f"></{node.name}>")
        return
    pieces.append(">")
    inner = (line or "\n") + "  "
    mixed = False
    for child in node.children:
        mixed = mixed or isinstance(child, Text)
        write_indented(child, pieces, "" if mixed else inner)
    pieces.append(f"</{node.name}>" if mixed else f"{line or chr(10)}</{node.name}>")


__all__ = ["declared", "indented_xml", "outer_xml"]
