"""A message that is not a message of ours is dropped once; one whose poison function fails is tried again, ever more rarely."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from azure.storage.queue import QueueClient, QueueMessage
from batch_world import World

import batches
from batches.accepting import parse_message
from batches.delivering import parse_deliver_message
from batches.poison import pause_after
from local.azurite import Azurite

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


@pytest.fixture
def poison(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[QueueClient]:
    connection = azurite.connection_string("sealifthost")
    monkeypatch.setenv("AzureWebJobsStorage", connection)
    with QueueClient.from_connection_string(connection, f"q{uuid.uuid4().hex}-poison") as queue:
        queue.create_queue()
        yield queue


def receive(queue: QueueClient) -> QueueMessage:
    """Return the next message, under a lease of one second, as soon as there is one."""
    deadline = time.monotonic() + 20
    while (message := queue.receive_message(visibility_timeout=1)) is None:
        assert time.monotonic() < deadline
    return message


def put_off(queue: QueueClient, message: QueueMessage, attempt: int) -> None:
    batches.put_off(queue.queue_name, message.id, message.pop_receipt or "", attempt, OSError("words that stay here"))


def test_message_that_fails_again_rests_longer_than_its_lease(poison: QueueClient) -> None:
    poison.send_message("fails")
    put_off(poison, receive(poison), attempt=2)
    poison.send_message("next")
    assert receive(poison).content == "next"

    assert receive(poison).content == "next"  # its lease has ended once more; that of the other would have, too


def test_first_failure_is_left_to_the_lease(poison: QueueClient) -> None:
    poison.send_message("fails")
    put_off(poison, receive(poison), attempt=1)

    assert receive(poison).content == "fails"


def test_pauses_double_up_to_four_hours() -> None:
    minutes = [pause_after(attempt).total_seconds() / 60 for attempt in (1, 2, 3, 4, 5, 6, 1000)]

    assert minutes == [10, 20, 40, 80, 160, 240, 240]


def test_message_that_never_succeeds_is_tried_some_45_times_in_its_seven_days() -> None:
    tried, attempts = timedelta(), 0
    while tried < timedelta(days=7):
        attempts += 1
        tried += pause_after(attempts)

    assert attempts < 50


def test_only_the_first_failure_is_an_error_in_the_log(poison: QueueClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="sealift")
    poison.send_message("fails")
    message = receive(poison)

    for attempt in (1, 2, 3):
        put_off(poison, message, attempt)

    levels = [record.levelname for record in caplog.records if "message.put_off" in record.getMessage()]
    assert levels == ["ERROR", "INFO", "INFO"]
    assert "OSError" in caplog.text
    assert "words that stay here" not in caplog.text


def test_queue_that_does_not_know_the_message_any_more_is_no_second_fault(poison: QueueClient) -> None:
    poison.send_message("fails")
    message = receive(poison)
    poison.clear_messages()

    put_off(poison, message, attempt=2)
