"""The queue listener of the function host, with the Functions host's own semantics.

Messages are received in batches under a 10-minute lease that is renewed at half time; the next batch comes when no more
than newBatchThreshold run. A success deletes the message; a failure or a timeout makes it visible after visibilityTimeout,
or moves it to `<queue>-poison` once it has been tried maxDequeueCount times. A `-poison` queue has no poison queue: what
fails there is neither released nor counted and comes back when its lease ends. The queue must exist; a missing one is
polled quietly, and so is a service that answers 5xx. Whatever else is refused, or unreachable through all tries, ends the
host, as in Azure. Checked against Microsoft's listener 5.3.10; what differs is in docs/local-vs-azure.md.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.queue import ExponentialRetry, QueueClient, QueueMessage

from local.functions_host.pool import Log
from local.functions_host.settings import AppRefused, QueueSettings, resolve_setting

LEASE_SECONDS = 600
FIRST_POLL_SECONDS = 0.1
POISON = "-poison"
MOST_QUEUE_CHARACTERS = 63
MORE_TRIES = 5
FIRST_RETRY_SECONDS = 0.8

Call = Callable[[str, Any, dict[str, Any]], "Future[dict[str, Any]]"]


class _Retry(ExponentialRetry):
    """Six tries a request, with waits that double: about 26 s in all, as the SDK of .NET does."""

    def __init__(self, first_seconds: float) -> None:
        super().__init__(
            retry_total=MORE_TRIES, retry_connect=MORE_TRIES, retry_read=MORE_TRIES, retry_status=MORE_TRIES
        )
        self._first_seconds = first_seconds

    def get_backoff_time(self, settings: dict[str, Any]) -> float:
        return float(self._first_seconds * 2 ** settings["count"])


_BLANKS = re.compile(r"[ \t\r\n]")  # those that .NET skips in base64
_QUEUE_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The times of a listener in seconds; other values than Azure's are for tests and the demo.

    `most_poll_seconds` caps the pause between two looks at an empty queue, whatever host.json says.
    """

    lease_seconds: int = LEASE_SECONDS
    first_retry_seconds: float = FIRST_RETRY_SECONDS
    most_poll_seconds: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerHost:
    """What a listener needs of its host: to call a function, to log, and to end the host with a cause."""

    call: Call
    log: Log
    end: Callable[[str], None]


