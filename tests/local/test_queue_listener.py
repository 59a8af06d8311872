"""The rows of the comparison with Microsoft's queue listener, played on Azurite through a proxy that refuses or hangs up."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from azure.storage.queue import QueueClient
from service_support import wait_for

from local.azurite import Azurite
from local.functions_host.pool import CallFailed, CallTimedOut
from local.functions_host.queues import ListenerHost, QueueListener, Timing, queue_name
from local.functions_host.settings import AppRefused, QueueSettings
from local.wire.fault_proxy import FaultProxy
from local.wire.faults import Fault

Body = Callable[[Any], None]
SETTINGS: dict[str, Any] = {
    "batch_size": 1,
    "new_batch_threshold": 0,
    "max_dequeue_count": 2,
    "max_polling_seconds": 0.2,
}


class Play:
    """One listener on one queue, its function, and what it asked of its host."""

    def __init__(self, storage: Azurite, proxy: FaultProxy, name: str) -> None:
        self.connection = storage.connection_string("sealifthost")
        self.proxy = proxy
        self.name = name
        self.queue = self.client(name)
        self.queue.create_queue()
        self.calls: list[tuple[Any, int]] = []
        self.ends: list[str] = []
        self.logged: list[str] = []
        self.body: Body = lambda data: None
        self.listener: QueueListener | None = None

    def client(self, name: str) -> QueueClient:
        return QueueClient.from_connection_string(self.connection, name)

    def put(self, data: bytes | str) -> None:
        self.queue.send_message(data if isinstance(data, str) else base64.b64encode(data).decode())

    def listen(self, body: Body | None = None, *, lease_seconds: int = 600, **settings: Any) -> None:
        self.body = body or self.body
        host = ListenerHost(
            call=self._call, log=lambda _, message, **fields: self.logged.append(message), end=self.ends.append
        )
        trigger = {"queueName": self.name, "connection": "PROXIED"}
        timing = Timing(lease_seconds=lease_seconds, first_retry_seconds=0.02)
        self.listener = QueueListener(
            {"name": "f", "trigger": trigger}, QueueSettings(**(SETTINGS | settings)), host, timing
        )
        self.listener.start()

    def refuse(self, **fault: Any) -> None:
        self.proxy.faults.add(Fault(**fault))

    def _call(self, _function: str, data: Any, metadata: dict[str, Any]) -> Future[dict[str, Any]]:
        self.calls.append((data, metadata["DequeueCount"]))
        future: Future[dict[str, Any]] = Future()
        threading.Thread(target=self._run, args=[future, data]).start()
        return future

    def _run(self, future: Future[dict[str, Any]], data: Any) -> None:
        try:
            self.body(data)
        except Exception as error:  # noqa: BLE001 - what a function raises is its outcome
            future.set_exception(error)
        else:
            future.set_result({})

    def is_empty(self) -> bool:
        return not self.queue.get_queue_properties().approximate_message_count

    def poison(self) -> list[str]:
        return [message.content for message in self.client(f"{self.name}-poison").peek_messages(max_messages=5)]


@pytest.fixture
def play(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    with FaultProxy(azurite.queue_url("sealifthost").rpartition("/")[0]) as proxy:
        monkeypatch.setenv("PROXIED", proxy.before(azurite.connection_string("sealifthost")))
        played = Play(azurite, proxy, f"q{time.monotonic_ns()}")
        yield played
        if played.listener is not None:
            played.listener.stop()
            wait_for(lambda: played.listener is not None and not played.listener.running)


@pytest.fixture
def poison_play(play: Play) -> Play:
    play.name += "-poison"
    play.queue = play.client(play.name)
    play.queue.create_queue()
    return play


def fail(_data: Any) -> None:
    raise CallFailed("no")


@pytest.mark.parametrize("status", [400, 401, 403, 409])
def test_queue_that_refuses_ends_the_host_at_the_first_answer(play: Play, status: int) -> None:
    play.refuse(path="*/messages", method="GET", status=status, times=None)
    play.listen()

    wait_for(lambda: len(play.ends) == 1)
    injected = play.proxy.faults.injected
    play.proxy.faults.clear()
    play.put(b"later")
    time.sleep(0.6)  # three times the longest pause between polls: nothing may happen

    assert injected == 1
    assert play.calls == []
    assert play.name in play.ends[0]


def test_busy_service_is_polled_again_after_six_tries(play: Play) -> None:
    play.refuse(path="*/messages", method="GET", status=503, times=6)
    play.put(b"x")
    play.listen()

    wait_for(lambda: len(play.calls) == 1)

    assert play.ends == []
    assert "Queue not readable" in play.logged


def test_six_broken_connections_end_the_host(play: Play) -> None:
    play.refuse(path="*/messages", method="GET", drop=True, times=None)
    play.listen()

    wait_for(lambda: len(play.ends) == 1)

    assert play.proxy.faults.injected == 6


def test_five_broken_connections_do_not(play: Play) -> None:
    play.refuse(path="*/messages", method="GET", drop=True, times=5)
    play.put(b"x")
    play.listen()

    wait_for(lambda: len(play.calls) == 1)

    assert play.ends == []


def test_missing_queue_is_polled_quietly_and_never_created(play: Play) -> None:
    play.queue.delete_queue()
    play.listen()
    time.sleep(0.3)  # some polls
    play.queue.create_queue()
    play.put(b"x")

    wait_for(lambda: len(play.calls) == 1)

    assert play.ends == []


@pytest.mark.parametrize("status", [403, 503])
def test_renewal_that_is_refused_ends_the_host_and_the_function_is_settled(play: Play, status: int) -> None:
    play.refuse(path="*/messages/*", method="PUT", status=status, times=6)
    play.put(b"x")
    play.listen(lambda _data: time.sleep(1.5), lease_seconds=2)

    wait_for(lambda: len(play.ends) == 1)
    wait_for(play.is_empty)

    assert len(play.calls) == 1


def test_renewal_of_a_lost_message_is_not_repeated(play: Play) -> None:
    play.refuse(path="*/messages/*", method="PUT", status=404, times=None)
    play.put(b"x")
    play.listen(lambda _data: time.sleep(3.5), lease_seconds=2)

    wait_for(lambda: len(play.calls) == 1)
    time.sleep(3)  # two more times to renew

    assert play.proxy.faults.injected == 1
    assert play.ends == []


@pytest.mark.parametrize("status", [403, 503])
def test_delete_that_is_refused_ends_the_host(play: Play, status: int) -> None:
    play.refuse(path="*/messages/*", method="DELETE", status=status, times=6)
    play.put(b"x")
    play.listen()

    wait_for(lambda: len(play.ends) == 1)


def test_delete_of_a_lost_message_is_swallowed(play: Play) -> None:
    play.refuse(path="*/messages/*", method="DELETE", status=404)
    play.put(b"x")
    play.listen()

    wait_for(lambda: "Lease was lost" in play.logged)

    assert play.ends == []


def test_release_that_is_refused_ends_the_host(play: Play) -> None:
    play.refuse(path="*/messages/*", method="PUT", status=403)
    play.put(b"x")
    play.listen(fail)

    wait_for(lambda: len(play.ends) == 1)


def test_copy_to_poison_that_is_refused_ends_the_host_and_is_not_logged(play: Play) -> None:
    play.refuse(path="*-poison/messages", method="POST", status=403)
    play.put("not base64!!")
    play.listen()

    wait_for(lambda: len(play.ends) == 1)

    assert "Queue message moved to poison" not in play.logged
    assert not play.is_empty()


def test_failure_on_a_poison_queue_waits_for_its_lease(poison_play: Play) -> None:
    poison_play.put(b"x")
    poison_play.listen(fail, lease_seconds=3)
    wait_for(lambda: len(poison_play.calls) == 1)
    began = time.monotonic()

    wait_for(lambda: len(poison_play.calls) == 2)

    assert time.monotonic() - began > 2


def test_tries_are_not_counted_on_a_poison_queue(poison_play: Play) -> None:
    poison_play.put(b"x")
    for _ in range(3):
        message = poison_play.queue.receive_message(visibility_timeout=30)
        assert message is not None
        poison_play.queue.update_message(message.id, message.pop_receipt, visibility_timeout=0)
    poison_play.listen()

    wait_for(poison_play.is_empty)

    assert poison_play.calls == [("x", 4)]


@pytest.mark.parametrize("body", [b"\xff\xfe.", b"\xc0\xaf", b"\xed\xa0\x80"])
def test_body_that_is_not_utf8_never_reaches_the_function(play: Play, body: bytes) -> None:
    play.put(body)
    play.listen()

    wait_for(lambda: "Queue message moved to poison" in play.logged)

    assert play.calls == []
    assert play.poison() == [base64.b64encode(body).decode()]


@pytest.mark.parametrize("text", ["aGVs\nbG8=", " aGVsbG8= ", "aGVs\r\n bG8=\n"])
def test_base64_with_blanks_and_line_breaks_is_read(play: Play, text: str) -> None:
    play.put(text)
    play.listen()

    wait_for(lambda: play.calls == [("hello", 1)])


@pytest.mark.parametrize("text", ["not base64!!", "aGVsbG8", "aGVsbG8==="])
def test_body_that_is_not_base64_is_poison_at_the_first_receive(play: Play, text: str) -> None:
    play.put(text)
    play.listen()

    wait_for(lambda: "Queue message moved to poison" in play.logged)

    assert play.calls == []
    assert play.poison() == [text]


def test_timed_out_call_is_released(play: Play) -> None:
    def late(_data: Any) -> None:
        raise CallTimedOut("late")

    play.put(b"x")
    play.listen(late)

    wait_for(lambda: len(play.calls) >= 2)
    wait_for(lambda: "Queue message moved to poison" in play.logged)


def test_fractions_of_the_visibility_timeout_are_cut(play: Play) -> None:
    called: list[float] = []

    def fail_at(_data: Any) -> None:
        called.append(time.monotonic())
        raise CallFailed("no")

    play.put(b"x")
    play.listen(fail_at, visibility_timeout_seconds=0.9)

    wait_for(lambda: len(called) == 2)

    assert called[1] - called[0] < 0.9


@pytest.mark.parametrize("name", ["bad_name", "ab", "a--b", "-a-b", "a" * 64])
def test_name_that_storage_does_not_take_is_refused_at_start(name: str) -> None:
    with pytest.raises(AppRefused, match="is no name of a queue"):
        queue_name(name)


def test_name_in_capitals_is_lowered() -> None:
    assert queue_name("UPPER-X") == "upper-x"
