"""The queue listener of the function host, with the Functions host's own semantics.

Messages are received in batches under a 10-minute lease that is renewed at half time; the next batch comes when no more
than newBatchThreshold run. A success deletes the message; a failure makes it visible after visibilityTimeout, or moves
it to `<queue>-poison` once it has been tried maxDequeueCount times. A call that timed out leaves its message to the rest
of its lease. The queue must exist; a missing one is polled quietly.
"""

import base64
import binascii
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage

from local.functions_host.pool import CallTimedOut, Log
from local.functions_host.settings import AppRefused, QueueSettings, resolve_setting

LEASE_SECONDS = 600
FIRST_POLL_SECONDS = 0.1
POISON = "-poison"
# The SDK waits 15 s and more between its tries; the next poll comes sooner than that anyway.
RETRIES: dict[str, Any] = {"retry_total": 2, "initial_backoff": 1, "increment_base": 1}

Call = Callable[[str, Any, dict[str, Any]], "Future[dict[str, Any]]"]


def queue_client(queue: str, connection: str | None) -> QueueClient:
    """Make a client from the app settings of a connection: a connection string, or identity-based `NAME__...`."""
    name = connection or "AzureWebJobsStorage"
    text = os.environ.get(name) or os.environ.get(f"AzureWebJobs{name}")
    if text:
        return QueueClient.from_connection_string(text, queue, **RETRIES)
    uri, account = os.environ.get(f"{name}__queueServiceUri"), os.environ.get(f"{name}__accountName")
    if not uri and not account:
        raise AppRefused(
            f"queue '{queue}': the app settings have no connection {name!r}",
            f"set {name} to a connection string, or {name}__queueServiceUri (with {name}__credential=managedidentity)",
        )
    return QueueClient(
        uri or f"https://{account}.queue.core.windows.net", queue, credential=_credential(name), **RETRIES
    )


def _credential(name: str) -> Any:
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    if os.environ.get(f"{name}__credential", "").lower() == "managedidentity":
        return ManagedIdentityCredential(client_id=os.environ.get(f"{name}__clientId"))
    return DefaultAzureCredential()


@dataclass(slots=True, kw_only=True, eq=False)
class _Leased:
    message: QueueMessage
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: bool = False


