"""Evaluation is bounded: hostile text costs a clear error, soon, and never anything else."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adf_runner.expressions import ExpressionError, LimitExceeded, Scope, evaluate, evaluate_tree, parse

SCOPE = Scope(parameters={"s": "x", "o": {"a": [1, None]}}, variables={"v": "w"}, activities={}, item=None, trigger={})

WORDS = "concat json if xpath xml ( ) [ ] , . ? 'a' '' ' \" 1 - 1e9 @ @{ } pipeline() .parameters .s item() é 😀 true null $ {"
TOKENS = st.sampled_from([*WORDS.split(), " ", "\n", "\ud800", "\x00", "'{\"a\":1}'"])


@pytest.mark.parametrize("depth", [101, 1_000, 20_000])
def test_deep_nesting_is_a_limit_error(depth) -> None:
    with pytest.raises(LimitExceeded, match="nests deeper"):
        evaluate("@" + "concat(" * depth + "'a'" + ")" * depth, SCOPE)


@pytest.mark.parametrize("opening", ["@createArray(", "@pipeline()[pipeline()[", "@{concat(", "@concat(concat(concat("])
def test_unfinished_nesting_is_an_expression_error(opening) -> None:
    with pytest.raises(ExpressionError):
        evaluate(opening + "concat(" * 50_000, SCOPE)


def test_hundred_levels_are_evaluated() -> None:
    assert evaluate("@" + "concat(" * 99 + "'a'" + ")" * 99, SCOPE) == "a"


def test_long_chain_of_properties_is_no_nesting() -> None:
    assert evaluate("@pipeline().parameters" + "?.none" * 5_000, SCOPE) is None


@pytest.mark.parametrize("depth", [5_000, 200_000])
def test_deep_json_and_xml_are_expression_errors(depth) -> None:
    for text in ("@json('" + "[" * depth + "]" * depth + "')", "@xml('" + "<a>" * depth + "</a>" * depth + "')"):
        with pytest.raises(ExpressionError):
            evaluate(text, SCOPE)


def test_json_that_is_long_and_flat_is_read() -> None:
    text = "[" + ",".join(['["\\"[[[["]'] * 2_000) + "]"

    assert evaluate("@length(json(pipeline().parameters.text))", Scope(parameters={"text": text})) == 2_000


def test_deep_values_of_the_scope_are_limit_errors() -> None:
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    for text in (
        "@string(pipeline().parameters.deep)",
        "@{pipeline().parameters.deep}",
        "@equals(pipeline().parameters.deep, 1)",
    ):
        with pytest.raises(LimitExceeded):
            evaluate(text, Scope(parameters={"deep": deep}))
    with pytest.raises(LimitExceeded):
        evaluate_tree(deep, SCOPE)


def test_text_that_grows_without_end_is_stopped() -> None:
    big = Scope(parameters={"big": "a" * 1_000_000})
    for text in (
        "@replace(pipeline().parameters.big, 'a', pipeline().parameters.big)",
        "@concat(" + ",".join(["pipeline().parameters.big"] * 20) + ")",
        "@createArray(" + ",".join(["toUpper(pipeline().parameters.big)"] * 70) + ")",
        "@join(range(1, 100000), pipeline().parameters.big)",
    ):
        with pytest.raises(LimitExceeded):
            evaluate(text, big)


def test_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(LimitExceeded, match="characters"):
        evaluate("@concat('" + "a" * 1_000_001 + "')", SCOPE)


def test_xpath_that_visits_too_much_is_stopped() -> None:
    rows = "<r>" + "<a/>" * 5_000 + "</r>"

    with pytest.raises(ExpressionError, match="visits more than"):
        evaluate(
            "@xpath(xml(pipeline().parameters.rows), '//*/following::*/preceding::*')", Scope(parameters={"rows": rows})
        )


@pytest.mark.parametrize(
    "text",
    [
        "@dataUriToBinary(concat('data:a/b', pipeline().parameters.text, ','))",
        "@formatDateTime(pipeline().parameters.text)",
        "@int(pipeline().parameters.text)",
        "@xml(pipeline().parameters.text)",
        "@indexOf(pipeline().parameters.text, concat(pipeline().parameters.text, 'é'))",
        "@decodeUriComponent(pipeline().parameters.text)",
    ],
)
@pytest.mark.parametrize("unit", [" ", "; ", "1 ", "%u", "<a ", "a\u0301", "1,", "\u00ad"])
def test_no_text_makes_a_function_slow(text, unit) -> None:
    started = time.monotonic()

    with contextlib.suppress(ExpressionError):
        evaluate(text, Scope(parameters={"text": unit * (60_000 // len(unit))}))

    assert time.monotonic() - started < 5


@given(st.lists(TOKENS, max_size=14).map("".join))
@settings(max_examples=400, deadline=None)
def test_parser_raises_nothing_but_expression_errors(body) -> None:
    for text in (body, "@" + body, "@{" + body + "}", "@concat(" + body + ")"):
        error = failure(text)
        if error is not None:
            assert str(error)
            assert error.caret.count("\n") <= 1


def failure(text: str) -> ExpressionError | None:
    try:
        evaluate(text, SCOPE)
    except ExpressionError as error:
        return error
    return None


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_parses_or_is_an_expression_error(text) -> None:
    for candidate in (text, "@" + text):
        try:
            parse(candidate)
        except ExpressionError:
            continue
