"""base64, data URIs and URI components."""

from __future__ import annotations

import base64
import binascii
import urllib.parse
from typing import Any

from local.expressions.errors import ValueFault
from local.expressions.functions.signature import Function, as_text, wrong
from local.expressions.scope import Scope
from local.expressions.texts import content, is_content, text_of


def bytes_of(name: str, value: Any) -> bytes:
    if is_content(value):
        return base64.b64decode(value["$content"])
    return as_text(name, value).encode("utf-8", "replace")


def decoded(name: str, value: Any) -> bytes:
    text = as_text(name, value)
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueFault(f"{name}: the text is not base64") from None


def to_base64(arguments: list[Any], _scope: Scope) -> str:
    return base64.b64encode(bytes_of("base64", arguments[0])).decode()


def base64_to_binary(arguments: list[Any], _scope: Scope) -> dict[str, str]:
    return content(decoded("base64ToBinary", arguments[0]))


def base64_to_text(name: str) -> Function:
    return Function(name, 1, 1, lambda arguments, _scope: decoded(name, arguments[0]).decode("utf-8", "replace"))


def binary(arguments: list[Any], _scope: Scope) -> dict[str, str]:
    return content(bytes_of("binary", arguments[0]))


def data_uri(arguments: list[Any], _scope: Scope) -> str:
    (value,) = arguments
    if value is None:
        raise wrong("dataUri", "the argument", "a value", value)
    kind = "text/plain" if isinstance(value, str) else "application/json"
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(text_of(value).encode()).decode()}"


def read_data_uri(name: str, value: Any) -> tuple[str, bytes]:
    text = as_text(name, value)
    head, comma, body = text.partition(",")
    if not head.lower().startswith("data:") or not comma:
        raise ValueFault(f"{name}: the text is not a data URI")
    kind = head[5:]
    if kind.lower().endswith(";base64"):
        return kind[:-7] or "text/plain", decoded(name, body)
    return kind or "text/plain", urllib.parse.unquote_to_bytes(body)


def data_uri_to_binary(arguments: list[Any], _scope: Scope) -> dict[str, str]:
    kind, data = read_data_uri("dataUriToBinary", arguments[0])
    return content(data, kind)


def data_uri_to_text(name: str) -> Function:
    return Function(
        name, 1, 1, lambda arguments, _scope: read_data_uri(name, arguments[0])[1].decode("utf-8", "replace")
    )


def encode_component(name: str) -> Function:
    return Function(name, 1, 1, lambda arguments, _scope: urllib.parse.quote(as_text(name, arguments[0]), safe="-_.~"))


def decode_component(name: str) -> Function:
    return Function(name, 1, 1, lambda arguments, _scope: urllib.parse.unquote_plus(as_text(name, arguments[0])))


def component_to_binary(arguments: list[Any], _scope: Scope) -> dict[str, str]:
    return content(urllib.parse.unquote_plus(as_text("uriComponentToBinary", arguments[0])).encode())


FUNCTIONS = (
    Function("base64", 1, 1, to_base64),
    Function("base64ToBinary", 1, 1, base64_to_binary),
    base64_to_text("base64ToString"),
    base64_to_text("decodeBase64"),
    Function("binary", 1, 1, binary),
    Function("dataUri", 1, 1, data_uri),
    Function("dataUriToBinary", 1, 1, data_uri_to_binary),
    data_uri_to_text("dataUriToString"),
    data_uri_to_text("decodeDataUri"),
    decode_component("decodeUriComponent"),
    encode_component("encodeUriComponent"),
    encode_component("uriComponent"),
    Function("uriComponentToBinary", 1, 1, component_to_binary),
    decode_component("uriComponentToString"),
)
