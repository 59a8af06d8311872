"""The 84 functions that Data Factory documents and the 7 that look into the run; no others. Here is the table of all."""

from __future__ import annotations

from adf_runner.expressions.functions import collections, context, conversion, date, encoding, logic, math, text, xml
from adf_runner.expressions.functions.signature import Function, Lazy

FUNCTIONS: dict[str, Function] = {
    function.name.lower(): function
    for module in (text, collections, logic, conversion, encoding, xml, math, date, context)
    for function in module.FUNCTIONS
}

__all__ = ["FUNCTIONS", "Function", "Lazy"]
