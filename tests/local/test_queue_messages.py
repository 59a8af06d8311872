"""What becomes of a message: bodies, tries, poison and batches, as Microsoft's queue listener treats them. On Azurite."""

from __future__ import annotations

import base64
import threading
from datetime import timedelta
from typing import Any

import pytest
from queue_play import Play, fail
from service_support import wait_for

from local.functions_host.pool import CallTimedOut

MOVED = "Queue message moved to poison"
NOT_BASE64 = [
    "not base64!!", '{"json": 1}', "aGVsbG8", "aGVsbG8===", "_-_-", "====", "aGVsbG8=aGVsbG8=", "\uff41\uff42\uff43\uff44",
    "aGVs\u00a0bG8=",
]  # fmt: skip
NOT_UTF8 = [b"\xff\xfe.", b"\xc0\xaf", b"\xed\xa0\x80", base64.b64decode("abcd")]


def is_moved(play: Play) -> bool:
    return MOVED in play.logged and play.is_empty()


# Poison


def test_message_is_moved_right_after_its_last_try(play: Play) -> None:
    play.put(b"x")
    play.listen(fail, max_dequeue_count=3)

    wait_for(lambda: is_moved(play))

    assert play.calls == [("x", 1), ("x", 2), ("x", 3)]


def test_missing_poison_queue_is_made_and_the_original_deleted_last(play: Play) -> None:
    play.put(b"x")
    play.listen(fail, max_dequeue_count=1)

    wait_for(lambda: is_moved(play))

    asked = [(each.method, each.status) for each in play.asked("POST", poison=True) + play.asked("PUT", poison=True)]
    assert asked == [("POST", 404), ("POST", 201), ("PUT", 201)]
    last_copy, delete = play.asked("POST", poison=True)[-1], play.asked("DELETE")[-1]
    assert last_copy.at < delete.at


def test_poison_copy_is_a_new_message_that_lives_seven_days(play: Play) -> None:
    play.put(b"x", time_to_live=3600)
    original = play.queue.peek_messages()[0].id
    play.listen(fail, max_dequeue_count=1)

    wait_for(lambda: is_moved(play))

    copy = play.client(f"{play.name}-poison").peek_messages()[0]
    assert copy.id != original
    assert copy.dequeue_count == 0
    assert copy.content == base64.b64encode(b"x").decode()
    assert copy.expires_on is not None
    assert copy.inserted_on is not None
    assert copy.expires_on - copy.inserted_on == timedelta(days=7)


def test_failure_on_a_poison_queue_waits_for_its_lease(poison_play: Play) -> None:
    poison_play.put(b"x")
    poison_play.listen(fail, lease_seconds=3)

    wait_for(lambda: len(poison_play.calls) == 2)

    assert poison_play.calls == [("x", 1), ("x", 2)]
    assert poison_play.asked("PUT") == []  # nothing released it


def test_tries_are_not_counted_on_a_poison_queue(poison_play: Play) -> None:
    poison_play.put(b"x")
    for _ in range(3):
        message = poison_play.queue.receive_message(visibility_timeout=30)
        assert message is not None
        poison_play.queue.update_message(message.id, message.pop_receipt, visibility_timeout=0)
    poison_play.listen()

    wait_for(poison_play.is_empty)

    assert poison_play.calls == [("x", 4)]


@pytest.mark.parametrize("body", ["not base64!!", b"\xff\xfe."], ids=["not base64", "not UTF-8"])
def test_unreadable_body_on_a_poison_queue_is_left_to_its_lease_again_and_again(
    poison_play: Play, body: bytes | str
) -> None:
    poison_play.put(body)
    poison_play.listen(lease_seconds=1)

    wait_for(lambda: poison_play.logged.count("Queue message left to its lease") >= 3)

    assert poison_play.calls == []
    assert {each.method for each in poison_play.recorder.asked} == {"GET"}
    assert not poison_play.is_empty()


def test_name_without_room_for_the_ending_is_that_of_a_poison_queue(play: Play) -> None:
    play.name = f"{play.name}{'x' * 60}"[:57]
    play.queue = play.client(play.name)
    play.queue.create_queue()
    play.put("not base64!!")
    play.listen(fail, max_dequeue_count=1)

    wait_for(lambda: "Queue message left to its lease" in play.logged)

    assert {each.method for each in play.recorder.asked} == {"GET"}
    assert play.ends == []


# Bodies


@pytest.mark.parametrize("text", NOT_BASE64)
def test_body_that_is_not_base64_is_poison_at_the_first_receive(play: Play, text: str) -> None:
    play.put(text)
    play.listen()

    wait_for(lambda: is_moved(play))

    assert play.calls == []
    assert play.poison() == [text]


