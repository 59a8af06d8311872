"""The expression language of Data Factory: text and scope in, a JSON value out.

Follows Microsoft's engine where its documentation differs. Pure: no clock but `Scope.now`, no files, no network.
Does not run activities, and does not know what a pipeline file looks like beyond `{"type": "Expression", "value": ...}`.
"""

from __future__ import annotations

from adf_runner.expressions.errors import (
    ExpressionError,
    InvalidSyntax,
    LimitExceeded,
    UnknownName,
    ValueFault,
    WrongArguments,
)
from adf_runner.expressions.evaluation import evaluate, evaluate_tree
from adf_runner.expressions.functions import FUNCTIONS
from adf_runner.expressions.references import References, references
from adf_runner.expressions.scope import NO_ITEM, Scope
from adf_runner.expressions.syntax import parse

__all__ = [
    "FUNCTIONS",
    "NO_ITEM",
    "ExpressionError",
    "InvalidSyntax",
    "LimitExceeded",
    "References",
    "Scope",
    "UnknownName",
    "ValueFault",
    "WrongArguments",
    "evaluate",
    "evaluate_tree",
    "parse",
    "references",
]
