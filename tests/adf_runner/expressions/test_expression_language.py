"""The language itself: what is an expression, what is text, how values are reached, what runs and what does not."""

from __future__ import annotations

import pytest

from adf_runner.expressions import (
    ExpressionError,
    InvalidSyntax,
    Scope,
    UnknownName,
    ValueFault,
    WrongArguments,
    evaluate,
    evaluate_tree,
    references,
)

EMPTY = Scope()
RUN = Scope(
    parameters={"name": "orders", "none": None, "list": [1, 2], "deep": {"A": {"b": None}}},
    global_parameters={"stage": "dev"},
    variables={"state": "Running"},
    activities={"Copy Orders": {"output": {"rowsCopied": 7}, "status": "Succeeded", "error": None}},
    item={"file": "a.csv"},
    system={"RunId": "r-1"},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        (" @concat('a')", " @concat('a')"),
        ("@@name", "@name"),
        ("@@{a} @{1}", "@{a} @{1}"),
        ("a@b.c", "a@b.c"),
        ("text @@{kept} tail", "text @{kept} tail"),
        ("@", "@"),
        ("@1", 1),
        ("@-1.5", -1.5),
        ("@-.5", -0.5),
        ("@+.5", 0.5),
        ("@true", True),
        ("@null", None),
        ("@'it''s'", "it's"),
        ("@{null}", ""),
        ("@{true}", "True"),
        ("@{1.0}", "1"),
        ("@{createArray(1.0, null)}", "[1.0,null]"),
        ("x@{'}'}y", "x}y"),
    ],
)
def test_text_is_literal_interpolated_or_an_expression(text, value) -> None:
    result = evaluate(text, EMPTY)

    assert (type(result), result) == (type(value), value)


@pytest.mark.parametrize(
    "text",
    [
        "@concat('a'",
        "@concat('a',)",
        "@[1,2]",
        "@(1)",
        "@'a' 'b'",
        "@concat",
        "@{1",
        "@x.y",
        "@'a",
        '@"a"',
        "@1.2.3",
        "@if(false,true(),1)",
        "@null()",
        "@.5",
        "@-.",
        '@ "',
    ],
)
def test_what_the_grammar_does_not_know_is_a_syntax_error(text) -> None:
    with pytest.raises(InvalidSyntax):
        evaluate(text, EMPTY)


def test_names_are_found_whatever_their_case() -> None:
    assert evaluate(
        "@CONCAT(Pipeline().PARAMETERS.Name, VARIABLES('STATE'), activity('copy orders').OUTPUT.rowscopied)", RUN
    ) == ("ordersRunning7")


def test_names_are_compared_as_a_reader_sees_them() -> None:
    scope = Scope(parameters={"é": 1}, variables={"É": 2})

    assert evaluate("@pipeline().parameters['e\u0301']", scope) == 1
    assert evaluate("@variables('e\u0301')", scope) == 2
    assert evaluate("@json('{\"Straße\":1}')?['STRASSE']", scope) is None


def test_missing_property_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(UnknownName) as caught:
        evaluate("@pipeline().parameters.nmae", RUN)

    assert "did you mean 'name'?" in str(caught.value)
    assert "'none'" in caught.value.hint


def test_question_mark_on_null_makes_the_rest_of_the_chain_null() -> None:
    assert evaluate("@pipeline().parameters.none?.a.b", RUN) is None
    assert evaluate("@pipeline().parameters?.missing", RUN) is None
    assert evaluate("@pipeline().parameters.list?[9]", RUN) is None


@pytest.mark.parametrize("key", ["null", "true", "1.5", "createArray(1)", "pipeline().parameters.missing"])
def test_question_mark_on_null_needs_a_name_or_an_index(key) -> None:
    with pytest.raises(ExpressionError):
        evaluate(f"@pipeline().parameters.none?[{key}]", RUN)

    assert evaluate(f"@pipeline().parameters.none?.a[{key}]", RUN) is None


def test_question_mark_on_a_value_does_not_protect_the_next_step() -> None:
    with pytest.raises(ExpressionError):
        evaluate("@pipeline().parameters.deep?.A.b.c", RUN)


def test_branches_not_taken_are_not_evaluated() -> None:
    assert evaluate("@if(true, 'left', activity('never').output)", RUN) == "left"
    assert evaluate("@and(false, int('x'))", RUN) is False
    assert evaluate("@or(true, int('x'))", RUN) is True
    assert evaluate("@coalesce('a', int('x'))", RUN) == "a"


