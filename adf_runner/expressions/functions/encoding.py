"""base64, data URIs and URI components."""

from __future__ import annotations

import base64
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from adf_runner.expressions.content import (
    BINARY_TYPE,
    ENCODINGS,
    charset_of,
    checked_content_type,
    content,
    decode_base64,
    decode_text,
    envelope,
    is_content,
    is_xml,
    parts_of,
    utf8,
)
from adf_runner.expressions.errors import ValueFault
from adf_runner.expressions.functions.signature import Function, as_text, wrong
from adf_runner.expressions.json_text import read_json
from adf_runner.expressions.scope import Scope
from adf_runner.expressions.texts import repaired, text_of

HEADER_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# Blanks, line breaks only before a blank, and quoted pairs, as MediaTypeHeaderValue of .NET reads them.
HEADER_BLANK: Final = r"(?:[ \t]|\r\n[ \t])*"
HEADER_QUOTED: Final = r"\"(?:[^\"\\]|\\[\x00-\x7f])*\""
HEADER_VALUE: Final = rf"{HEADER_BLANK}(?:={HEADER_BLANK}(?:{HEADER_WORD}|{HEADER_QUOTED}){HEADER_BLANK})?"
HEADER_TYPE: Final = re.compile(
    rf"{HEADER_BLANK}{HEADER_WORD}{HEADER_BLANK}/{HEADER_BLANK}{HEADER_WORD}{HEADER_BLANK}"
    rf"(?:;{HEADER_BLANK}{HEADER_WORD}{HEADER_VALUE})*"
)
HEADER_CHARSET: Final = re.compile(r";\s*charset\s*=\s*([^;\s]*)", re.IGNORECASE)
FIRST_CHARSET: Final = re.compile(r"[^;]*;charset=([^;]*)", re.IGNORECASE)
ESCAPE: Final = re.compile(r"%u([0-9A-Fa-f]{4})|((?:%[0-9A-Fa-f]{2}|[\x00-\x24\x26-\x7f])+)")


def to_base64(arguments: list[Any], _scope: Scope) -> str:
    """Return a text or content in base64."""
    (value,) = arguments
    if is_content(value):
        checked_content_type(value)
        return (parts_of(value) or ("", ""))[1]
    if not isinstance(value, (str, list, Mapping)):
        raise wrong("base64", "the argument", "a string, an array or an object", value)
    return base64.b64encode(utf8(text_of(value))).decode()


def decoded(name: str, text: str) -> bytes:
    """Return the bytes of base64. Raises ValueFault."""
    data = decode_base64(text)
    if data is None:
        raise ValueFault(f"{name}: the text is not base64")
    return data


def base64_to_binary(arguments: list[Any], _scope: Scope) -> dict[str, str]:
    """Return base64 as binary content."""
    text = as_text("base64ToBinary", arguments[0])
    decoded("base64ToBinary", text)
    return envelope(text, BINARY_TYPE)


def base64_to_text(name: str) -> Function:
    """Make the functions that read base64 as text."""
    return Function(
        name, 1, 1, lambda arguments, _scope: decoded(name, as_text(name, arguments[0])).decode("utf-8", "replace")
    )


def binary(arguments: list[Any], _scope: Scope) -> Any:
    """Return a value as binary content."""
    (value,) = arguments
    if value is None:
        raise wrong("binary", "the argument", "a value", value)
    if not is_content(value):
        return content(utf8(text_of(value)))
    media = checked_content_type(value)
    if not is_xml(value):
        return value
    if (charset := charset_of(media)).lower() != "utf-8":
        raise ValueFault(f"binary: XML in the character set '{charset}' is not supported; only utf-8 is")
    return envelope((parts_of(value) or ("", ""))[1], BINARY_TYPE)


class DataUri(NamedTuple):
    """The parts of a data URI; `body` is base64 text or percent-encoded text."""

    media_type: str
    is_base64: bool
    body: str

    def data(self, name: str) -> bytes:
        return decoded(name, self.body) if self.is_base64 else decode_bytes(self.body)

    @property
    def encoded(self) -> str:
        return self.body if self.is_base64 else base64.b64encode(decode_bytes(self.body)).decode()


def data_uri(arguments: list[Any], _scope: Scope) -> str:
    """Return a value as a data URI."""
    (value,) = arguments
    if value is None:
        raise wrong("dataUri", "the argument", "a value", value)
    if is_content(value):
        return f"data:{checked_content_type(value)};base64,{(parts_of(value) or ('', ''))[1]}"
    kind = "text/plain" if isinstance(value, str) else "application/json"
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(utf8(text_of(value))).decode()}"


def no_data_uri(name: str, text: str) -> ValueFault:
    """Return the error of a text that is not a data URI."""
    return ValueFault(f"{name}: '{text[:60]}' is not a data URI", hint="data:text/plain;charset=utf-8;base64,aGVsbG8=")


