"""xml and xpath. XML travels as binary content of type application/xml, in pipelines as in the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from adf_runner.expressions.content import (
    checked_content_type,
    content,
    envelope,
    is_content,
    is_xml,
    parts_of,
    text_of_content,
    utf8,
)
from adf_runner.expressions.errors import ValueFault
from adf_runner.expressions.functions.signature import Function, as_text, wrong
from adf_runner.expressions.scope import Scope
from adf_runner.expressions.xml.conversion import xml_of_json
from adf_runner.expressions.xml.document import (
    Attribute,
    Comment,
    Instruction,
    Node,
    Text,
    XmlFault,
    parse_xml,
)
from adf_runner.expressions.xml.writing import indented_xml, outer_xml
from adf_runner.expressions.xml.xpath import Namespace, select
from adf_runner.expressions.xml.xpath_functions import shown_name, string_value

XML_TYPE: Final = "application/xml;charset=utf-8"


def xml(arguments: list[Any], _scope: Scope) -> dict[str, str]:
    """Return a text, content or an object as XML. Raises ValueFault."""
    (value,) = arguments
    if is_content(value):
        media = checked_content_type(value)
        return envelope((parts_of(value) or ("", ""))[1], media if is_xml(value) else XML_TYPE)
    try:
        if isinstance(value, str):
            document = parse_xml(value)
        elif isinstance(value, Mapping):
            document = xml_of_json(value)
        else:
            raise wrong("xml", "the argument", "a string or an object", value)
        return content(utf8(outer_xml(document)), XML_TYPE)
    except XmlFault as fault:
        raise ValueFault(f"xml: {fault}") from None


def xpath(arguments: list[Any], _scope: Scope) -> Any:
    """Return what an XPath 1.0 expression finds in XML. Raises ValueFault."""
    source, expression = arguments
    if not is_xml(source):
        raise wrong("xpath", "the first argument", "XML, as xml() makes it", source)
    query = as_text("xpath", expression, "the second argument")
    try:
        found = select(parse_xml(text_of_content(source), exact=True), query)
        result = [found_node(node) for node in found] if isinstance(found, list) else found
    except XmlFault as fault:
        raise ValueFault(f"xpath: {fault}") from None
    if isinstance(result, float) and not math.isfinite(result):
        raise ValueFault(f"xpath: the result of '{query}' is {result}, which JSON cannot hold")
    return result


def found_node(node: Node) -> Any:
    """Return a node of a result as an expression holds it."""
    if isinstance(node, Text):
        return string_value(node)
    if isinstance(node, Comment | Instruction | Namespace):
        raise XmlFault("comments, processing instructions and namespaces cannot be returned")
    if isinstance(node, Attribute):
        return f'{shown_name(node)}="{node.value}"'
    return content(utf8(indented_xml(node)), XML_TYPE)


FUNCTIONS = (Function("xml", 1, 1, xml), Function("xpath", 2, 2, xpath))