def test_item_outside_of_a_loop_is_an_error_and_a_null_item_is_not() -> None:
    with pytest.raises(UnknownName, match="outside of a ForEach"):
        evaluate("@item()", EMPTY)

    assert evaluate("@item()", Scope(item=None)) is None


@pytest.mark.parametrize("call", ["trigger()", "dataset()", "linkedService()"])
def test_scope_functions_say_when_there_is_nothing_behind_them(call) -> None:
    with pytest.raises(UnknownName):
        evaluate(f"@{call}", EMPTY)


def test_unknown_function_names_the_nearest_one_and_points_at_it() -> None:
    with pytest.raises(UnknownName) as caught:
        evaluate("@toUpper(cocnat('a'))", EMPTY)

    assert str(caught.value) == "unknown function 'cocnat'; did you mean 'concat'?"
    assert caught.value.caret == "@toUpper(cocnat('a'))\n         ^"
    assert caught.value.status == 422


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("@concat('a' 'b')", 12),
        ("@concat('a", 8),
        ("x @{1 & 2}", 6),
        ("@add(1, @b)", 8),
        ("@foo", 1),
        ("@concat('a')[", 13),
    ],
)
def test_syntax_errors_point_at_their_place(text, place) -> None:
    with pytest.raises(InvalidSyntax) as caught:
        evaluate(text, EMPTY)

    assert caught.value.caret == f"{text}\n{' ' * place}^"


def test_names_in_a_branch_not_taken_are_not_looked_up() -> None:
    assert evaluate("@if(false, cocnat('a'), 1)", EMPTY) == 1


def test_tree_is_copied_with_every_string_evaluated() -> None:
    tree = {
        "a": ["@add(1, 2)", {"type": "Expression", "value": "@pipeline().parameters.name"}],
        "b": 1,
        "c": "plain",
        "d": None,
    }

    result = evaluate_tree(tree, RUN)

    assert result == {"a": [3, "orders"], "b": 1, "c": "plain", "d": None}
    assert tree["a"][0] == "@add(1, 2)"


def test_error_in_a_tree_carries_the_path() -> None:
    with pytest.raises(UnknownName) as caught:
        evaluate_tree({"sink": {"files": ["x", "@cocnat('a')"]}}, RUN, "typeProperties")

    assert caught.value.path == "typeProperties.sink.files[1]"
    assert str(caught.value).startswith("typeProperties.sink.files[1]: unknown function 'cocnat'")


def test_references_name_what_an_expression_uses() -> None:
    found = references(
        "@{activity('Copy Orders').output}-@{variables('state')}-@{pipeline().parameters.name}"
        "-@{pipeline().globalParameters['stage']}-@{item().file}-@{dataset().container}"
    )

    assert found.activities == {"Copy Orders"}
    assert found.variables == {"state"}
    assert found.parameters == {"name"}
    assert found.global_parameters == {"stage"}
    assert found.dataset == {"container"}
    assert found.item
    assert not found.dynamic
    assert "activity" in found.functions


def test_references_say_when_a_name_is_computed() -> None:
    assert references("@variables(concat('a', 'b'))").dynamic
    assert references("@pipeline().parameters[item().name]").dynamic


def test_wrong_number_of_arguments_is_told_with_the_right_one() -> None:
    with pytest.raises(WrongArguments, match=r"equals: expects 2 arguments, got 1"):
        evaluate("@equals(1)", EMPTY)


def test_wrong_kind_of_argument_is_told_with_both_kinds() -> None:
    with pytest.raises(WrongArguments, match=r"toUpper: .* must be a string, not integer"):
        evaluate("@toUpper(1)", EMPTY)


def test_scope_file_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown scope key 'parameter'"):
        Scope.from_json({"parameter": {}})


def test_value_errors_name_their_function() -> None:
    with pytest.raises(ValueFault, match="div: cannot divide by zero"):
        evaluate("@div(1, 0)", EMPTY)


@pytest.mark.parametrize("call", ["concat(json('{}'), pipeline().parameters.bad)", "string(pipeline().parameters.bad)"])
def test_errors_of_a_value_name_the_function_that_met_it(call) -> None:
    scope = Scope(parameters={"bad": {"$content-type": "text/plain", "$content": "!"}})

    with pytest.raises(ValueFault, match=call.partition("(")[0]):
        evaluate(f"@{call}", scope)
