"""Text: what a value becomes as text, and strings counted in UTF-16 units as .NET does."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from local.expressions.errors import ValueFault
from local.expressions.numbers import float_text
from local.expressions.values import compact_json

BINARY_TYPE = "application/octet-stream"


def text_of(value: Any) -> str:
    """Return a value as `string()`, `concat()` and `@{...}` write it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, Mapping) and is_content(value):
        return text_of_content(value)
    return compact_json(value)


def is_content(value: Any) -> bool:
    """Tell whether a value is a binary envelope: `{"$content-type": ..., "$content": base64}`."""
    return isinstance(value, Mapping) and "$content" in value and "$content-type" in value


def content(data: bytes, content_type: str = BINARY_TYPE) -> dict[str, str]:
    """Return bytes in the envelope that stands for binary data in JSON."""
    return {"$content-type": content_type, "$content": base64.b64encode(data).decode()}


def bytes_of_content(value: Mapping[str, Any]) -> bytes:
    """Return the bytes in a binary envelope; raises ValueFault when its parts are not what they should be."""
    data, content_type = value["$content"], value["$content-type"]
    if not isinstance(data, str) or not isinstance(content_type, str):
        raise ValueFault("binary content needs a text in $content and in $content-type")
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        raise ValueFault("the $content of binary content is not base64") from None


def text_of_content(value: Mapping[str, Any]) -> str:
    return bytes_of_content(value).decode("utf-8", "replace").removeprefix("\ufeff")


def units(text: str) -> str:
    """Return text with one character a UTF-16 unit: what lies outside the basic plane becomes two surrogates."""
    if text.isascii() or max(text) < "\U00010000":
        return text
    return "".join(map(chr, memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H")))


def from_units(text: str) -> str:
    """Return text with pairs of surrogates joined again."""
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
