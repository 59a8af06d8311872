"""xml and xpath."""

from __future__ import annotations

from typing import Any

from local.expressions.errors import ValueFault
from local.expressions.functions.signature import Function
from local.expressions.scope import Scope


def xml(_arguments: list[Any], _scope: Scope) -> Any:
    raise ValueFault("xml: not yet")


def xpath(_arguments: list[Any], _scope: Scope) -> Any:
    raise ValueFault("xpath: not yet")


FUNCTIONS = (Function("xml", 1, 1, xml), Function("xpath", 2, 2, xpath))
