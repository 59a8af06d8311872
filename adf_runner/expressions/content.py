"""Binary content in JSON: `{"$content-type": ..., "$content": base64}`, and the character sets that turn it into text."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from adf_runner.expressions.errors import ValueFault
from adf_runner.expressions.numbers import float_text

BINARY_TYPE: Final = "application/octet-stream"
BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")
WORD: Final = r"[^\s\x00-\x1f\x7f-\uffff()<>@,;:\\\"/\[\]?=]+"
# Blanks and comments, and quoted pairs, as System.Net.Mime.ContentType of .NET reads them.
GAP: Final = r"(?:[ \t]|\r\n[ \t]|\([^()\\\r\n]*\))*"
QUOTED: Final = r"\"((?:[^\"\\\x80-\U0010ffff]|\\[\x00-\x7f])*)\""
MEDIA_TYPE: Final = re.compile(rf"{WORD}/{WORD}(?:{GAP};{GAP}{WORD}={GAP}(?:{WORD}|{QUOTED}))*{GAP}(?:;{GAP})?")
CHARSET: Final = re.compile(rf";{GAP}(?i:charset)={GAP}(?:({WORD})|{QUOTED})")
ENCODINGS: Final = {
    **dict.fromkeys(("utf-8", "unicode-1-1-utf-8", "unicode-2-0-utf-8", "x-unicode-2-0-utf-8"), "utf-8"),
    **dict.fromkeys(("utf-16", "utf-16le", "unicode", "ucs-2", "iso-10646-ucs-2"), "utf-16-le"),
    **dict.fromkeys(("utf-16be", "unicodefffe"), "utf-16-be"),
    **dict.fromkeys(("utf-32", "utf-32le", "ucs-4", "iso-10646-ucs-4"), "utf-32-le"),
    "utf-32be": "utf-32-be",
    "utf-7": "utf-7",
    **dict.fromkeys(("us-ascii", "ascii", "us", "ansi_x3.4-1968", "iso646-us", "ibm367", "cp367"), "ascii"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "l1", "ibm819", "cp819"), "latin-1"),
}


def is_content(value: Any) -> bool:
    """Return whether a value is a binary envelope."""
    return isinstance(value, Mapping) and parts_of(value) is not None


def parts_of(value: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the content type and the base64 text of a binary envelope, or None for any other object."""
    if len(value) < 2:
        return None
    media, data = value.get("$content-type"), value.get("$content")
    if media is None or data is None:
        folded = {name.lower(): member for name, member in value.items()}
        media, data = folded.get("$content-type"), folded.get("$content")
    if media is None or data is None or isinstance(media, (Mapping, list)) or isinstance(data, (Mapping, list)):
        return None
    return plain(media), plain(data)


def plain(value: Any) -> str:
    """Return a number or a text as text."""
    return float_text(value) if isinstance(value, float) else str(value)


def content(data: bytes, content_type: str = BINARY_TYPE) -> dict[str, str]:
    """Return bytes in the envelope that stands for binary data in JSON."""
    return envelope(base64.b64encode(data).decode(), content_type)


def envelope(encoded: str, content_type: str) -> dict[str, str]:
    """Return binary content as an expression holds it: its type, and base64."""
    return {"$content-type": content_type, "$content": encoded}


def decode_base64(text: str) -> bytes | None:
    """Return the bytes of a base64 text as .NET reads it (blanks between are fine), or None when it is none."""
    packed = re.sub("[ \t\r\n]", "", text)
    return base64.b64decode(packed) if len(packed) % 4 == 0 and BASE64.fullmatch(packed) else None


def content_type_of(value: Mapping[str, Any]) -> str:
    """Return the content type of binary content."""
    parts = parts_of(value)
    assert parts is not None
    return parts[0]


def checked_content_type(value: Mapping[str, Any]) -> str:
    """Return the content type of an envelope; raises ValueFault when it is not well-formed."""
    media = content_type_of(value)
    if not MEDIA_TYPE.fullmatch(media):
        raise ValueFault(f"the content type '{media}' is not well-formed")
    return media


def charset_of(media: str) -> str:
    """Return the character set that a content type names, UTF-8 where it names none."""
    charsets = [word or quoted for word, quoted in CHARSET.findall(media)]
    if len(charsets) > 1:
        raise ValueFault(f"the content type '{media}' names its character set twice")
    return charsets[0] if charsets else "utf-8"


def is_xml(value: Any) -> bool:
    """Return whether a value is binary content of an XML type; text/xml and image/svg+xml are none to the functions."""
    if not is_content(value):
        return False
    media = content_type_of(value).partition(";")[0].strip().lower()
    return media == "application/xml" or (media.startswith("application/") and media.endswith("+xml"))


def bytes_of_content(value: Mapping[str, Any]) -> bytes:
    """Return the bytes in a binary envelope; raises ValueFault when they are not base64."""
    parts = parts_of(value)
    assert parts is not None
    data = decode_base64(parts[1])
    if data is None:
        raise ValueFault("the $content of binary content is not base64")
    return data


def text_of_content(value: Mapping[str, Any]) -> str:
    """Return binary content as text, by the character set of its content type (UTF-8 where none is given)."""
    charset = charset_of(checked_content_type(value))
    return decode_text(bytes_of_content(value), charset)


def decode_text(data: bytes, charset: str) -> str:
    """Return bytes as text; raises ValueFault for a character set that is not known."""
    encoding = ENCODINGS.get(charset.lower())
    if encoding is None:
        raise ValueFault(f"'{charset}' is not a known character set")
    if encoding.startswith("utf-16") and len(data) % 2:
        return data[:-1].decode(encoding, "replace") + "\ufffd"  # one more for the half unit at the end
    text = data.decode(encoding, "replace")
    return text.replace("\ufffd", "?") if encoding == "ascii" else text


def utf8(text: str) -> bytes:
    """Return text in UTF-8; half a surrogate pair becomes the replacement character, as in .NET."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
