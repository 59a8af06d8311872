from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.deploy.errors import TooManyDeletionsError
from infra.deploy.planning import check_deletions, make_plan
from infra.deploy.source import Item, Key, load_source

Write = Callable[..., Path]


def items(*entries: tuple[str, str, dict[str, Any]]) -> dict[Key, Item]:
    return {(kind, name): Item(kind=kind, name=name, properties=body) for kind, name, body in entries}


def test_what_azure_adds_and_leaves_out_is_no_difference() -> None:
    wanted = items(
        ("pipeline", "p", {"activities": [], "annotations": [], "folder": {"name": "x"}, "description": None})
    )
    live = items(("pipeline", "p", {"folder": {"name": "x"}, "lastPublishTime": "2026-11-24T00:00:00Z"}))

    assert not make_plan(wanted, live).changes


def test_a_masked_secret_is_no_difference_but_another_kind_of_secret_is() -> None:
    wanted = items(("linkedService", "l", {"typeProperties": {"password": {"type": "SecureString", "value": "real"}}}))
    masked = items(("linkedService", "l", {"typeProperties": {"password": {"type": "SecureString", "value": "****"}}}))
    other = items(("linkedService", "l", {"typeProperties": {"password": {"type": "AzureKeyVaultSecret"}}}))

    assert not make_plan(wanted, masked).changes
    assert make_plan(wanted, other).changes
    assert "real" not in str(make_plan(wanted, other))


def test_a_name_that_azure_adds_at_the_top_counts_further_down() -> None:
    wanted = items(("pipeline", "p", {"parameters": {"runtimeState": {"type": "String"}}}))

    assert make_plan(wanted, items(("pipeline", "p", {}))).changes


def test_one_is_not_true() -> None:
    wanted = items(("pipeline", "p", {"typeProperties": {"secure": True}}))
    live = items(("pipeline", "p", {"typeProperties": {"secure": 1}}))

    assert make_plan(wanted, live).changes


def test_a_difference_names_the_activity_and_both_values() -> None:
    wanted = items(("pipeline", "p", {"activities": [{"name": "Copy", "policy": {"retry": 3}, "type": "Copy"}]}))
    live = items(("pipeline", "p", {"activities": [{"name": "Copy", "policy": {"retry": 2}}, {"name": "Old"}]}))

    [change] = make_plan(wanted, live).changes

    assert [str(difference) for difference in change.differences] == [
        "activities['Copy'].policy.retry: 2 -> 3",
        "activities['Copy'].type: + \"Copy\"",
        'activities[\'Old\']: - {"name": "Old"}',
    ]


def test_another_order_of_the_same_activities_is_a_difference() -> None:
    one, two = {"name": "One"}, {"name": "Two"}

    [change] = make_plan(
        items(("pipeline", "p", {"activities": [one, two]})), items(("pipeline", "p", {"activities": [two, one]}))
    ).changes

    assert str(change.differences[0]) == 'activities (order): ["Two", "One"] -> ["One", "Two"]'


def test_surplus_is_deleted_dependents_first(write: Write) -> None:
    plan = make_plan({}, load_source(write()))

    titles = [change.item.title for change in plan.changes]
    assert titles[0] == "trigger.daily"
    assert titles.index("pipeline.outer") < titles.index("pipeline.inner") < titles.index("dataset.files")
    assert {change.action for change in plan.changes} == {"delete"}


def test_no_prune_and_keep_leave_surplus(write: Write) -> None:
    live = load_source(write())

    assert not make_plan({}, live, prune=False).changes
    kept = make_plan({}, live, keep=["linkedService.*", "inner"])
    assert {item.title for item in kept.kept} == {"linkedService.vault", "linkedService.storage", "pipeline.inner"}


def test_only_narrows_writes_and_deletions(write: Write) -> None:
    source = load_source(write())
    live = items(("pipeline", "old", {}), ("dataset", "old", {}))

    plan = make_plan(source, live, only=["pipeline.*"])

    assert [(change.action, change.item.title) for change in plan.changes] == [
        ("create", "pipeline.inner"),
        ("create", "pipeline.outer"),
        ("delete", "pipeline.old"),
    ]


def test_global_parameters_of_a_factory_without_a_factory_file_are_left_alone() -> None:
    assert not make_plan({}, items(("globalParameters", "default", {"a": {"type": "String", "value": "b"}}))).changes


def test_global_parameter_types_differ_only_by_more_than_case() -> None:
    wanted = items(("globalParameters", "default", {"a": {"type": "Int", "value": 1}}))

    assert not make_plan(wanted, items(("globalParameters", "default", {"a": {"type": "int", "value": 1}}))).changes
    assert make_plan(wanted, items(("globalParameters", "default", {"a": {"type": "Int", "value": 2}}))).changes


def test_more_deletions_than_allowed_are_refused(write: Write) -> None:
    plan = make_plan({}, load_source(write()))

    check_deletions(plan, limit=6)
    with pytest.raises(TooManyDeletionsError, match="deletes 6 items; this stage allows 5"):
        check_deletions(plan, limit=5)
