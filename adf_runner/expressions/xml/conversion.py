"""JSON to XML and back, by the rules of Newtonsoft's converter: `@name` attributes, `#text`, `?xml`, arrays for repeats."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any, Final

from adf_runner.expressions.numbers import float_text
from adf_runner.expressions.values import kind
from adf_runner.expressions.xml.document import (
    BLANK,
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
from adf_runner.expressions.xml.names import FIRST, LATER

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
    """Return a document as a JSON object; raises XmlFault for a json:Array mark that is not a boolean."""
    result: dict[str, Any] = {}
    if document.declaration is not None:
        result["?xml"] = {f"@{name}": value for name, value in document.declaration.items()}
    result.update(json_of_children(document, {"xml": XML_NAMESPACE, "xmlns": XMLNS_NAMESPACE}))
    return result


def json_of_children(parent: Document | Element, scope: Mapping[str, str]) -> dict[str, Any]:
    """Return the children by name, in the order of their first use; what repeats becomes an array.

    As in Newtonsoft, children are grouped under the prefixes that are known around them; only a child that is alone in
    its group is named by what it declares itself.
    """
    groups: dict[str, list[Any]] = {}
    alone: dict[str, str] = {}
    for child in parent.children:
        if isinstance(child, Comment):
            groups.setdefault(COMMENTS, []).append(child.value)
        elif isinstance(child, Element):
            inner = scope_of(child, scope)
            group = name_of(child, scope if len(parent.children) > 1 else inner)
            groups.setdefault(group, []).append(json_of_element(child, inner))
            alone[group] = group if is_marked_array(child) else name_of(child, inner)
        elif isinstance(child, Instruction):
            groups.setdefault("?" + decoded(child.name), []).append(child.value)
        else:
            groups.setdefault(NAME_OF_FORM[child.form], []).append(child.value)
    # JSON has no comments: one goes without a trace, several leave the array that would have held them.
    several = len(groups.get(COMMENTS, ())) > 1
    groups = {name: found if name != COMMENTS else [] for name, found in groups.items() if name != COMMENTS or several}
    forced = {
        name_of(child, scope if len(parent.children) > 1 else scope_of(child, scope))
        for child in parent.children
        if isinstance(child, Element) and is_marked_array(child)
    }
    return {
        alone.get(name, name) if len(found) == 1 else name: found if len(found) != 1 or name in forced else found[0]
        for name, found in groups.items()
    }


def scope_of(element: Element, scope: Mapping[str, str]) -> Mapping[str, str]:
    """Return the prefixes known inside an element, those declared last at the end."""
    own = {
        decoded(attribute.name[6:]): attribute.value
        for attribute in element.attributes
        if attribute.namespace == XMLNS_NAMESPACE
    }
    return {**{prefix: value for prefix, value in scope.items() if prefix not in own}, **own} if own else scope


def name_of(node: Element | Attribute, scope: Mapping[str, str]) -> str:
    """Return the JSON name of an element or attribute: its namespace's last declared prefix, and its local name."""
    local = decoded(node.local)
    if not node.namespace or node.name == "xmlns":
        return local
    prefix = next((known for known, value in reversed(list(scope.items())) if value == node.namespace), "")
    return f"{prefix}:{local}" if prefix else local


def json_of_element(element: Element, scope: Mapping[str, str]) -> Any:
    """Return an element as Newtonsoft.Json writes it: its attributes, texts and elements as members."""
    attributes = {
        f"@{name_of(attribute, scope)}": attribute.value
        for attribute in element.attributes
        if attribute.namespace != JSON_NAMESPACE and attribute.value != JSON_NAMESPACE
    }
    if not attributes:
        if not element.children and not element.attributes:
            return None if element.empty else ""
        only = element.children[0] if element.children else None
        if len(element.children) == 1 and isinstance(only, Text) and only.form == "text":
            return only.value
    return {**attributes, **json_of_children(element, scope)}


def is_marked_array(element: Element) -> bool:
    """Return whether json:Array marks an element; raises XmlFault when the mark is neither true, false, 1 nor 0."""
    for attribute in element.attributes:
        if attribute.namespace == JSON_NAMESPACE and attribute.local == "Array":
            value = attribute.value.strip(BLANK)
            if value not in ("true", "false", "1", "0"):
                raise XmlFault(f"json:Array is '{attribute.value}'; it is true, false, 1 or 0")
            return value in ("true", "1")
    return False


