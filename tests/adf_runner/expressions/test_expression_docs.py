"""docs/expressions.md says nothing that is not so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from adf_runner.expressions import FUNCTIONS, ExpressionError, Scope, evaluate
from cli.adf_cases import same_typed

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "expressions.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(.+?)` \| `(.+?)` \|", PAGE, re.MULTILINE)
REFUSED = re.findall(r"`(@[a-zA-Z]+\([^`]*\))`", PAGE.partition("Refused with an error")[2].partition("##")[0])


@pytest.mark.parametrize(("expression", "value"), ROWS)
def test_every_row_is_what_the_engine_answers(expression, value) -> None:
    assert same_typed(evaluate(expression, Scope()), json.loads(value))


@pytest.mark.parametrize("expression", REFUSED)
def test_every_refusal_is_one(expression) -> None:
    with pytest.raises(ExpressionError):
        evaluate(expression, Scope())


def test_page_has_rows_and_refusals() -> None:
    assert len(ROWS) > 20
    assert len(REFUSED) == 5


def test_page_counts_the_functions() -> None:
    of_scope = {"pipeline", "variables", "activity", "item", "trigger", "triggerbody", "dataset", "linkedservice"}

    assert f" {len(set(FUNCTIONS) - of_scope)} functions" in PAGE
