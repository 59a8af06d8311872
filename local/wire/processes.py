"""Child processes that never outlive their parent, and the errors of the services that they are.

    ServiceError
      ServiceNotInstalled     what it needs is not on this machine
      ServiceNotStarted       it ended, or did not answer in time, while starting; carries its last log lines

It does not restart anything: a service that dies stays dead and is named.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

from fault import Fault
from local.wire.service import Service

ROOT = Path(__file__).resolve().parents[2]
LEASH = Path(__file__).with_name("leash.py")
POLL_SECONDS = 0.02

# What a service inherits from the shell. Azure credentials, proxies and Python's own switches of the user's shell
# stay out: a service answers to the settings that it was given and to nothing else.
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TERM")

T = TypeVar("T")


class ServiceError(Fault):
    """Root of the errors of local services."""

    status = 503


class ServiceNotInstalled(ServiceError):
    """What the service needs is not on this machine."""


class ServiceNotStarted(ServiceError):
    """The service ended, or did not answer in time, while it started."""


def base_environment() -> dict[str, str]:
    """Return the few variables of this shell that every service may see."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    # Coverage of child processes is switched on by variables of this prefix.
    kept |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return kept


class Process:
    """One server process on a leash. Its output goes to `log`; stop() and the parent's death both end it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_seconds: float = 5.0,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.environment = dict(base_environment() if environment is None else environment)
        self.folder = folder
        self.grace_seconds = grace_seconds
        self.settings = {
            "signal": int(stop_signal),
            "grace_seconds": grace_seconds,
            "user": user,
            "remove": None,
        }
        self._leash: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; it may not be ready yet. Its log is appended to, so that a restart keeps the story."""
        assert self._leash is None, f"{self.name} is started once"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.log_start = log.tell()
            self._leash = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LEASH), json.dumps(self.settings), *self.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then stops its services in order
            )

    @property
    def running(self) -> bool:
        """Whether the server is alive."""
        return self._leash is not None and self._leash.poll() is None

    def output(self) -> str:
        """Return what this run of the server has written so far."""
        with self.log.open("rb") as log:
            log.seek(self.log_start)
            return log.read().decode("utf-8", "replace")

    def wait_until(self, ready: Callable[[], T | None], *, seconds: float, hint: str) -> T:
        """Poll `ready` until it returns something; raise ServiceNotStarted with the cause when it never does."""
        deadline = time.monotonic() + seconds
        while True:
            alive = self.running
            answer = ready()
            if answer is not None:
                return answer
            if not alive:
                raise ServiceNotStarted(f"{self.name} ended while starting{self._last_lines()}", hint)
            if time.monotonic() > deadline:
                raise ServiceNotStarted(f"{self.name} gave no answer within {seconds:.0f} s{self._last_lines()}", hint)
            time.sleep(POLL_SECONDS)

    def _last_lines(self) -> str:
        lines = [line for line in self.output().splitlines() if line.strip()][-6:]
        where = f" (log: {self.log})"
        return ":\n  " + "\n  ".join(lines) + "\n " + where if lines else where

    def stop(self) -> None:
        """Ask the server to stop, kill it after its grace, and wait until it is gone. Works any number of times."""
        leash, self._leash = self._leash, None
        if leash is None:
            return
        assert leash.stdin is not None
        leash.stdin.close()
        try:
            leash.wait(timeout=self.grace_seconds + 10)
        except subprocess.TimeoutExpired:
            leash.kill()
            leash.wait()

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would, and wait until it is gone."""
        if self._leash is not None and self._leash.poll() is None:
            self._leash.send_signal(signal.SIGUSR1)
            self._leash.wait(timeout=10)
        self.stop()


class ProcessService(Service):
    """What every server that is one process has: a context manager that can be stopped, killed and started again."""

    _process: Process | None = None

    @abstractmethod
    def start(self) -> Self:
        """Start the server and wait until it answers."""

    def _begin(self, process: Process, ready: Callable[[Process], T | None], *, seconds: float, hint: str) -> T:
        """Start the process and return what `ready` found; a start that fails leaves nothing behind."""
        self._process = process
        process.start()
        try:
            return process.wait_until(lambda: ready(process), seconds=seconds, hint=hint)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server in order. Works any number of times."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def kill(self) -> None:
        """End the server as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()


class TemporaryFolder:
    """A folder that goes with this process, even when this process is killed; a context manager that gives its path."""

    def __init__(self, prefix: str = "sealift-", *, within: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
        settings = {"signal": int(signal.SIGTERM), "grace_seconds": 0, "user": None, "remove": str(self.path)}
        self._leash = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LEASH), json.dumps(settings)],
            stdin=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder now. Works any number of times."""
        assert self._leash.stdin is not None
        self._leash.stdin.close()
        self._leash.wait()
