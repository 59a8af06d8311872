"""Conversions between kinds: array, bool, coalesce, createArray, float, int, json, string."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from local.expressions.errors import ValueFault
from local.expressions.functions.signature import Function, Lazy, as_text, wrong
from local.expressions.numbers import is_integer, is_number, whole
from local.expressions.scope import Scope
from local.expressions.functions.xml import is_xml
from local.expressions.texts import is_content, text_of, text_of_content
from local.expressions.xml.conversion import json_of_xml
from local.expressions.xml.document import XmlFault, parse_xml


def array(arguments: list[Any], _scope: Scope) -> list[Any]:
    (value,) = arguments
    return value if isinstance(value, list) else [value]


def create_array(arguments: list[Any], _scope: Scope) -> list[Any]:
    return arguments


def coalesce(arguments: list[Callable[[], Any]]) -> Any:
    for argument in arguments:
        value = argument()
        if value is not None:
            return value
    return None


def boolean(arguments: list[Any], _scope: Scope) -> bool:
    (value,) = arguments
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "false"):
            return word == "true"
        raise ValueFault(f"bool: '{value}' is neither true nor false")
    if isinstance(value, bool) or is_number(value):
        return bool(value)
    raise wrong("bool", "the argument", "a string, a number or a boolean", value)


def floating(arguments: list[Any], _scope: Scope) -> float:
    (value,) = arguments
    if is_number(value):
        return float(value)
    text = as_text("float", value).strip().replace(",", "")
    try:
        if not text or "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise ValueFault(f"float: '{value}' is not a number") from None


def integer(arguments: list[Any], _scope: Scope) -> int:
    (value,) = arguments
    if is_integer(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    text = as_text("int", value).strip()
    if not text.lstrip("+-").isdecimal() or not text.isascii():
        raise ValueFault(f"int: '{value}' is not an integer")
    return whole(int(text), "int")


def parse_json(arguments: list[Any], _scope: Scope) -> Any:
    (value,) = arguments
    if is_xml(value):
        try:
            return json_of_xml(parse_xml(text_of_content(value)))
        except XmlFault as fault:
            raise ValueFault(f"json: {fault}") from None
    text = text_of_content(value) if is_content(value) else as_text("json", value)
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueFault(f"json: the text is not JSON: {error}") from None


def string(arguments: list[Any], _scope: Scope) -> str:
    return text_of(arguments[0])


FUNCTIONS = (
    Function("array", 1, 1, array),
    Function("bool", 1, 1, boolean),
    Function("coalesce", 1, None, Lazy(coalesce)),
    Function("createArray", 1, None, create_array),
    Function("float", 1, 1, floating),
    Function("int", 1, 1, integer),
    Function("json", 1, 1, parse_json),
    Function("string", 1, 1, string),
)
