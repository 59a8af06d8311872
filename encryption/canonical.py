"""Canonical JSON and the rules for single values (docs/FORMAT.md, section 3).

The same content is always the same bytes, and a text that is not in the one canonical form is refused. The cheap
checks (size, alphabet, depth) come before the JSON parser sees a byte, so hostile text costs one pass over it.
It does NOT know which members an object has: header.py and manifest.py do.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from typing import Any, Final

from encryption.errors import InvalidValue

MAX_DEPTH: Final = 5
MAX_INTEGER: Final = 2**53 - 1

# What Windows takes for a device whatever follows the first dot; no partner could store such a file there.
_DEVICE: Final = r"(?!(?i:CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|COM[1-9]|LPT[1-9]) *(?:\.|$))"
NAME: Final = re.compile(
    _DEVICE + r'(?![. ])[^\x00-\x1f\x7f-\U0010ffff/\\":*?<>|]{1,200}(?<![. ])(?<!\.[Pp][Aa][Rr][Tt])'
)
TOKEN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BATCH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
COLUMN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
DECIMAL_DIGITS: Final = 100
DECIMAL: Final = re.compile(rf"(?!-0$)-?(?:0|[1-9][0-9]{{0,{DECIMAL_DIGITS - 1}}})(?:\.[0-9]{{0,11}}[1-9])?")
KID: Final = re.compile(r"[!#-\[\]-~]{1,256}")
HASH: Final = re.compile(r"[0-9a-f]{64}")
THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")  # 256 bits: the last two of 258 are zero
NONCE: Final = re.compile(r"[0-9a-f]{24}")
TAG: Final = re.compile(r"[0-9a-f]{32}")
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)

_FOREIGN: Final = re.compile(rb"[^\x20-\x5b\x5d-\x7e]")
_BRACKETS: Final = re.compile(rb'"[^"]*"?|[\[{]|[\]}]')


def write(value: dict[str, Any]) -> bytes:
    """Return the one canonical text of a document."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def parse(data: bytes, *, max_bytes: int) -> Any:
    """Return the value of a canonical document, or raise InvalidValue that says why it is none."""
    if len(data) > max_bytes:
        raise InvalidValue(f"it has {len(data):,} bytes, more than the {max_bytes:,} allowed")
    if foreign := _FOREIGN.search(data):
        raise InvalidValue(
            f"byte {foreign.start():,} is {data[foreign.start()]:#04x}, which canonical JSON never holds"
        )
    _refuse_deep(data)
    try:
        value = json.loads(data, parse_float=_refuse_number, parse_constant=_refuse_number)
        again = write(value)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidValue("it is not JSON") from error
    if again != data:
        raise InvalidValue("it is JSON, but not in canonical form")
    return value


def _refuse_number(digits: str) -> None:
    raise ValueError(digits[:20])


def _refuse_deep(data: bytes) -> None:
    depth = 0
    for found in _BRACKETS.finditer(data):
        bracket = found[0]
        if bracket in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidValue(f"it is nested more than {MAX_DEPTH} deep")
        elif bracket in (b"]", b"}"):
            depth -= 1


def members(value: object, expected: frozenset[str], where: str) -> dict[str, Any]:
    """Return `value` as an object that has exactly the expected members."""
    if not isinstance(value, dict):
        raise InvalidValue(f"{where} is not an object")
    if unknown := sorted(value.keys() - expected):
        raise InvalidValue(f"{where} has the unknown member {unknown[0][:64]!r}")
    if missing := sorted(expected - value.keys()):
        raise InvalidValue(f"{where} lacks the member {missing[0]!r}")
    return value


def items(value: object, smallest: int, largest: int, where: str) -> list[Any]:
    """Return `value` as an array of an allowed length."""
    if not isinstance(value, list):
        raise InvalidValue(f"{where} is not an array")
    if not smallest <= len(value) <= largest:
        raise InvalidValue(f"{where} has {len(value):,} items; {smallest} to {largest:,} are allowed")
    return value


def text(value: object, rule: re.Pattern[str], where: str) -> str:
    """Return `value` when it is a string that follows the rule."""
    if not isinstance(value, str) or not rule.fullmatch(value):
        shown = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
        raise InvalidValue(f"{where} cannot be {shown[:80]}")
    return value


def constant(value: object, wanted: str | int, where: str) -> None:
    """Refuse anything but the one value that this version knows."""
    if type(value) is not type(wanted) or value != wanted:
        raise InvalidValue(f"{where} must be {wanted!r}")


def integer(value: object, where: str, *, largest: int = MAX_INTEGER) -> int:
    """Return `value` when it is a whole number from 0 to `largest`."""
    if type(value) is not int or not 0 <= value <= largest:
        raise InvalidValue(f"{where} must be a whole number from 0 to {largest:,}")
    return value


def base64_bytes(value: object, smallest: int, largest: int, where: str) -> bytes:
    """Return the bytes of a canonical base64 string of an allowed length."""
    wrong = InvalidValue(f"{where} is not canonical base64 of {smallest} to {largest} bytes")
    if not isinstance(value, str) or len(value) > largest * 4 // 3 + 4:
        raise wrong
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise wrong from error
    if not smallest <= len(data) <= largest or base64.b64encode(data).decode() != value:
        raise wrong
    return data


def write_base64(data: bytes) -> str:
    """Return RFC 4648 section 4 base64 with padding."""
    return base64.b64encode(data).decode()


def write_time(moment: datetime) -> str:
    """Return `2026-11-21T04:05:06Z`; the moment must be aware."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def read_time(value: object, where: str) -> datetime:
    """Return the aware UTC moment of a canonical time."""
    try:
        return datetime.strptime(text(value, TIME, where), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidValue(f"{where} is not a date of the calendar") from error


def whole_seconds(moment: datetime, where: str) -> datetime:
    """Return the moment in UTC, cut to the second, as the format carries it."""
    if moment.tzinfo is None:
        raise InvalidValue(f"{where} has no time zone")
    return moment.astimezone(UTC).replace(microsecond=0)