def read_data_uri(name: str, value: Any) -> DataUri:
    """Return the parts of a data URI, as dataUriToBinary and dataUriToString take it."""
    text = as_text(name, value)
    head, comma, body = text.partition(",")
    if head[:5].lower() != "data:" or not comma:
        raise no_data_uri(name, text)
    parts = head[5:].split(";")
    is_base64 = parts[-1].lower() == "base64"
    if is_base64:
        parts.pop()
    if not all(parts) and parts != [""]:
        raise no_data_uri(name, text)
    return DataUri(";".join(parts) or "text/plain", is_base64, body)


def data_uri_to_binary(arguments: list[Any], _scope: Scope) -> dict[str, str]:
    """Return the data URI itself as binary content."""
    uri = read_data_uri("dataUriToBinary", arguments[0])
    charset = HEADER_CHARSET.search(uri.media_type)
    if not HEADER_TYPE.fullmatch(uri.media_type):
        raise ValueFault(f"dataUriToBinary: the content type '{uri.media_type}' is not well-formed")
    if charset is not None and charset[1].lower() not in ENCODINGS:
        raise ValueFault(f"dataUriToBinary: '{charset[1]}' is not a known character set")
    return envelope(uri.encoded, uri.media_type)


def data_uri_to_string(arguments: list[Any], _scope: Scope) -> str:
    """Return the text in a data URI."""
    uri = read_data_uri("dataUriToString", arguments[0])
    charset = FIRST_CHARSET.match(uri.media_type)
    if charset is not None and charset[1].lower() != "utf-8":
        raise ValueFault(f"dataUriToString: the character set '{charset[1]}' is not supported; only utf-8 is")
    return uri.data("dataUriToString").decode("utf-8", "replace")


def decode_data_uri(arguments: list[Any], _scope: Scope) -> Any:
    """Return text for text types, the value for JSON, and binary content for all else; the default set is US-ASCII."""
    name = "decodeDataUri"
    text = as_text(name, arguments[0])
    head, comma, body = text.partition(",")
    if head[:5].lower() != "data:" or not comma:
        raise no_data_uri(name, text)
    media, *parameters = head[5:].split(";")
    if not media and parameters and parameters[0].lower() != "base64":
        raise no_data_uri(name, text)
    is_base64 = (parameters[-1:] or [media])[0].lower() == "base64"
    first = FIRST_CHARSET.match(head)
    charset = first[1] if first else "us-ascii"
    if charset.lower() not in ENCODINGS:
        raise ValueFault(f"{name}: '{charset}' is not a known character set")
    uri = DataUri(media or "text/plain", is_base64, body)
    folded = uri.media_type.lower()
    if not (folded.startswith("text/") or folded == "application/json" or folded.endswith("+json")):
        plain = decode_bytes(body, ENCODINGS[charset.lower()])
        data = body if is_base64 else base64.b64encode(plain).decode()
        return envelope(data, f"{uri.media_type};charset={charset}")
    written = decode_text(uri.data(name), charset) if is_base64 else decode_escapes(body, charset)
    return written if folded.startswith("text/") else read_json(name, written)


def encode_component(name: str) -> Function:
    """Make the functions that escape a text for an address."""
    return Function(name, 1, 1, lambda arguments, _scope: urllib.parse.quote(utf8(text_of(arguments[0])), safe="-_.~"))


def decode_component(name: str) -> Function:
    """Make the functions that read such escapes."""
    return Function(name, 1, 1, lambda arguments, _scope: decode_escapes(as_text(name, arguments[0]), "utf-8"))


def decode_escapes(text: str, charset: str) -> str:
    """Return text with `%XX`, `%uXXXX` and `+` decoded; what is not an escape stays as it is."""
    if "%" not in text and charset == "utf-8":
        return text.replace("+", " ")

    def replaced(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        return decode_text(urllib.parse.unquote_to_bytes(match[2].replace("+", " ")), charset)

    return repaired(ESCAPE.sub(replaced, text.replace("+", " ")))


def decode_bytes(text: str, encoding: str = "utf-8") -> bytes:
    """Return the bytes of a text whose escapes are read."""
    data = utf8(text) if encoding == "utf-8" else text.encode(encoding, "replace")
    return urllib.parse.unquote_to_bytes(data.replace(b"+", b" "))


def component_to_binary(arguments: list[Any], _scope: Scope) -> dict[str, str]:
    """Return an escaped text as binary content."""
    return content(decode_bytes(as_text("uriComponentToBinary", arguments[0])))


FUNCTIONS = (
    Function("base64", 1, 1, to_base64),
    Function("base64ToBinary", 1, 1, base64_to_binary),
    base64_to_text("base64ToString"),
    base64_to_text("decodeBase64"),
    Function("binary", 1, 1, binary),
    Function("dataUri", 1, 1, data_uri),
    Function("dataUriToBinary", 1, 1, data_uri_to_binary),
    Function("dataUriToString", 1, 1, data_uri_to_string),
    Function("decodeDataUri", 1, 1, decode_data_uri),
    decode_component("decodeUriComponent"),
    encode_component("encodeUriComponent"),
    encode_component("uriComponent"),
    Function("uriComponentToBinary", 1, 1, component_to_binary),
    decode_component("uriComponentToString"),
)
