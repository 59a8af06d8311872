"""Conversions between kinds: array, bool, coalesce, createArray, float, int, json, string."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from adf_runner.expressions.content import is_content, is_xml, text_of_content
from adf_runner.expressions.errors import ValueFault
from adf_runner.expressions.functions.signature import Function, Lazy, as_text, wrong
from adf_runner.expressions.json_text import read_json
from adf_runner.expressions.numbers import fitting, parse_number
from adf_runner.expressions.scope import Scope
from adf_runner.expressions.texts import BLANKS, text_of
from adf_runner.expressions.xml.conversion import json_of_xml
from adf_runner.expressions.xml.document import XmlFault, parse_xml


def array(arguments: list[Any], _scope: Scope) -> list[Any]:
    """Return an array as it is, and any other value as an array of one."""
    (value,) = arguments
    return value if isinstance(value, list) else [value]


def create_array(arguments: list[Any], _scope: Scope) -> list[Any]:
    """Return the arguments as an array."""
    return arguments


def coalesce(arguments: list[Callable[[], Any]]) -> Any:
    """Return the first argument that is not null; later ones are not evaluated."""
    for argument in arguments:
        value = argument()
        if value is not None:
            return value
    return None


def boolean(arguments: list[Any], _scope: Scope) -> bool:
    """Return a boolean for true, false, their texts, and numbers."""
    (value,) = arguments
    if isinstance(value, str):
        word = value.strip(BLANKS).lower()
        if word in ("true", "false"):
            return word == "true"
        raise ValueFault(f"bool: '{value}' is neither true nor false")
    if isinstance(value, int):
        return bool(fitting(value))
    if isinstance(value, float):
        return bool(value)
    raise wrong("bool", "the argument", "a string, a number or a boolean", value)


def floating(arguments: list[Any], _scope: Scope) -> float:
    """Return a double for a number or the text of one."""
    return as_double("float", arguments[0], trailing_sign=True)


def integer(arguments: list[Any], _scope: Scope) -> int:
    """Return an integer by way of a double, as the engine does: above 2^53 the last digits are lost."""
    number = as_double("int", arguments[0], trailing_sign=False)
    if not number.is_integer():
        raise ValueFault(f"int: '{text_of(arguments[0])}' is not a whole number")
    if not -(2.0**63) <= number < 2.0**63:
        raise ValueFault(f"int: '{text_of(arguments[0])}' does not fit a 64-bit integer")
    return int(number)


def as_double(name: str, value: Any, *, trailing_sign: bool) -> float:
    """Return a value as a double. Raises ValueFault, WrongArguments."""
    if isinstance(value, int):
        return float(fitting(value))
    if isinstance(value, float):
        return value
    number = parse_number(as_text(name, value), trailing_sign=trailing_sign)
    if number is None or math.isinf(number):
        raise ValueFault(f"{name}: '{value}' is not a number" if number is None else f"{name}: '{value}' is too large")
    return number


def parse_json(arguments: list[Any], _scope: Scope) -> Any:
    """Return the value of a JSON text, or of XML as Newtonsoft.Json converts it."""
    (value,) = arguments
    if is_xml(value):
        try:
            return json_of_xml(parse_xml(text_of_content(value)))
        except XmlFault as fault:
            raise ValueFault(f"json: {fault}") from None
    return read_json("json", text_of_content(value) if is_content(value) else as_text("json", value))


def string(arguments: list[Any], _scope: Scope) -> str:
    """Return a value as text; arrays and objects as JSON."""
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