def queue_client(queue: str, connection: str | None, first_retry_seconds: float = FIRST_RETRY_SECONDS) -> QueueClient:
    """Make a client from the app settings of a connection: a connection string, or identity-based `NAME__...`."""
    retries = _Retry(first_retry_seconds)
    name = connection or "AzureWebJobsStorage"
    text = os.environ.get(name) or os.environ.get(f"AzureWebJobs{name}")
    if text:
        return QueueClient.from_connection_string(text, queue, retry_policy=retries)
    uri, account = os.environ.get(f"{name}__queueServiceUri"), os.environ.get(f"{name}__accountName")
    if not uri and not account:
        raise AppRefused(
            f"queue '{queue}': the app settings have no connection {name!r}",
            f"set {name} to a connection string, or {name}__queueServiceUri (with {name}__credential=managedidentity)",
        )
    return QueueClient(
        uri or f"https://{account}.queue.core.windows.net", queue, credential=_credential(name), retry_policy=retries
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
    lost: bool = False  # another host has it, or it is gone: no more renewals


class QueueListener:
    """Feed one function from one queue until stop()."""

    def __init__(
        self,
        function: dict[str, Any],
        settings: QueueSettings,
        host: ListenerHost,
        timing: Timing = Timing(),
    ) -> None:
        trigger = function["trigger"]
        self._function = function["name"]
        self.queue = queue_name(resolve_setting(trigger["queueName"]))
        connection, first = trigger.get("connection"), timing.first_retry_seconds
        self._client = queue_client(self.queue, connection, first)
        # A poison queue, and a queue whose name leaves no room for the ending, has no poison queue.
        has_poison = not self.queue.endswith(POISON) and len(self.queue + POISON) <= MOST_QUEUE_CHARACTERS
        self._poison = queue_client(self.queue + POISON, connection, first) if has_poison else None
        self._settings = settings
        self._host = host
        self._log = host.log
        self._lease_seconds = timing.lease_seconds
        self._most_poll_seconds = min(settings.max_polling_seconds, timing.most_poll_seconds)
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
            if messages is None:
                return
            for message in messages:
                leased = _Leased(message=message)
                with self._room:
                    self._running.add(leased)
                threading.Thread(target=self._process, args=[leased], name="queue message", daemon=True).start()
            if messages:
                pause = FIRST_POLL_SECONDS
            else:
                self._stopping.wait(pause)
                pause = min(pause * 2, self._most_poll_seconds)

    def _receive(self) -> list[QueueMessage] | None:
        """Return what the queue holds; None when the refusal of the service has ended the host."""
        count = self._settings.batch_size
        try:
            pages = self._client.receive_messages(
                messages_per_page=count, max_messages=count, visibility_timeout=self._lease_seconds
            )
            return list(pages)
        except HttpResponseError as error:
            if _is_missing(error):
                return []
            status = error.status_code or 0
            if status >= 500 or (status == 409 and _code(error) == "QueueBeingDeleted"):
                self._log("warning", "Queue not readable", queue=self.queue, error=_first_line(error))
                return []
            self._end("read", error)
        except AzureError as error:
            self._end("read", error)
        return None

    def _end(self, what: str, error: Exception) -> None:
        """End the host: this listener receives no more."""
        self._stopping.set()
        self._host.end(f"queue '{self.queue}' could not be {what}: {_first_line(error)}")

    def _renew(self) -> None:
        while not self._stopping_and_idle(self._lease_seconds / 2):
            with self._room:
                running = list(self._running)
            for leased in running:
                with leased.lock:
                    if not leased.done and not leased.lost:
                        self._renew_one(leased)

    def _renew_one(self, leased: _Leased) -> None:
        try:
            leased.lost = not self._update(leased, self._lease_seconds)
        except AzureError as error:
            self._end("renewed", error)

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
            if data is None or (too_often and self._poison is not None):
                self._move_to_poison(leased, "its body is not base64" if data is None else "it was tried too often")
                return
            self._run(leased, data)
        except AzureError as error:
            self._end("settled", error)
        finally:
            with leased.lock:
                leased.done = True
            with self._room:
                self._running.discard(leased)
                self._room.notify_all()

    def _run(self, leased: _Leased, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self._log("error", "Executed", function=self._function, outcome="Failed", error="the body is not UTF-8")
            failed = True
        else:
            failed = self._host.call(self._function, data, _metadata(leased.message)).exception() is not None
        if not failed:
            with leased.lock:
                leased.done = True
                self._delete(leased)
        elif self._poison is None:
            self._log("warning", "Queue message left to its lease", queue=self.queue, id=leased.message.id)
        elif (leased.message.dequeue_count or 0) >= self._settings.max_dequeue_count:
            self._move_to_poison(leased, "its last try failed")
        else:
            with leased.lock:
                leased.done = True
                self._update(leased, self._settings.visibility_timeout_seconds)

    def _decode(self, message: QueueMessage) -> str | bytes | None:
        content = message.content or ""
        if not self._settings.base64:
            return str(content)
        try:
            raw = base64.b64decode(_BLANKS.sub("", content), validate=True)
        except (binascii.Error, ValueError):
            return None
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw

    def _move_to_poison(self, leased: _Leased, why: str) -> None:
        message = leased.message
        if self._poison is None:
            self._log("warning", "Queue message left to its lease", queue=self.queue, id=message.id, why=why)
            return
        try:
            self._poison.send_message(message.content)
        except ResourceNotFoundError as error:
            if not _is_missing(error):
                raise
            self._poison.create_queue()
            self._poison.send_message(message.content)
        self._log("warning", "Queue message moved to poison", queue=self.queue, id=message.id, why=why)
        with leased.lock:
            leased.done = True
            self._delete(leased)

    def _delete(self, leased: _Leased) -> None:
        try:
            self._client.delete_message(leased.message)
        except HttpResponseError as error:
            self._ignore_lost_lease(error, leased)

    def _update(self, leased: _Leased, seconds: float) -> bool:
        """Set when the message is visible again, in whole seconds; return whether it was still ours."""
        message = leased.message
        try:
            fresh = self._client.update_message(
                message.id, pop_receipt=message.pop_receipt, visibility_timeout=int(seconds)
            )
            message.pop_receipt = fresh.pop_receipt
        except HttpResponseError as error:
            self._ignore_lost_lease(error, leased)
            return False
        return True

    def _ignore_lost_lease(self, error: HttpResponseError, leased: _Leased) -> None:
        """A message whose lease went to another host is that host's to settle."""
        if error.status_code not in (400, 404):
            raise error
        self._log("warning", "Lease was lost", queue=self.queue, id=leased.message.id, error=_first_line(error))


def queue_name(name: str) -> str:
    """Return a queue's name in lower case; raise AppRefused for one that Azure Storage does not take."""
    lowered = name.lower()
    if not 3 <= len(lowered) <= MOST_QUEUE_CHARACTERS or not _QUEUE_NAME.fullmatch(lowered):
        raise AppRefused(
            f"'{name}' is not a name of a queue",
            "use 3 to 63 letters, digits and single hyphens; a letter or digit comes first and last",
        )
    return lowered


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


def _code(error: HttpResponseError) -> str:
    return str(getattr(error, "error_code", "") or "")  # set by the storage SDK


def _is_missing(error: HttpResponseError) -> bool:
    """Return whether the queue does not exist; any other 404 is a refusal."""
    return error.status_code == 404 and _code(error) == "QueueNotFound"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