def decoded(name: str) -> str:
    """Return a name with its `_xHHHH_` escapes read."""
    return ESCAPED.sub(lambda match: chr(int(match[1], 16)), name)


def encoded(name: str) -> str:
    """Return a JSON name as an XML name: what XML does not allow is written `_x0020_`."""
    pieces: list[str] = []
    for index, character in enumerate(name):
        allowed = LATER_CHARACTER if index else FIRST_CHARACTER
        if ESCAPED.match(name, index) or not allowed.match(character):
            code = ord(character)
            pieces.append(f"_x{code:08X}_" if code > 0xFFFF else f"_x{code:04X}_")
        else:
            pieces.append(character)
    return "".join(pieces)


def xml_of_json(value: Mapping[str, Any]) -> Document:
    """Return a JSON object with one root as a document; raises XmlFault when it has several roots or attributes."""
    document = Document()
    named = False
    for name, member in value.items():
        if named:
            raise XmlFault("the JSON object has several roots; XML has one")
        if name == "?xml":
            document.declaration = declaration(member)
        elif len(name) > 1 and name.startswith("?"):
            document.children.append(Instruction(name[1:], attribute_text(name, member), document))
        elif name.startswith("@") or name in TEXT_NAMES or name == "!DOCTYPE":
            raise XmlFault(f"the root object cannot hold '{name}'")
        else:
            add_elements(document, name, member)
            named = bool(document.children) and isinstance(document.children[-1], Element)
    if sum(isinstance(child, Element) for child in document.children) > 1:
        raise XmlFault("the JSON object has several roots; XML has one")
    declare_namespaces(document)
    return document


def declare_namespaces(document: Document) -> None:
    """Add the declarations that the written XML needs: names were bound in the order of the JSON, not of the tree."""
    pending: list[tuple[Element, dict[str, str]]] = [
        (child, {"": "", "xmlns": XMLNS_NAMESPACE}) for child in document.children if isinstance(child, Element)
    ]
    while pending:
        element, scope = pending.pop()
        own = {a.name[6:]: a.value for a in element.attributes if a.namespace == XMLNS_NAMESPACE}
        prefix = element.name.rpartition(":")[0]
        known = {**scope, **own}
        if known.get(prefix) != element.namespace:
            known[prefix] = element.namespace
            if prefix not in own:
                name = f"xmlns:{prefix}" if prefix else "xmlns"
                element.attributes.append(Attribute(name, XMLNS_NAMESPACE, element.namespace, element))
        pending.extend((child, known) for child in element.children if isinstance(child, Element))


def declaration(member: Any) -> dict[str, str]:
    """Return the parts of the member `?xml`. Raises XmlFault."""
    if not isinstance(member, Mapping):
        raise XmlFault("'?xml' must be an object with @version")
    parts = {name.removeprefix("@"): attribute_text(name, value) for name, value in member.items()}
    if set(parts) - {"version", "encoding", "standalone"} or not re.fullmatch(r"1\.[0-9]+", parts.get("version", "")):
        raise XmlFault("'?xml' takes @version 1.x, @encoding and @standalone")
    if parts.get("standalone", "yes") not in ("yes", "no", ""):
        raise XmlFault("@standalone is yes or no")
    return {name: parts[name] for name in ("version", "encoding", "standalone") if parts.get(name)}


def add_elements(parent: Document | Element, name: str, member: Any) -> None:
    """Add the elements that a member becomes; an array becomes several of one name. Raises XmlFault."""
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
    """Add an element and return it. Raises XmlFault."""
    check_name(name)
    element = Element("", parent=parent, empty=True)
    for raw, value in (attributes or {}).items():
        if is_declaration(raw):
            set_attribute(element, raw, value)
    declarations = element.attributes
    element.name, element.namespace = qualified(element, name, is_attribute=False)
    element.attributes = []
    bound = Element("", attributes=declarations, parent=parent)
    for raw, value in (attributes or {}).items():
        set_attribute(element, raw, value, scope=bound)
    parent.children.append(element)
    return element