class QueueListener:
    """Feed one function from one queue until stop()."""

    def __init__(
        self,
        function: dict[str, Any],
        settings: QueueSettings,
        call: Call,
        log: Log,
        *,
        lease_seconds: int = LEASE_SECONDS,
    ) -> None:
        trigger = function["trigger"]
        self._function = function["name"]
        self.queue = resolve_setting(trigger["queueName"])
        self._client = queue_client(self.queue, trigger.get("connection"))
        # A poison queue has no poison queue of its own.
        self._poison = (
            None if self.queue.endswith(POISON) else queue_client(self.queue + POISON, trigger.get("connection"))
        )
        self._settings = settings
        self._call = call
        self._log = log
        self._lease_seconds = lease_seconds
        self._running: set[_Leased] = set()
        self._room = threading.Condition()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=f"queue {self.queue}", daemon=True) for work in (self._poll, self._renew)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Receive no more messages; those that run go on."""
        self._stopping.set()
        with self._room:
            self._room.notify_all()

    @property
    def running(self) -> int:
        return len(self._running)

    def _poll(self) -> None:
        pause = FIRST_POLL_SECONDS
        while not self._stopping.is_set():
            with self._room:
                self._room.wait_for(
                    lambda: self._stopping.is_set() or len(self._running) <= self._settings.new_batch_threshold
                )
            if self._stopping.is_set():
                return
            messages = self._receive()
            for message in messages:
                leased = _Leased(message=message)
                with self._room:
                    self._running.add(leased)
                threading.Thread(target=self._process, args=[leased], name="queue message", daemon=True).start()
            if messages:
                pause = FIRST_POLL_SECONDS
            else:
                self._stopping.wait(pause)
                pause = min(pause * 2, self._settings.max_polling_seconds)

    def _receive(self) -> list[QueueMessage]:
        count = self._settings.batch_size
        try:
            pages = self._client.receive_messages(
                messages_per_page=count, max_messages=count, visibility_timeout=self._lease_seconds
            )
            return list(pages)
        except ResourceNotFoundError:
            return []
        except AzureError as error:
            self._log("warning", "Queue not readable", queue=self.queue, error=_first_line(error))
            return []

    def _renew(self) -> None:
        while not self._stopping_and_idle(self._lease_seconds / 2):
            with self._room:
                running = list(self._running)
            for leased in running:
                with leased.lock:
                    if not leased.done:
                        self._update(leased, self._lease_seconds)

    def _stopping_and_idle(self, seconds: float) -> bool:
        # Messages that still run while the host stops keep their leases until they end.
        if self._stopping.is_set():
            threading.Event().wait(min(seconds, 1))
            return not self._running
        self._stopping.wait(seconds)
        return False

    def _process(self, leased: _Leased) -> None:
        message = leased.message
        try:
            data = self._decode(message)
            too_often = (message.dequeue_count or 0) > self._settings.max_dequeue_count
            if data is None or too_often:
                self._move_to_poison(leased, "its body is not base64" if data is None else "it was tried too often")
                return
            self._run(leased, data)
        except AzureError as error:
            self._log("warning", "Queue message not settled", queue=self.queue, id=message.id, error=_first_line(error))
        finally:
            with leased.lock:
                leased.done = True
            with self._room:
                self._running.discard(leased)
                self._room.notify_all()

    def _run(self, leased: _Leased, data: str | bytes) -> None:
        future = self._call(self._function, data, _metadata(leased.message))
        error = future.exception()
        if error is None:
            with leased.lock:
                leased.done = True
                self._delete(leased)
        elif isinstance(error, CallTimedOut):
            self._log("warning", "Queue message left to its lease", queue=self.queue, id=leased.message.id)
        elif self._poison is not None and (leased.message.dequeue_count or 0) >= self._settings.max_dequeue_count:
            self._move_to_poison(leased, "its last try failed")
        else:
            with leased.lock:
                leased.done = True
                self._update(leased, self._settings.visibility_timeout_seconds)

    def _decode(self, message: QueueMessage) -> str | bytes | None:
        content = message.content
        if not self._settings.base64:
            return str(content)
        try:
            raw = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            return None
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw

    def _move_to_poison(self, leased: _Leased, why: str) -> None:
        message = leased.message
        if self._poison is None:
            return
        self._log("warning", "Queue message moved to poison", queue=self.queue, id=message.id, why=why)
        try:
            self._poison.send_message(message.content)
        except ResourceNotFoundError:
            self._poison.create_queue()
            self._poison.send_message(message.content)
        with leased.lock:
            leased.done = True
            self._delete(leased)

    def _delete(self, leased: _Leased) -> None:
        try:
            self._client.delete_message(leased.message)
        except HttpResponseError as error:
            self._ignore_lost_lease(error, leased)

    def _update(self, leased: _Leased, seconds: float) -> None:
        message = leased.message
        try:
            fresh = self._client.update_message(
                message.id, pop_receipt=message.pop_receipt, visibility_timeout=round(seconds)
            )
            message.pop_receipt = fresh.pop_receipt
        except HttpResponseError as error:
            self._ignore_lost_lease(error, leased)
        except AzureError as error:
            self._log("warning", "Lease not renewed", queue=self.queue, id=message.id, error=_first_line(error))

    def _ignore_lost_lease(self, error: HttpResponseError, leased: _Leased) -> None:
        """A message whose lease went to another host is that host's to settle."""
        if error.status_code not in (400, 404):
            raise error
        self._log("warning", "Lease was lost", queue=self.queue, id=leased.message.id, error=_first_line(error))


def _metadata(message: QueueMessage) -> dict[str, Any]:
    def text(time: datetime | None) -> str | None:
        return time.isoformat() if time else None

    return {
        "Id": message.id,
        "PopReceipt": message.pop_receipt,
        "DequeueCount": message.dequeue_count,
        "InsertionTime": text(message.inserted_on),
        "ExpirationTime": text(message.expires_on),
        "NextVisibleTime": text(message.next_visible_on),
    }


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
