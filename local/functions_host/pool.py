"""The host's worker processes: calls go to the one that is least busy, the dead are replaced.

As in Azure, a call that exceeds functionTimeout costs its whole worker process, and every other call on it fails. A
worker that ends for another reason fails its calls too; a new one takes its place.
"""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.functions_host.settings import AppRefused
from local.wire.processes import ROOT

# The program that runs an app; it takes the app's folder and the descriptor of a socket.
WORKER = (sys.executable, "-m", "local.functions_host.worker")
START_SECONDS = 60.0
RESTART_PAUSE_SECONDS = 1.0
WATCH_SECONDS = 0.05

Log = Callable[..., None]


class CallFailed(Exception):
    """The function raised; the text is for the log, never for the caller."""


class WorkerLost(CallFailed):
    """The worker process ended while the call ran."""


class CallTimedOut(CallFailed):
    """The call ran longer than functionTimeout, and its worker was killed."""


@dataclass(slots=True, kw_only=True)
class _Call:
    future: Future[dict[str, Any]]
    function: str
    deadline: float | None


@dataclass(slots=True, kw_only=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: multiprocessing.connection.Connection[Any, Any]
    calls: dict[str, _Call] = field(default_factory=dict)
    send_lock: threading.Lock = field(default_factory=threading.Lock)


class WorkerPool:
    """Run the functions of one app in `count` processes."""

    def __init__(
        self,
        app: Path,
        count: int,
        timeout_seconds: float | None,
        log: Log,
        program: Sequence[str] = WORKER,
    ) -> None:
        self._program = list(program)
        self._app = app
        self._count = count
        self._timeout_seconds = timeout_seconds
        self._log = log
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._changed = threading.Condition(self._lock)
        self._stopping = threading.Event()
        self.functions: dict[str, dict[str, Any]] = {}

    def start(self) -> None:
        """Start all workers; raise AppRefused when the app cannot be loaded."""
        started = [self._spawn() for _ in range(self._count)]
        for worker in started:
            self._admit(worker)
        threading.Thread(target=self._watch_timeouts, name="timeouts", daemon=True).start()

    def stop(self) -> None:
        """End all workers; calls that still run fail with WorkerLost."""
        self._stopping.set()
        with self._lock:
            workers = list(self._workers)
            self._changed.notify_all()
        for worker in workers:
            with contextlib.suppress(OSError):
                worker.process.kill()
            worker.process.wait()

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that are alive."""
        with self._lock:
            return [worker.process.pid for worker in self._workers]

    @property
    def running(self) -> int:
        """How many calls run now."""
        with self._lock:
            return sum(len(worker.calls) for worker in self._workers)

    def call(
        self, function: str, data: Any, metadata: Mapping[str, Any], *, traceparent: str = "", tracestate: str = ""
    ) -> Future[dict[str, Any]]:
        """Run a function; the future gives its outputs by binding name, or raises CallFailed."""
        call_id = str(uuid.uuid4())
        future: Future[dict[str, Any]] = Future()
        deadline = None if self._timeout_seconds is None else time.monotonic() + self._timeout_seconds
        request = {
            "id": call_id, "function": function, "data": data, "metadata": dict(metadata),
            "traceparent": traceparent, "tracestate": tracestate,
        }  # fmt: skip
        started = time.monotonic()
        self._log("info", "Executing", function=function, invocation_id=call_id)
        future.add_done_callback(lambda done: self._log_end(done, function, call_id, started))
        with self._changed:
            while not self._workers and not self._stopping.is_set():
                self._changed.wait(1)
            if self._stopping.is_set():
                future.set_exception(WorkerLost("the host is stopping"))
                return future
            worker = min(self._workers, key=lambda worker: len(worker.calls))
            worker.calls[call_id] = _Call(future=future, function=function, deadline=deadline)
        # A worker that is dying fails the call when its end is noticed.
        with contextlib.suppress(OSError), worker.send_lock:
            worker.connection.send(request)
        return future

    def _log_end(self, done: Future[dict[str, Any]], function: str, call_id: str, started: float) -> None:
        error = done.exception()
        fields: dict[str, Any] = {
            "function": function,
            "invocation_id": call_id,
            "duration_ms": round((time.monotonic() - started) * 1000, 1),
        }
        if error is None:
            self._log("info", "Executed", **fields, outcome="Succeeded")
        else:
            self._log("error", "Executed", **fields, outcome="Failed", error=str(error))

    def _spawn(self) -> _Worker:
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(
            [*self._program, str(self._app), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
        )
        theirs.close()
        return _Worker(process=process, connection=multiprocessing.connection.Connection(ours.detach()))

    def _admit(self, worker: _Worker) -> None:
        """Wait until a new worker has loaded the app, and give it work from then on."""
        try:
            if not worker.connection.poll(START_SECONDS):
                raise AppRefused(
                    f"function_app.py was not loaded within {START_SECONDS:.0f} s", "find out what its import waits for"
                )
            message = worker.connection.recv()
        except (EOFError, OSError):
            message = {
                "kind": "refused",
                "message": f"the worker process ended while it loaded the app (exit code {worker.process.wait()})",
                "hint": "its last words are in the log",
            }
        if message["kind"] == "refused":
            worker.process.kill()
            worker.process.wait()
            raise AppRefused(message["message"], message["hint"])
        with self._changed:
            self.functions = {function["name"]: function for function in message["functions"]}
            self._workers.append(worker)
            self._changed.notify_all()
        threading.Thread(target=self._read, args=[worker], name="worker reader", daemon=True).start()

    def _read(self, worker: _Worker) -> None:
        """Take a worker's answers until it ends, then fail what it left and start another."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._take(worker, worker.connection.recv())
        with self._lock:
            if worker in self._workers:
                self._workers.remove(worker)
            left = list(worker.calls.values())
            worker.calls.clear()
        worker.connection.close()
        code = worker.process.wait()
        for call in left:
            call.future.set_exception(WorkerLost(f"the worker process {worker.process.pid} ended (exit code {code})"))
        if not self._stopping.is_set():
            self._log("error", "Worker ended", worker=worker.process.pid, exit_code=code, calls=len(left))
            self._replace()

    def _replace(self) -> None:
        while not self._stopping.is_set():
            worker = self._spawn()
            try:
                self._admit(worker)
            except AppRefused as refusal:
                self._log("error", "Worker not started", error=refusal.message)
                self._stopping.wait(RESTART_PAUSE_SECONDS)
            else:
                self._log("info", "Worker started", worker=worker.process.pid)
                if self._stopping.is_set():
                    worker.process.kill()
                return

    def _take(self, worker: _Worker, message: Mapping[str, Any]) -> None:
        with self._lock:
            call = worker.calls.pop(message["id"], None)
        if call is None:
            return
        if "error" in message:
            self._log(
                "error",
                "Exception",
                function=call.function,
                invocation_id=message["id"],
                traceback=message["traceback"],
            )
            call.future.set_exception(CallFailed(message["error"]))
        else:
            call.future.set_result(message["outputs"])

    def _watch_timeouts(self) -> None:
        while not self._stopping.wait(WATCH_SECONDS):
            now = time.monotonic()
            late: list[tuple[_Worker, _Call]] = []
            with self._lock:
                for worker in list(self._workers):
                    expired = [
                        call_id
                        for call_id, call in worker.calls.items()
                        if call.deadline is not None and now > call.deadline
                    ]
                    late += [(worker, worker.calls.pop(call_id)) for call_id in expired]
                    if expired:
                        self._workers.remove(worker)  # it is about to be killed: no new calls
            for worker, call in late:
                worker.process.kill()
                call.future.set_exception(CallTimedOut(f"{call.function} ran longer than {self._timeout_seconds} s"))
