"""JSON text, read strictly: the engine also takes comments, single quotes and half documents; a pipeline should not."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from local.expressions.errors import LimitError, ValueFault
from local.expressions.texts import BLANKS


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large for a double")
    return value


DECODER = json.JSONDecoder(parse_constant=refuse_constant, parse_float=finite, strict=False)


def read_json(name: str, text: str) -> Any:
    """Return the value of a JSON text; blank text is null. Raises ValueFault with the place of the first mistake."""
    stripped = text.strip(BLANKS)
    if not stripped:
        return None
    try:
        return DECODER.decode(stripped)
    except RecursionError:
        raise LimitError(f"{name}: the JSON text nests too deeply") from None
    except ValueError as error:
        raise ValueFault(f"{name}: the text is not JSON: {error}", hint="only strict JSON is taken here") from None
