"""What must hold for every value, whatever it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from adf_runner.expressions import FUNCTIONS, ExpressionError, Scope, evaluate
from adf_runner.expressions.date_formatting import format_date
from adf_runner.expressions.date_parsing import parse_date
from adf_runner.expressions.dates import MOST_TICKS, UNSPECIFIED, Instant
from adf_runner.expressions.dates import UTC as ZULU
from cli.adf_cases import same_typed

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
XML_TEXTS = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs", "Cn"], exclude_characters="\ufffe\uffff"), min_size=1
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
QUICK = settings(max_examples=150, deadline=None)


def ask(text: str, /, **parameters: object) -> object:
    return evaluate(text, Scope(parameters=parameters, now=lambda: NOW))


@given(TEXTS)
@QUICK
def test_encodings_are_undone_by_their_opposites(text) -> None:
    assert ask("@base64ToString(base64(pipeline().parameters.t))", t=text) == text
    assert ask("@uriComponentToString(uriComponent(pipeline().parameters.t))", t=text) == text
    assert ask("@decodeDataUri(dataUri(pipeline().parameters.t))", t=text) == text
    assert ask("@string(binary(pipeline().parameters.t))", t=text) == text


@given(JSON)
@QUICK
def test_json_written_is_json_read(value) -> None:
    text = ask("@string(createArray(pipeline().parameters.v))", v=value)

    assert same_typed(json.loads(str(text))[0], value)
    assert same_typed(ask("@json(string(createArray(pipeline().parameters.v)))[0]", v=value), value)


@given(JSON)
@QUICK
def test_every_value_equals_itself_and_is_found_in_its_array(value) -> None:
    assert ask("@equals(pipeline().parameters.v, pipeline().parameters.v)", v=value) is True
    assert ask("@contains(createArray(pipeline().parameters.v), pipeline().parameters.v)", v=value) is True
    assert (
        ask("@length(union(createArray(pipeline().parameters.v), createArray(pipeline().parameters.v)))", v=value) == 1
    )


@given(TEXTS, TEXTS)
@QUICK
def test_split_and_join_are_opposites(text, separator) -> None:
    assert (
        ask(
            "@join(split(pipeline().parameters.t, pipeline().parameters.s), pipeline().parameters.s)",
            t=text,
            s=separator,
        )
        == text
    )


@given(TEXTS, st.integers(0, 40))
@QUICK
def test_take_and_skip_make_the_whole(text, count) -> None:
    taken = str(ask("@take(pipeline().parameters.t, pipeline().parameters.n)", t=text, n=count))
    skipped = str(ask("@skip(pipeline().parameters.t, pipeline().parameters.n)", t=text, n=count))

    assert (taken + skipped).encode("utf-16-le", "surrogatepass") == text.encode("utf-16-le")


@given(INTEGERS, INTEGERS.filter(bool))
@QUICK
def test_quotient_and_rest_make_the_number(left, right) -> None:
    if (left, right) == (-(2**63), -1):
        return
    quotient, rest = (
        ask(f"@{name}(pipeline().parameters.l, pipeline().parameters.r)", l=left, r=right) for name in ("div", "mod")
    )

    assert quotient * right + rest == left


@given(FLOATS)
@QUICK
def test_double_printed_is_the_double_read(number) -> None:
    assert ask("@float(string(pipeline().parameters.f))", f=number) == number


@given(st.integers(0, MOST_TICKS), st.sampled_from([UNSPECIFIED, ZULU]))
@QUICK
def test_instant_printed_is_the_instant_read(ticks, zone) -> None:
    moment = Instant(ticks, zone)

    assert parse_date(format_date(moment, "o"), lambda: NOW) == moment


@given(st.datetimes(NOW.replace(year=2, tzinfo=None), NOW.replace(year=9998, tzinfo=None)), st.integers(-300, 300))
@QUICK
def test_days_added_and_taken_away_leave_the_date(moment, days) -> None:
    text = moment.strftime("%Y").zfill(4) + moment.strftime("-%m-%dT%H:%M:%S")

    there = ask("@addDays(pipeline().parameters.d, pipeline().parameters.n)", d=text, n=days)

    assert str(there)[:19] == f"{(moment + timedelta(days=days)).replace(microsecond=0).isoformat()}"
    assert str(ask("@addDays(pipeline().parameters.d, pipeline().parameters.n)", d=there, n=-days))[:19] == text


@given(XML_TEXTS, XML_TEXTS)
@QUICK
def test_xml_holds_any_text_and_attribute(text, attribute) -> None:
    document = {"r": {"@a": attribute, "#text": text}}

    assert ask("@json(xml(pipeline().parameters.d)).r['@a']", d=document) == attribute
    assert ask("@xpath(xml(pipeline().parameters.d), 'string(/r)')", d=document) == text


@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(JSON, max_size=4))
@settings(max_examples=600, deadline=None)
def test_functions_answer_json_or_raise_expression_errors(name, values) -> None:
    arguments = ",".join(f"pipeline().parameters.list[{index}]" for index in range(len(values)))
    try:
        result = ask(f"@{name}({arguments})", list=values)
    except ExpressionError as error:
        message = str(error)
    else:
        message = json.dumps(result, allow_nan=False)
    assert message
