"""JSON to XML and back, by the rules of Newtonsoft's converter: `@name` attributes, `#text`, `?xml`, arrays for repeats."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from adf_runner.expressions.numbers import float_text
from adf_runner.expressions.values import kind
from adf_runner.expressions.xml.document import (
    BLANK,
    FIRST,
    LATER,
    XML_NAMESPACE,
    XMLNS_NAMESPACE,
    Attribute,
    Comment,
    Document,
    Element,
    Instruction,
    Text,
    XmlFault,
    declared,
)

JSON_NAMESPACE: Final = "http://james.newtonking.com/projects/json"
TEXT_NAMES: Final = {
    "#text": "text",
    "#cdata-section": "cdata",
    "#whitespace": "whitespace",
    "#significant-whitespace": "significant-whitespace",
}
NAME_OF_FORM: Final = {form: name for name, form in TEXT_NAMES.items()}
COMMENTS: Final = "#comment"
METADATA: Final = ("$id", "$ref", "$type", "$value", "$values")
FIRST_CHARACTER: Final = re.compile(f"[{FIRST}]")
LATER_CHARACTER: Final = re.compile(f"[{LATER}]")
ESCAPED: Final = re.compile("_x([0-9A-Fa-f]{4})_")


def json_of_xml(document: Document) -> dict[str, Any]:
    """Return a document as a JSON object."""
    result: dict[str, Any] = {}
    if document.declaration is not None:
        result["?xml"] = {f"@{name}": value for name, value in document.declaration.items()}
    result.update(json_of_children(document))
    return result


def json_of_children(parent: Document | Element) -> dict[str, Any]:
    """Return the children by name, in the order of their first use; what repeats becomes an array."""
    groups: dict[str, list[Any]] = {}
    forced: set[str] = set()
    for child in parent.children:
        if isinstance(child, Comment):
            groups.setdefault(COMMENTS, []).append(child.value)
        elif isinstance(child, Element):
            name = decoded(child.name)
            groups.setdefault(name, []).append(json_of_element(child))
            if any(is_array_mark(attribute) for attribute in child.attributes):
                forced.add(name)
        elif isinstance(child, Instruction):
            groups.setdefault("?" + decoded(child.name), []).append(child.value)
        else:
            groups.setdefault(NAME_OF_FORM[child.form], []).append(child.value)
    # JSON has no comments: one goes without a trace, several leave the array that would have held them.
    several = len(groups.get(COMMENTS, ())) > 1
    groups = {name: found if name != COMMENTS else [] for name, found in groups.items() if name != COMMENTS or several}
    return {name: found if len(found) != 1 or name in forced else found[0] for name, found in groups.items()}


def json_of_element(element: Element) -> Any:
    attributes = {
        f"@{decoded(attribute.name)}": attribute.value
        for attribute in element.attributes
        if attribute.namespace != JSON_NAMESPACE and attribute.value != JSON_NAMESPACE
    }
    if not attributes:
        if not element.children:
            return None if element.empty else ""
        only = element.children[0]
        if len(element.children) == 1 and isinstance(only, Text) and only.form == "text":
            return only.value
    return {**attributes, **json_of_children(element)}


def is_array_mark(attribute: Attribute) -> bool:
    return (
        attribute.namespace == JSON_NAMESPACE
        and attribute.local == "Array"
        and attribute.value.lower() in ("true", "1")
    )


def decoded(name: str) -> str:
    return ESCAPED.sub(lambda match: chr(int(match[1], 16)), name)


def encoded(name: str) -> str:
    """Return a JSON name as an XML name: what XML does not allow is written `_x0020_`."""
    pieces: list[str] = []
    for index, character in enumerate(name):
        allowed = LATER_CHARACTER if index else FIRST_CHARACTER
        if ESCAPED.match(name, index) or not allowed.match(character):
            pieces.append(f"_x{ord(character):04X}_")
        else:
            pieces.append(character)
    return "".join(pieces)


def xml_of_json(value: Mapping[str, Any]) -> Document:
    """Return a JSON object with one root as a document; raises XmlFault when it has several roots or attributes."""
    document = Document()
    for name, member in value.items():
        if name == "?xml":
            document.declaration = declaration(member)
        elif len(name) > 1 and name.startswith("?"):
            document.children.append(Instruction(name[1:], attribute_text(name, member), document))
        elif name.startswith("@") or name in TEXT_NAMES or name == "!DOCTYPE":
            raise XmlFault(f"the root object cannot hold '{name}'")
        else:
            add_elements(document, name, member)
    if sum(isinstance(child, Element) for child in document.children) > 1:
        raise XmlFault("the JSON object has several roots; XML has one")
    return document


def declaration(member: Any) -> dict[str, str]:
    if not isinstance(member, Mapping):
        raise XmlFault("'?xml' must be an object with @version")
    parts = {name.removeprefix("@"): attribute_text(name, value) for name, value in member.items()}
    if set(parts) - {"version", "encoding", "standalone"} or not re.fullmatch(r"1\.[0-9]+", parts.get("version", "")):
        raise XmlFault("'?xml' takes @version 1.x, @encoding and @standalone")
    if parts.get("standalone", "yes") not in ("yes", "no", ""):
        raise XmlFault("@standalone is yes or no")
    return {name: parts[name] for name in ("version", "encoding", "standalone") if parts.get(name)}


def add_elements(parent: Document | Element, name: str, member: Any) -> None:
    if isinstance(member, list):
        for item in member:
            if isinstance(item, list):
                element = new_element(parent, name)
                add_elements(element, name, item)
            else:
                add_element(parent, name, item)
    else:
        add_element(parent, name, member)


def new_element(parent: Document | Element, name: str, attributes: Mapping[str, str] | None = None) -> Element:
    if not name:
        raise XmlFault("an empty property name cannot become an element")
    if name in METADATA:
        raise XmlFault(f"the property '{name}' has a special meaning to the engine and is not supported here")
    element = Element("", parent=parent, empty=True)
    for raw, value in (attributes or {}).items():
        if raw == "xmlns" or raw.startswith("xmlns:"):
            element.attributes.append(Attribute(raw, XMLNS_NAMESPACE, value, element))
    element.name, element.namespace = qualified(element, name, is_attribute=False)
    for raw, value in (attributes or {}).items():
        if raw != "xmlns" and not raw.startswith("xmlns:"):
            spelled, namespace = qualified(element, raw, is_attribute=True)
            element.attributes.append(Attribute(spelled, namespace, value, element))
    parent.children.append(element)
    return element


def qualified(element: Element, name: str, *, is_attribute: bool) -> tuple[str, str]:
    """Return the XML name and its namespace; a prefix that nothing declares is dropped."""
    prefix, colon, local = name.partition(":")
    if not name:
        raise XmlFault("an attribute needs a name after its @")
    if not colon:
        return encoded(name), "" if is_attribute else declared(element, "") or ""
    if ":" in local or not prefix or not local:
        raise XmlFault(f"'{name}' is no name: the colon stands between a prefix and a name")
    namespace = XML_NAMESPACE if prefix == "xml" else declared(element, prefix)
    return (encoded(local), "") if namespace is None else (f"{encoded(prefix)}:{encoded(local)}", namespace)


def add_element(parent: Document | Element, name: str, member: Any) -> None:
    if not isinstance(member, Mapping):
        element = new_element(parent, name)
        if member is not None:
            element.empty = False
            if member != "":
                element.children.append(Text(scalar(member), parent=element))
        return
    attributes = {key[1:]: attribute_text(key, value) for key, value in member.items() if key.startswith("@")}
    element = new_element(parent, name, attributes)
    for key, value in member.items():
        if key in TEXT_NAMES:
            for part in value if isinstance(value, list) else [value]:
                element.children.append(text_node(element, key, part))
        elif key.startswith("?"):
            element.children.append(Instruction(key[1:], attribute_text(key, value), element))
        elif not key.startswith("@"):
            add_elements(element, key, value)


def text_node(element: Element, key: str, value: Any) -> Text:
    text, form = attribute_text(key, value), TEXT_NAMES[key]
    if form.endswith("whitespace") and text.strip(BLANK):
        raise XmlFault(f"'{key}' holds more than white space")
    return Text(text, form, element)


def attribute_text(name: str, value: Any) -> str:
    if isinstance(value, (Mapping, list)):
        raise XmlFault(f"'{name}' cannot hold an {kind(value)}")
    return "" if value is None else scalar(value)


def scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return float_text(value) if isinstance(value, float) else str(value)
