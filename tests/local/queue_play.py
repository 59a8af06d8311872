"""One queue listener on Azurite, behind a proxy that refuses, delays or hangs up, with everything that it asked for."""

from __future__ import annotations

import base64
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from azure.storage.queue import QueueClient
from service_support import wait_for

from local.azurite import Azurite
from local.functions_host.pool import CallFailed
from local.functions_host.queues import ListenerHost, QueueListener, Timing
from local.functions_host.settings import QueueSettings
from local.wire.fault_proxy import FaultProxy
from local.wire.faults import Fault, Faults
from local.wire.web import Handler, Request, Response

Body = Callable[[Any], None]
SETTINGS: dict[str, Any] = {
    "batch_size": 1,
    "new_batch_threshold": 0,
    "max_dequeue_count": 2,
    "max_polling_seconds": 0.2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request to storage, when it came, and how it was answered (0: not at all)."""

    method: str
    path: str
    query: dict[str, str]
    at: float
    status: int


class Recorder(Faults):
    """Faults that also keep the requests."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []

    def guard(self, request: Request, answer: Handler, refuse: Callable[[Fault], Response] | None = None) -> Response:
        began, status = time.monotonic(), 0
        try:
            response = super().guard(request, answer, refuse)
            status = response.status
        finally:
            self.asked.append(
                Asked(method=request.method, path=request.path, query=request.query, at=began, status=status)
            )
        return response


class Play:
    """One listener on one queue, its function, and what it asked of its host and of storage."""

    def __init__(self, storage: Azurite, proxy: FaultProxy, name: str) -> None:
        self.connection = storage.connection_string("sealifthost")
        self.recorder = proxy.faults = Recorder()
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

    def put(self, data: bytes | str, **options: Any) -> None:
        text = data if isinstance(data, str) else base64.b64encode(data).decode()
        self.queue.send_message(text, **options)

    def listen(
        self,
        body: Body | None = None,
        *,
        lease_seconds: int = 600,
        most_poll_seconds: float = math.inf,
        **settings: Any,
    ) -> None:
        self.body = body or self.body
        host = ListenerHost(
            call=self._call, log=lambda _, message, **fields: self.logged.append(message), end=self.ends.append
        )
        trigger = {"queueName": self.name, "connection": "PROXIED"}
        timing = Timing(lease_seconds=lease_seconds, first_retry_seconds=0.02, most_poll_seconds=most_poll_seconds)
        self.listener = QueueListener(
            {"name": "f", "trigger": trigger}, QueueSettings(**(SETTINGS | settings)), host, timing
        )
        self.listener.start()

    def refuse(self, **fault: Any) -> None:
        self.recorder.add(Fault(**fault))

    def stop(self) -> None:
        """Stop the listener and wait until nothing of it runs."""
        if self.listener is not None:
            self.listener.stop()
            wait_for(lambda: self.has_ended)

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

    def asked(self, method: str, *, poison: bool = False) -> list[Asked]:
        """Return the requests of a method about the queue, or about its poison queue, in their order."""
        name = self.name + ("-poison" if poison else "")
        return [each for each in self.recorder.asked if each.method == method and f"/{name}/" in f"{each.path}/"]

    @property
    def has_ended(self) -> bool:
        """Whether the listener polls and renews no more, and no message runs: nothing can follow."""
        threads = [thread for thread in threading.enumerate() if thread.name == f"queue {self.name}"]
        return not threads and self.listener is not None and not self.listener.running

    def is_empty(self) -> bool:
        return not self.queue.get_queue_properties().approximate_message_count

    def poison(self) -> list[str]:
        return [message.content for message in self.client(f"{self.name}-poison").peek_messages(max_messages=5)]


def fail(_data: Any) -> None:
    raise CallFailed("no")
