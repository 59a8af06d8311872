"""A queue message that is no message of ours is dropped once, whatever it holds; it never raises for ever."""

from __future__ import annotations

import pytest
from batch_world import World

import batches
from batches.accepting import parse_message
from batches.delivering import parse_deliver_message

DEEP = ["[" * 30_000, '{"batch":' * 30_000, '{"batch": "northwind.accruals.2026-11-21.1", "files": ' + "[" * 30_000]


@pytest.mark.parametrize("body", DEEP, ids=["arrays", "objects", "begins well"])
def test_a_message_nested_without_an_end_is_dropped(world: World, body: str, caplog: pytest.LogCaptureFixture) -> None:
    batches.give_up(world.context, body)
    batches.give_up_delivery(world.context, body)

    assert caplog.text.count("message.dropped") == 2


@pytest.mark.parametrize("body", DEEP, ids=["arrays", "objects", "begins well"])
def test_the_workers_refuse_it_as_a_message_that_is_not_ours(body: str) -> None:
    with pytest.raises(batches.InvalidRequest):
        parse_message(body)
    with pytest.raises(batches.InvalidRequest):
        parse_deliver_message(body)