def check_name(name: str) -> None:
    """Refuse names that no element can have. Raises XmlFault."""
    if not name:
        raise XmlFault("an empty property name cannot become an element")
    if name in METADATA:
        raise XmlFault(f"the property '{name}' has a special meaning to the engine and is not supported here")


def is_declaration(name: str) -> bool:
    """Return whether an attribute declares a namespace."""
    return name == "xmlns" or name.startswith("xmlns:")


def set_attribute(element: Element, raw: str, value: str, *, scope: Element | None = None) -> None:
    """Set an attribute in the order of the JSON; one of the same name before it is replaced."""
    if is_declaration(raw):
        if raw != "xmlns" and not value:
            raise XmlFault(f"the prefix '{raw[6:]}' cannot be bound to nothing")
        spelled, namespace = raw, XMLNS_NAMESPACE
    else:
        spelled, namespace = qualified(scope or element, raw, is_attribute=True)
    same = next(
        (a for a in element.attributes if (a.local, a.namespace) == (spelled.rpartition(":")[2], namespace)), None
    )
    if same is not None:
        element.attributes.remove(same)
    element.attributes.append(Attribute(spelled, namespace, value, element))


def qualified(element: Element, name: str, *, is_attribute: bool) -> tuple[str, str]:
    """Return the XML name and its namespace; a prefix that nothing declares is dropped."""
    prefix, colon, local = name.partition(":")
    if not name:
        raise XmlFault("an attribute needs a name after its @")
    if not colon:
        return encoded(name), "" if is_attribute else declared(element, "") or ""
    if ":" in local or not prefix or not local:
        raise XmlFault(f"'{name}' is not a name: the colon stands between a prefix and a name")
    namespace = XML_NAMESPACE if prefix == "xml" else declared(element, prefix)
    return (encoded(local), "") if namespace is None else (f"{encoded(prefix)}:{encoded(local)}", namespace)


def add_element(parent: Document | Element, name: str, member: Any) -> None:
    """Add the element that a member becomes. Raises XmlFault."""
    if not isinstance(member, Mapping):
        element = new_element(parent, name)
        if member is not None:
            element.empty = False
            if member != "":
                element.children.append(Text(scalar(member), parent=element))
        return
    early = list(itertools.takewhile(lambda key: key.startswith("@"), member))
    if any(is_declaration(key[1:]) and member[key] is None for key in early):
        raise XmlFault("a namespace declaration cannot be null")
    element = new_element(parent, name, {key[1:]: attribute_text(key, member[key]) for key in early})
    for key, value in member.items():
        if not key.startswith("@"):
            add_member(element, key, value)
    # Attributes after the first other member bind no prefix of what stands before or below them.
    for key, value in member.items():
        if key.startswith("@") and key not in early:
            for each in value if isinstance(value, list) else [value]:
                set_attribute(element, key[1:], attribute_text(key, each))


def add_member(element: Element, key: str, value: Any) -> None:
    """Add what one property of an object stands for: text, instructions or elements."""
    if key in TEXT_NAMES:
        for part in value if isinstance(value, list) else [value]:
            element.children.append(text_node(element, key, part))
    elif key in ("?xml", "!DOCTYPE"):
        raise XmlFault(f"'{key}' belongs to the root, not to an element")
    elif key.startswith("?"):
        for part in value if isinstance(value, list) else [value]:
            element.children.append(Instruction(key[1:], attribute_text(key, part), element))
    else:
        check_name(key)
        add_elements(element, key, value)


def text_node(element: Element, key: str, value: Any) -> Text:
    """Return the text node that `#text` and its like become. Raises XmlFault."""
    text, form = attribute_text(key, value), TEXT_NAMES[key]
    if form.endswith("whitespace") and text.strip(BLANK):
        raise XmlFault(f"'{key}' holds more than white space")
    return Text(text, form, element)


def attribute_text(name: str, value: Any) -> str:
    """Return the text of an attribute. Raises XmlFault for arrays and objects."""
    if isinstance(value, (Mapping, list)):
        raise XmlFault(f"'{name}' cannot hold an {kind(value)}")
    return "" if value is None else scalar(value)


def scalar(value: Any) -> str:
    """Return a value as XML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return float_text(value) if isinstance(value, float) else str(value)
