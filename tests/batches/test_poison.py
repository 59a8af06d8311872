"""A queue message that is no message of ours is dropped once, whatever it holds; it never raises for ever."""

from __future__ import annotations

import pytest
from batch_world import NOW, World

import batches

DEEP = ["[" * 30_000, '{"batch":' * 30_000, '{"batch": "northwind.accruals.2026-11-21.1", "files": ' + "[" * 30_000]


@pytest.mark.parametrize("body", DEEP, ids=["arrays", "objects", "begins well"])
def test_a_message_nested_without_an_end_is_dropped(world: World, body: str, caplog: pytest.LogCaptureFixture) -> None:
    batches.give_up(world.stores, body, now=NOW)

    assert "message.dropped" in caplog.text


@pytest.mark.parametrize("body", DEEP, ids=["arrays", "objects", "begins well"])
def test_the_workers_refuse_it_as_a_message_that_is_not_ours(body: str) -> None:
    with pytest.raises(batches.InvalidRequest):
        batches.parse_message(body)
    with pytest.raises(batches.InvalidRequest):
        batches.parse_deliver_message(body)
