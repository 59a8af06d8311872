"""Cuts a connection on which nothing moves, or whose time is used up, and says why it broke.

A channel's own timeout does not cover a send() that is blocked on a full TCP buffer: only cutting the socket does.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from delivery.errors import ConnectionLost, DeadlinePassed, DeliveryError, Stalled


class Watchdog:
    """Watches one socket from a thread of its own until `stop`; `deadline` is of time.monotonic, None means no limit."""

    def __init__(self, sock: socket.socket, host: str, stall_seconds: float) -> None:
        self.deadline: float | None = None
        self._socket = sock
        self._host = host
        self._stall_seconds = stall_seconds
        self._stopped = threading.Event()
        self._waiting_since: float | None = None
        self._cause: DeliveryError | None = None
        threading.Thread(target=self._watch, name=f"watch {host}", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def waits(self, now_waiting: bool) -> None:
        """Say that we are waiting for the server from now on, or no longer."""
        self._waiting_since = time.monotonic() if now_waiting else None

    def lost(self, error: BaseException) -> DeliveryError:
        """Turn a failure of socket or transport into its cause."""
        if self._cause is not None:
            return self._cause
        if isinstance(error, TimeoutError):
            return self._stalled()
        words = str(error) or type(error).__name__
        return ConnectionLost(f"the connection to {self._host} broke: {words}", hint="no action needed; it retries")

    def _stalled(self) -> DeliveryError:
        return Stalled(
            f"{self._host} did not answer for {self._stall_seconds:g} s", hint="no action needed; it retries"
        )

    def _watch(self) -> None:
        while not self._stopped.wait(min(1.0, self._stall_seconds / 4)):
            now, since, deadline = time.monotonic(), self._waiting_since, self.deadline
            if deadline is not None and now > deadline:
                self._cut(DeadlinePassed("the time for this delivery is used up", hint="it goes on where it stopped"))
            elif since is not None and now - since > self._stall_seconds:
                self._cut(self._stalled())

    def _cut(self, cause: DeliveryError) -> None:
        if self._cause is None:
            self._cause = cause
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
