"""The types of route parameters, `{id:int}`: what each takes of a decoded segment, as ASP.NET Core's constraints do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal

_BLANK = r"[ \t-\r]*"
_INTEGER = re.compile(rf"{_BLANK}[+-]?[0-9]+{_BLANK}\0*")
_NUMBER = r"(?=[0-9.])(?:[0-9][0-9,]*)?(?:\.[0-9]*)?"
_DECIMAL = re.compile(rf"{_BLANK}[+-]?{_NUMBER}{_BLANK}\0*")
_DOUBLE = re.compile(rf"{_BLANK}[+-]?{_NUMBER}(?:[eE][+-]?[0-9]+)?{_BLANK}\0*")
_NAMED_DOUBLE = re.compile(rf"{_BLANK}(?:nan|[+-]?infinity|-nan|\+nan){_BLANK}", re.IGNORECASE)
_DASHED = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_GUID = re.compile(rf"\s*(?:[0-9a-fA-F]{{32}}|{_DASHED}|\{{{_DASHED}\}}|\({_DASHED}\))\s*", re.ASCII)
_BOOL = re.compile(r"[\s\0]*(?:true|false)[\s\0]*", re.IGNORECASE | re.ASCII)
_ALPHA = re.compile(r"[A-Za-z]*\n?")
_LARGEST_DECIMAL = Decimal(2**96 - 1)


def _integer(bits: int) -> Callable[[str], bool]:
    def takes(text: str) -> bool:
        return bool(_INTEGER.fullmatch(text)) and -(2 ** (bits - 1)) <= int(text.strip("\0 \t\r\n\v\f")) < 2 ** (
            bits - 1
        )

    return takes


def _decimal(text: str) -> bool:
    digits = text.strip("\0 \t\r\n\v\f").replace(",", "")
    return bool(_DECIMAL.fullmatch(text)) and any(map(str.isdigit, digits)) and abs(Decimal(digits)) <= _LARGEST_DECIMAL


def _double(text: str) -> bool:
    return bool(_NAMED_DOUBLE.fullmatch(text)) or (bool(_DOUBLE.fullmatch(text)) and any(map(str.isdigit, text)))


CONSTRAINTS: Mapping[str, Callable[[str], bool]] = {
    "int": _integer(32),
    "long": _integer(64),
    "bool": lambda text: bool(_BOOL.fullmatch(text)),
    "alpha": lambda text: bool(_ALPHA.fullmatch(text)),
    "guid": lambda text: bool(_GUID.fullmatch(text)),
    "decimal": _decimal,
    "double": _double,
    "float": _double,
}
