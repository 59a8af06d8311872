"""dbt in this process: its events, its results, and a way to stop it.

One process for all commands of a run saves dbt's import and parse for each of them. dbt's own console and file logs stay off:
they quote rows and statements; what leaves this process is built here, from events, and goes through messages.clean().
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from dbt_runner.messages import clean
from dbt_runner.warehouse_login import Login, LoginFailed

TOTALS_PREFIX = "control totals: "
STUCK_SECONDS = 3.0
TICK_SECONDS = 0.25  # how often a waiting main thread is woken, to hear of signals and of its deadline
_LEVELS = ("info", "warn", "error")
_SHOWN = ("success", "error", "fail", "skipped", "runtime error", "warn", "partial success")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one dbt command ended: `error` is dbt's message when it could not do its work at all."""

    success: bool
    error: str | None
    results: list[dict[str, Any]]


@dataclass(slots=True, kw_only=True)
class Events:
    """What dbt has told so far."""

    first_node: float | None = None
    parse_started: float | None = None
    parse_ended: float | None = None
    dbt_version: str = ""
    invocation_id: str = ""
    paths: dict[str, str] = field(default_factory=dict)
    control_totals: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


class Dbt:
    """Runs dbt's commands in the main thread, one after the other, and can be stopped by a signal or a deadline."""

    def __init__(
        self, project: Path, target_folder: Path, *, target: str, secrets: list[str], login: Login | None = None
    ) -> None:
        self.events = Events()
        self.stopped_by: str | None = None
        self._project = project
        self._target_folder = target_folder
        self._target = target
        self._secrets = secrets
        self._login = login or Login("", secrets)
        self._manifest: Any = None
        self._runs = False
        self._ends = 0.0
        self._on_stuck: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def stoppable(self, deadline_seconds: float, on_stuck: Callable[[], None]) -> Iterator[None]:
        """Let SIGTERM, SIGINT and the deadline cancel dbt's queries and end its command; restores the handlers after.

        `on_stuck` is called from another thread when dbt does not end within STUCK_SECONDS of being told.
        """
        self._on_stuck = on_stuck
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        self._ends = time.monotonic() + deadline_seconds
        signal.signal(signal.SIGALRM, self._tick)
        timer = signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, *timer)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _tick(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() >= self._ends:
            self._stop(number, frame)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if self.stopped_by is not None:
            return
        self.stopped_by = "deadline" if number == signal.SIGALRM else "signal"
        if self._runs:
            timer = threading.Timer(STUCK_SECONDS, self._give_up)
            timer.daemon = True
            timer.start()
            raise KeyboardInterrupt

    def _give_up(self) -> None:
        if self._runs:
            self._on_stuck()

    def parse(self) -> Outcome:
        """Parse the project and keep the manifest for the commands after this one."""
        return self._invoke(["parse"], keep_manifest=True)

    def invoke(self, arguments: list[str]) -> Outcome:
        """Run one command and return its outcome; never raises for dbt's own failures."""
        return self._invoke(arguments, keep_manifest=False)

    def _invoke(self, arguments: list[str], *, keep_manifest: bool) -> Outcome:
        if self.stopped_by is not None:
            return Outcome(success=False, error="stopped before it began", results=[])
        if locked_out := self._sign_in():
            return Outcome(success=False, error=locked_out, results=[])
        results_file = self._target_folder / ("sources.json" if arguments[0] == "source" else "run_results.json")
        results_file.unlink(missing_ok=True)
        try:
            self._runs = True
            from dbt.cli.main import dbtRunner  # type: ignore[import-not-found, unused-ignore] # lives in .venv-dbt

            runner = dbtRunner(manifest=self._manifest, callbacks=[self._take])
            done = runner.invoke([*arguments, *self._common()])
        except KeyboardInterrupt:
            return Outcome(success=False, error="stopped", results=_read_results(results_file))
        finally:
            self._runs = False
        if keep_manifest and done.success:
            self._manifest = done.result
        error = None if done.exception is None else self._text(str(done.exception) or type(done.exception).__name__)
        return Outcome(success=bool(done.success), error=error, results=_read_results(results_file))

    def _sign_in(self) -> str:
        """Fetch what opens the warehouse; return why that failed, or nothing."""
        try:
            self._login.renew()
        except LoginFailed as error:
            return self._text(str(error))
        return ""

    def _common(self) -> list[str]:
        return [
            *("--project-dir", str(self._project), "--profiles-dir", str(self._project), "--target", self._target),
            *("--target-path", str(self._target_folder), "--log-path", str(self._target_folder / "logs")),
            *(
                "--log-level",
                "none",
                "--log-level-file",
                "none",
                "--no-version-check",
                "--no-send-anonymous-usage-stats",
            ),
            "--no-use-colors",
        ]

    def _text(self, text: str) -> str:
        return clean(text, self._secrets)

    def _take(self, event: Any) -> None:
        """Receive one event of dbt's; called from dbt's worker threads too."""
        name, level, text = event.info.name, event.info.level, event.info.msg
        if name == "MainReportVersion":
            self.events.parse_started = self.events.parse_started or time.monotonic()
            self.events.dbt_version = event.data.version.removeprefix("=")
            self.events.invocation_id = event.info.invocation_id
        elif name == "FoundStats":
            self.events.parse_ended = self.events.parse_ended or time.monotonic()
        elif name == "NodeStart":
            if self.events.first_node is None:
                self._begin_nodes()
            self.events.paths[event.data.node_info.unique_id] = event.data.node_info.node_path
        elif name == "NodeFinished":
            self._print_node(event)
        elif name in ("JinjaLogDebug", "JinjaLogInfo") and text.startswith(TOTALS_PREFIX):
            self.events.control_totals = json.loads(text.removeprefix(TOTALS_PREFIX))
        if level in _LEVELS and text.strip():
            line = {"time": _now(), "level": level, "event": name, "message": self._text(text)}
            self.events.log.append(json.dumps(line, ensure_ascii=False))

    def _begin_nodes(self) -> None:
        self.events.first_node = time.monotonic()
        gc.freeze()
        gc.enable()
        print(f"{_now()} first node", flush=True)

    def _print_node(self, event: Any) -> None:
        node, result = event.data.node_info, event.data.run_result
        if node.resource_type in ("test", "unit_test") and result.status == "pass":
            return
        if result.status in _SHOWN:
            print(
                f"{_now()} {result.status:<8} {node.resource_type} {node.node_name} {result.execution_time:.2f} s",
                flush=True,
            )


def _read_results(file: Path) -> list[dict[str, Any]]:
    try:
        results: list[dict[str, Any]] = json.loads(file.read_bytes())["results"]
    except (OSError, ValueError):
        return []
    return results


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def leave(code: int) -> None:
    """End a process whose dbt was stopped, at once.

    An ordinary end would wait for threads that still try to reach a dead warehouse, and Python ends with 130 by itself when
    the interrupt that stopped dbt happened to arrive inside exec().
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
