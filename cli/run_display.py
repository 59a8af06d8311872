"""What a person sees of a run: a table of activities as Data Factory's monitor shows it, live on a terminal."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from adf_runner.run.records import ActivityRun, Event, PipelineRun

STYLES = {"Succeeded": "green", "Failed": "red", "Skipped": "dim", "Cancelled": "yellow", "InProgress": "cyan"}
MESSAGE_LIMIT = 160
TURNS_SHOWN = 3


class Monitor:
    """Shows a run: `with Monitor(console) as monitor: run_pipeline(..., on_event=monitor)`.

    On a terminal the table moves while the run does; elsewhere it is printed once, at the end.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.run: PipelineRun | None = None
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._live: Live | None = None

    def __call__(self, event: Event) -> None:
        with self._lock:
            if self.run is None:
                self.run, self._began = event.run, time.monotonic()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if self.run is not None:
            self.console.print(monitor_table(self.run, self._began))

    def _render(self) -> Table | Text:
        return Text("") if self.run is None else monitor_table(self.run, self._began)


def monitor_table(run: PipelineRun, began: float | None = None) -> Table:
    """Return the table of a run, finished or not: activity, type, status, start, duration, rows, error."""
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    shown.add_column("activity", no_wrap=True)  # what a reader looks for: where it is narrow, the error is cut
    shown.add_column("type", no_wrap=True)
    shown.add_column("status", no_wrap=True)
    shown.add_column("start", justify="right", no_wrap=True)
    shown.add_column("duration", justify="right", no_wrap=True)
    shown.add_column("rows", justify="right", no_wrap=True)
    shown.add_column("error")
    now = 0.0 if began is None else time.monotonic() - began
    _rows(shown, list(run.activities), 0, now)
    seconds = run.seconds if run.end else now
    status = Text(run.status, STYLES.get(run.status, ""))
    shown.add_row(Text(run.pipeline, "bold"), "", status, "", f"{seconds:.1f} s", "", _short(run.message))
    return shown


def _rows(table: Table, runs: list[ActivityRun], depth: int, now: float) -> None:
    """Add one row an activity; of a loop's turns only the last few, with a line that counts the others."""
    turns = sorted({run.iteration for run in runs if run.iteration is not None})
    hidden = set(turns[:-TURNS_SHOWN]) if len(turns) > TURNS_SHOWN + 1 else set()
    kept = [run for run in runs if run.iteration not in hidden or run.status == "Failed"]
    if hidden:
        table.add_row(Text(f"{'  ' * depth}... {len(hidden)} turns before", "dim"))
    for run in kept:
        seconds = run.seconds if run.end else max(0.0, now - run.offset)
        label = label_of(run)
        tries = f" (try {len(run.attempts) + 1})" if run.attempts else ""
        table.add_row(
            Text(f"{'  ' * depth}{label}"), run.type, Text(run.status + tries, STYLES.get(run.status, "")),
            f"+{run.offset:.1f} s", "" if run.status == "Skipped" else f"{seconds:.1f} s", _count(run.output),
            _short(message_of(run)),
        )  # fmt: skip
        _rows(table, list(run.children), depth + 1, now)


def label_of(run: ActivityRun) -> str:
    """Return an activity's name, with the feed or the turn that it is about."""
    given = run.child_run.parameters if run.child_run else {}
    if "partner" in given and "feed" in given:
        return f"{run.name}: {given['partner']} {given['feed']}"
    return run.name if run.iteration is None else f"{run.name} [{run.iteration}]"


def _count(output: Any) -> str:
    rows = output.get("rowsCopied", output.get("count")) if isinstance(output, dict) else None
    return f"{rows:,}" if isinstance(rows, int) else ""


def message_of(run: ActivityRun) -> str:
    """Return the error of a leaf; a container's only repeats what its inner activity says."""
    if run.error is None or any(child.status == "Failed" for child in run.children):
        return ""
    return str(run.error.get("message", ""))


def _short(message: str) -> Text:
    first = message.strip().partition("\n")[0]
    return Text(first[:MESSAGE_LIMIT], no_wrap=True, overflow="ellipsis")
