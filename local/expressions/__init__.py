"""The expression language of Data Factory: text and scope in, a JSON value out.

Follows Microsoft's engine where its documentation differs. Pure: no clock but `Scope.now`, no files, no network.
Does not run activities, and does not know what a pipeline file looks like beyond `{"type": "Expression", "value": ...}`.
"""

from local.expressions.errors import (
    ArgumentError,
    ExpressionError,
    ExpressionSyntaxError,
    LimitError,
    UnknownNameError,
    ValueFault,
)
from local.expressions.evaluation import evaluate, evaluate_tree
from local.expressions.functions import FUNCTIONS
from local.expressions.references import References, references
from local.expressions.scope import NO_ITEM, Scope
from local.expressions.syntax import parse

__all__ = [
    "FUNCTIONS",
    "NO_ITEM",
    "ArgumentError",
    "ExpressionError",
    "ExpressionSyntaxError",
    "LimitError",
    "References",
    "Scope",
    "UnknownNameError",
    "ValueFault",
    "evaluate",
    "evaluate_tree",
    "parse",
    "references",
]
