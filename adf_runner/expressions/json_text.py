"""JSON text, read strictly: the engine also takes comments, single quotes and half documents; a pipeline should not."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from adf_runner.expressions.errors import LimitExceeded, ValueFault
from adf_runner.expressions.texts import BLANKS, repaired


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python's reader accepts."""
    raise ValueError(f"{name} is not JSON")


def finite(text: str) -> float:
    """Return a number as a double. Raises ValueError for one that no double holds."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large for a double")
    return value


MOST_DEPTH = 900
MARKS = re.compile(r'\\.|[\[\]{}"]', re.DOTALL)
ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
DECODER = json.JSONDecoder(parse_constant=refuse_constant, parse_float=finite, strict=False)


def nests_deeply(text: str) -> bool:
    """Return whether brackets outside strings nest deeper than MOST_DEPTH; one pass, and none where they are few."""
    if text.count("[") + text.count("{") <= MOST_DEPTH:
        return False
    depth, quoted = 0, False
    for mark in MARKS.finditer(text):
        if mark[0] == '"':
            quoted = not quoted
        elif not quoted and mark[0] in "[{":
            depth += 1
            if depth > MOST_DEPTH:
                return True
        elif not quoted and mark[0] in "]}":
            depth -= 1
    return False


def without_lone_surrogates(text: str) -> str:
    """Return JSON text in which half a surrogate pair, escaped or not, is the replacement character, as in .NET."""
    if "\\u" in text:
        text = ESCAPES.sub(lambda match: "\\ufffd" if match["lone"] else match[0], text)
    return repaired(text)


def read_json(name: str, text: str) -> Any:
    """Return the value of a JSON text; blank text is null. Raises ValueFault with the place of the first mistake."""
    stripped = without_lone_surrogates(text.strip(BLANKS))
    if not stripped:
        return None
    too_deep = LimitExceeded(f"{name}: the JSON text nests too deeply")
    if nests_deeply(stripped):  # how much Python's own reader takes differs by version
        raise too_deep
    try:
        return DECODER.decode(stripped)
    except RecursionError:
        raise too_deep from None
    except ValueError as error:
        raise ValueFault(f"{name}: the text is not JSON: {error}", hint="only strict JSON is taken here") from None
