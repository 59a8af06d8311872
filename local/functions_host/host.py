"""The local function host: runs a function_app.py (Python V2) as Azure would, in processes of its own.

`python -m local.functions_host.host --app DIR --keys-file FILE [--port N] [--workers N]` serves until SIGTERM and
prints one JSON line with its address when it is ready; the app's settings are its environment. What it copies from the
Functions host, and what not, is in server.py and docs/local-vs-azure.md. A host that ends because a queue refuses it is
started again, as the platform does.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from local.functions_host.settings import HOST_ENDS
from local.wire.certificates import write_private
from local.wire.processes import Process, ProcessService, ServiceError, base_environment

LEASE_SECONDS = 600
FIRST_RESTART_SECONDS = 1.0
MOST_RESTART_SECONDS = 10.0
WATCH_SECONDS = 0.1
GRACE_SECONDS = 15.0  # more than the host itself takes for calls that still run
HINT = "fix the app or its settings, then start again"


class FunctionHost(ProcessService):
    """The host as a service: a child process for one app; a context manager.

    `environment` are the app's settings. `keys` are the host keys by name (`default` is `.key`); the master key is made
    here. A restart keeps port and keys.
    """

    # Another program in the place of local.functions_host.worker: the tests run the app on Microsoft's runtime with it.
    worker_program: ClassVar[list[str]] = []

    def __init__(
        self,
        app_folder: Path,
        environment: Mapping[str, str],
        keys: Mapping[str, str] | None = None,
        *,
        folder: Path,
        workers: int = 1,
        lease_seconds: int = LEASE_SECONDS,
        most_poll_seconds: float | None = None,
    ) -> None:
        self.app_folder = app_folder
        self.environment = dict(environment)
        self.keys = dict(keys or {"default": secrets.token_urlsafe(32)})
        self.master_key = secrets.token_urlsafe(32)
        self.folder = folder
        self.log = folder / "function-host.log"
        self.url = ""
        self.pid = 0
        self._port = 0
        self._workers = workers
        self.lease_seconds = lease_seconds
        self._most_poll_seconds = most_poll_seconds
        self._lock = threading.RLock()
        self._pause_seconds = FIRST_RESTART_SECONDS
        self.restarts = 0

    @property
    def key(self) -> str:
        return self.keys["default"]

    def start(self) -> Self:
        with self._lock:
            self._start()
        return self

    def stop(self) -> None:
        with self._lock:
            super().stop()

    def kill(self) -> None:
        with self._lock:
            super().kill()

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        keys_file = self.folder / "function-keys.json"
        write_private(keys_file, json.dumps({"master": self.master_key, "host": self.keys}).encode())
        command = [sys.executable, "-m", "local.functions_host.host", "--app", str(self.app_folder.resolve())]
        command += ["--keys-file", str(keys_file.resolve()), "--port", str(self._port), "--workers", str(self._workers)]
        command += ["--lease-seconds", str(self.lease_seconds)]
        if self._most_poll_seconds is not None:
            command += ["--most-poll-seconds", str(self._most_poll_seconds)]
        if self.worker_program:
            command += ["--worker-program", json.dumps(self.worker_program)]
        process = Process(
            "the function host",
            command,
            log=self.log,
            environment=base_environment() | {"FUNCTIONS_WORKER_RUNTIME": "python"} | self.environment,
            grace_seconds=GRACE_SECONDS,
        )
        ready = self._begin(process, self._announcement, seconds=90, hint=HINT)
        self.url, self._port, self.pid = ready["url"], ready["port"], ready["pid"]
        threading.Thread(target=self._watch, args=[process], name="host watch", daemon=True).start()

    def _watch(self, process: Process) -> None:
        """Start the host again when it has ended itself; one that was stopped or killed stays down."""
        began = time.monotonic()
        while process.running:
            time.sleep(WATCH_SECONDS)
        if self._process is not process or not self._has_ended_itself(process):
            return
        long_enough = time.monotonic() - began > MOST_RESTART_SECONDS
        self._pause_seconds = FIRST_RESTART_SECONDS if long_enough else self._pause_seconds
        while not self._is_replaced(process):
            pass

    def _is_replaced(self, ended: Process) -> bool:
        """Start the host once more after a pause, unless it was stopped meanwhile; return whether that was the last try."""
        time.sleep(self._pause_seconds)
        self._pause_seconds = min(2 * self._pause_seconds, MOST_RESTART_SECONDS)
        with self._lock:
            if self._process is not ended:
                return True
            ended.stop()
            self.restarts += 1
            try:
                self._start()
            except ServiceError:  # why is in the log; the platform goes on trying, too
                self._process = ended
                return False
            return True

    @staticmethod
    def _has_ended_itself(process: Process) -> bool:
        return f'"message": "{HOST_ENDS}"' in process.output()

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers that are alive now."""
        request = urllib.request.Request(f"{self.url}/admin/host/status", headers={"x-functions-key": self.master_key})  # noqa: S310 - our own loopback address
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - see above
            pids: list[int] = json.load(answer)["workerProcessIds"]
        return pids

    @staticmethod
    def _announcement(process: Process) -> dict[str, Any] | None:
        for line in process.output().splitlines():
            if line.startswith('{"ready": true'):
                announced: dict[str, Any] = json.loads(line)
                return announced
        return None


if __name__ == "__main__":
    from local.functions_host.server import main

    code = main()
    sys.stderr.flush()
    os._exit(code)
