"""What may be asked of dbt, and which arguments it gets."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_runner.request import Request, RequestError, read_request


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "run_id"),
        ({"run_id": "../up"}, "run_id"),
        ({"run_id": "a", "command": "run-operation"}, "command"),
        ({"run_id": "a", "mode": "fast"}, "mode"),
        ({"run_id": "a", "select": "x --vars {}"}, "select"),
        ({"run_id": "a", "exclude": "-x"}, "exclude"),
        ({"run_id": "a", "target": "a b"}, "target"),
        ({"run_id": "a", "threads": 0}, "threads"),
        ({"run_id": "a", "threads": "4"}, "threads"),
        ({"run_id": "a", "deadline_seconds": True}, "deadline_seconds"),
        ({"run_id": "a", "full_refresh": "yes"}, "full_refresh"),
        ({"run_id": "a", "selector": "x"}, "selector"),
        ({"run_id": "a", "retry_of": "/etc"}, "retry_of"),
    ],
)
def test_what_is_no_request_is_refused_by_name(content: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        read_request(content)


def test_selectors_become_arguments_of_their_own() -> None:
    arguments = Request(run_id="a", select="tag:a +b", exclude="c").arguments(None)

    assert arguments[:8] == ["build", "--threads", "4", "--select", "tag:a", "+b", "--exclude", "c"]


def test_modified_narrows_the_selection_and_defers_to_the_state() -> None:
    arguments = Request(run_id="a", mode="modified", select="b c").arguments("/state")

    assert arguments[3:] == [
        *("--select", "b,state:modified+", "c,state:modified+"),
        *("--state", "/state", "--defer", "--favor-state"),
    ]


def test_modified_without_a_state_builds_everything() -> None:
    assert "--defer" not in Request(run_id="a", mode="modified").arguments(None)


@pytest.mark.parametrize(
    "content",
    [{"select": "x"}, {"exclude": "x"}, {"command": "run"}, {"target": "review"}],
)
def test_only_a_whole_build_of_production_makes_state(content: dict[str, str]) -> None:
    assert Request(run_id="a").makes_state
    assert not read_request({"run_id": "a"} | content).makes_state