@pytest.mark.parametrize("body", NOT_UTF8)
def test_body_that_is_not_utf8_never_reaches_the_function(play: Play, body: bytes) -> None:
    play.put(body)
    play.listen()

    wait_for(lambda: is_moved(play))

    assert play.calls == []
    assert play.logged.count("Executed") == 2  # it counts as a try
    assert play.poison() == [base64.b64encode(body).decode()]


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("aGVs\nbG8=", "hello"), (" aGVsbG8= ", "hello"), ("aGVs\r\n bG8=\n", "hello"), ("\taGVsbG8=", "hello"),
        ("aGVsbG9=", "hello"), ("", ""), (" \r\n", ""),
    ],
)  # fmt: skip
def test_base64_is_read_as_leniently_as_by_net(play: Play, text: str, body: str) -> None:
    play.put(text)
    play.listen()

    wait_for(lambda: play.calls == [(body, 1)])


@pytest.mark.parametrize(
    "body",
    ["\ufeffwith a mark", "line\r\nbreaks\n\r", "NUL \0 inside", "\U0001f600 \u2028", "x" * 49_152],
    ids=["BOM", "line breaks", "NUL", "four bytes", "49,152 bytes"],
)
def test_text_arrives_exactly(play: Play, body: str) -> None:
    play.put(body.encode())
    play.listen()

    wait_for(lambda: play.calls == [(body, 1)])


@pytest.mark.parametrize(
    "body",
    ['{"json": 1}', "a\nb", "\ufeffx", "<&>\"'", " leading", "x" * 65_536, "\U0001f600\u2028", "aGVsbG8="],
    ids=["JSON", "LF", "BOM", "XML", "leading blank", "65,536", "emoji", "base64"],
)
def test_encoding_none_takes_the_text_as_it_is(play: Play, body: str) -> None:
    play.put(body)
    play.listen(base64=False)

    wait_for(lambda: play.calls == [(body, 1)])


def test_bad_messages_of_a_batch_keep_back_no_other(play: Play) -> None:
    for body in (b"1", "not base64!!", b"2", b"\xff\xfe.", b"3"):
        play.put(body)
    play.listen(batch_size=5)

    wait_for(lambda: play.logged.count(MOVED) == 2 and play.is_empty())

    assert sorted(play.calls) == [("1", 1), ("2", 1), ("3", 1)]


# Tries


def test_timed_out_call_is_released_and_moved_after_its_last_try(play: Play) -> None:
    def late(_data: Any) -> None:
        raise CallTimedOut("late")

    play.put(b"x")
    play.listen(late)

    wait_for(lambda: is_moved(play))

    assert play.calls == [("x", 1), ("x", 2)]


@pytest.mark.parametrize(("seconds", "asked"), [(0.0, "0"), (0.5, "0"), (1.7, "1"), (2.5, "2")])
def test_fractions_of_the_visibility_timeout_are_cut(play: Play, seconds: float, asked: str) -> None:
    play.put(b"x")
    play.listen(fail, visibility_timeout_seconds=seconds)

    wait_for(lambda: bool(play.asked("PUT")))

    assert play.asked("PUT")[0].query["visibilitytimeout"] == asked


# Batches


class Gate:
    """A function that runs until it is let go, one by one."""

    def __init__(self) -> None:
        self._tickets = threading.Semaphore(0)

    def __call__(self, _data: Any) -> None:
        assert self._tickets.acquire(timeout=20)

    def let_go(self, count: int) -> None:
        self._tickets.release(count)


def receives(play: Play) -> int:
    return len(play.asked("GET"))


@pytest.mark.parametrize(
    ("threshold", "more", "most"),
    [(0, 4, 4), (2, 2, 6)],
    ids=["next batch when all have ended", "next batch when two run"],
)
def test_next_batch_comes_when_no_more_than_the_threshold_run(play: Play, threshold: int, more: int, most: int) -> None:
    gate = Gate()
    for number in range(12):
        play.put(b"%d" % number)
    play.listen(gate, batch_size=4, new_batch_threshold=threshold)
    assert play.listener is not None
    wait_for(lambda: len(play.calls) == 4)
    first = receives(play)

    gate.let_go(more - 1)
    wait_for(lambda: play.listener is not None and play.listener.running == 4 - (more - 1))
    assert receives(play) == first
    gate.let_go(1)
    wait_for(lambda: len(play.calls) == 8)

    assert play.listener.running == most
    assert play.asked("GET")[-1].query["numofmessages"] == "4"
    gate.let_go(12)
