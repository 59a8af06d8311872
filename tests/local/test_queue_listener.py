"""How the queue listener polls, and what ends its host: the rows of the comparison with Microsoft's listener.

Played on Azurite through a proxy that refuses, delays or hangs up. The messages themselves: test_queue_messages.py.
"""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import pytest
from queue_play import Play, fail
from service_support import wait_for

from local.functions_host.queues import queue_name
from local.functions_host.settings import AppRefused


def wait_for_end(play: Play) -> None:
    """Wait until the host was ended, once, and nothing of the listener runs."""
    wait_for(lambda: bool(play.ends) and play.has_ended)
    assert len(play.ends) == 1


# What ends the host


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, None), (401, None), (403, "AuthorizationPermissionMismatch"), (404, "ResourceNotFound"), (409, None)],
)
def test_queue_that_refuses_ends_the_host_at_the_first_answer(play: Play, status: int, code: str | None) -> None:
    play.refuse(path="*/messages", method="GET", status=status, code=code, times=None)
    play.put(b"x")
    play.listen()

    wait_for_end(play)

    assert play.recorder.injected == 1
    assert play.calls == []
    assert play.name in play.ends[0]


@pytest.mark.parametrize(("status", "tries"), [(408, 6), (429, 1)])
def test_queue_that_stays_too_busy_ends_the_host(play: Play, status: int, tries: int) -> None:
    play.refuse(path="*/messages", method="GET", status=status, times=None)
    play.listen()

    wait_for_end(play)

    assert play.recorder.injected == tries


def test_six_broken_connections_end_the_host(play: Play) -> None:
    play.refuse(path="*/messages", method="GET", drop=True, times=None)
    play.listen()

    wait_for_end(play)

    assert play.recorder.injected == 6


def test_five_broken_connections_do_not(play: Play) -> None:
    play.refuse(path="*/messages", method="GET", drop=True, times=5)
    play.put(b"x")
    play.listen()

    wait_for(lambda: len(play.calls) == 1)

    assert play.ends == []


@pytest.mark.parametrize(
    "fault",
    [{"status": 503, "times": 6}, {"status": 500, "times": 12}, {"status": 409, "code": "QueueBeingDeleted"}],
    ids=["503", "500 twice", "being deleted"],
)
def test_busy_service_is_polled_again(play: Play, fault: dict[str, Any]) -> None:
    play.refuse(path="*/messages", method="GET", **fault)
    play.put(b"x")
    play.listen()

    wait_for(lambda: len(play.calls) == 1)

    assert play.ends == []
    assert "Queue not readable" in play.logged


def test_late_answer_costs_nothing(play: Play) -> None:
    play.refuse(path="*/messages", method="GET", delay_seconds=1)
    play.refuse(path="*/messages/*", method="DELETE", delay_seconds=1)
    play.put(b"x")
    play.listen()

    wait_for(play.is_empty)

    assert play.calls == [("x", 1)]
    assert play.ends == []


@pytest.mark.parametrize("status", [403, 503])
@pytest.mark.parametrize("outcome", ["succeeds", "is poison"])
def test_delete_that_is_refused_ends_the_host(play: Play, status: int, outcome: str) -> None:
    play.refuse(path="*/messages/*", method="DELETE", status=status, times=6)
    play.put(b"x" if outcome == "succeeds" else "not base64!!")
    play.listen()

    wait_for_end(play)

    assert not play.is_empty()


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("outcome", ["succeeds", "is poison"])
def test_delete_of_a_lost_message_is_swallowed(play: Play, status: int, outcome: str) -> None:
    play.refuse(path="*/messages/*", method="DELETE", status=status)
    play.put(b"x" if outcome == "succeeds" else "not base64!!")
    play.listen()

    wait_for(lambda: "Lease was lost" in play.logged)

    assert play.ends == []
    assert outcome == "succeeds" or play.poison() == ["not base64!!"]


@pytest.mark.parametrize("status", [403, 503])
def test_release_that_is_refused_ends_the_host(play: Play, status: int) -> None:
    play.refuse(path="*/messages/*", method="PUT", status=status, times=6)
    play.put(b"x")
    play.listen(fail)

    wait_for_end(play)


@pytest.mark.parametrize("status", [400, 404])
def test_release_of_a_lost_message_is_swallowed(play: Play, status: int) -> None:
    play.refuse(path="*/messages/*", method="PUT", status=status)
    play.put(b"x")
    play.listen(fail)

    wait_for(lambda: "Lease was lost" in play.logged)

    assert play.ends == []


@pytest.mark.parametrize(("status", "code"), [(403, None), (503, None), (404, "ResourceNotFound")])
def test_copy_to_poison_that_is_refused_ends_the_host_and_is_not_logged(
    play: Play, status: int, code: str | None
) -> None:
    play.client(f"{play.name}-poison").create_queue()
    play.refuse(path="*-poison/messages", method="POST", status=status, code=code, times=6)
    play.put("not base64!!")
    play.listen()

    wait_for_end(play)

    assert "Queue message moved to poison" not in play.logged
    assert not play.is_empty()


# Leases


def test_message_is_leased_for_ten_minutes(play: Play) -> None:
    play.listen()

    wait_for(lambda: bool(play.asked("GET")))

    assert play.asked("GET")[0].query["visibilitytimeout"] == "600"


@pytest.mark.parametrize("status", [403, 503])
def test_renewal_that_is_refused_ends_the_host_and_the_function_is_settled(play: Play, status: int) -> None:
    play.refuse(path="*/messages/*", method="PUT", status=status, times=6)
    play.put(b"x")
    play.listen(lambda _data: wait_for(lambda: bool(play.ends)), lease_seconds=2)

    wait_for_end(play)

    assert len(play.calls) == 1
    assert play.is_empty()


def test_renewal_of_a_lost_message_is_not_repeated(play: Play) -> None:
    """Two messages run until the second was renewed three times; the first was lost at its first renewal."""
    play.put(b"a")
    play.put(b"b")
    lost, kept = (message.id for message in play.queue.peek_messages(max_messages=2))
    play.refuse(path=f"*/messages/{lost}", method="PUT", status=404, times=None)

    def renewals(message: str) -> int:
        return sum(message in each.path for each in play.asked("PUT"))

    play.listen(lambda _data: wait_for(lambda: renewals(kept) >= 3), lease_seconds=2, batch_size=2)
    wait_for(lambda: renewals(kept) >= 3)

    assert renewals(lost) == 1
    assert play.ends == []


# Polling


def test_pauses_between_polls_double_up_to_the_longest(play: Play) -> None:
    play.listen(max_polling_seconds=0.6)

    wait_for(lambda: len(play.asked("GET")) >= 6)

    polls = [each.at for each in play.asked("GET")]
    pauses = [after - before for before, after in pairwise(polls)]
    # Lower bounds alone: a busy machine makes pauses longer.
    assert all(pause >= least for pause, least in zip(pauses, [0.09, 0.19, 0.39, 0.59, 0.59], strict=False))


def test_a_cap_shortens_the_longest_pause_of_host_json(play: Play) -> None:
    play.listen(max_polling_seconds=3600, most_poll_seconds=0.2)

    wait_for(lambda: len(play.asked("GET")) >= 12)  # doubling alone would take minutes

    assert play.calls == []


def test_pauses_begin_anew_after_a_message(play: Play) -> None:
    play.listen(max_polling_seconds=30)
    wait_for(lambda: len(play.asked("GET")) >= 6)  # the next pause is 3.2 s
    play.put(b"x")
    wait_for(lambda: len(play.calls) == 1)
    found = len(play.asked("GET"))

    wait_for(lambda: len(play.asked("GET")) >= found + 2)

    polls = [each.at for each in play.asked("GET")]
    assert polls[found + 1] - polls[found - 1] < 3.2


def test_missing_queue_is_polled_quietly_and_never_created(play: Play) -> None:
    play.queue.delete_queue()
    play.listen()
    wait_for(lambda: [each.status for each in play.asked("GET")][2:3] == [404])
    play.queue.create_queue()
    play.put(b"x")

    wait_for(lambda: bool(play.asked("DELETE")))

    assert play.calls == [("x", 1)]
    assert play.ends == []
    assert play.logged == []
    assert {each.method for each in play.recorder.asked} == {"GET", "DELETE"}


def test_queue_that_is_deleted_while_it_is_polled_is_found_again(play: Play) -> None:
    play.listen()
    wait_for(lambda: len(play.asked("GET")) >= 2)
    play.queue.delete_queue()
    wait_for(lambda: any(each.status == 404 for each in play.asked("GET")))
    play.queue.create_queue()
    play.put(b"x")

    wait_for(lambda: len(play.calls) == 1)

    assert play.ends == []


# Stop


@pytest.mark.parametrize("fails", [False, True])
def test_running_function_ends_and_is_settled_while_stopping(play: Play, fails: bool) -> None:
    let_go = threading.Event()

    def run(data: Any) -> None:
        assert let_go.wait(20)
        if fails:
            fail(data)

    play.put(b"x")
    play.listen(run)
    wait_for(lambda: len(play.calls) == 1)
    assert play.listener is not None
    play.listener.stop()
    let_go.set()
    play.stop()

    left = play.queue.receive_message(visibility_timeout=1)
    assert (left is not None) == fails
    assert len(play.calls) == 1


def test_only_what_was_received_runs_while_stopping(play: Play) -> None:
    let_go = threading.Event()
    for number in range(6):
        play.put(b"%d" % number)
    play.listen(lambda _data: let_go.wait(20), batch_size=4)
    wait_for(lambda: len(play.calls) == 4)
    assert play.listener is not None
    play.listener.stop()
    let_go.set()
    play.stop()

    left = play.queue.receive_messages(visibility_timeout=1)

    assert sorted(message.dequeue_count or 0 for message in left) == [1, 1]  # this receive is their first
    assert len(play.calls) == 4


# Names


@pytest.mark.parametrize("name", ["bad_name", "ab", "a--b", "-a-b", "a" * 64])
def test_name_that_storage_does_not_take_is_refused_at_start(name: str) -> None:
    with pytest.raises(AppRefused, match="is not a name of a queue"):
        queue_name(name)


def test_name_in_capitals_is_lowered() -> None:
    assert queue_name("UPPER-X") == "upper-x"
