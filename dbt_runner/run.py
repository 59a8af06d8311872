"""The story of a run: request, claim, state, freshness, dbt, artifacts, verdict.

Without a request the process exits with 0 and does nothing: creating a container group starts it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError

from dbt_runner.claims import now, record, take
from dbt_runner.invocation import TICK_SECONDS, Dbt, Outcome, leave
from dbt_runner.messages import clean
from dbt_runner.request import Request, RequestError
from dbt_runner.settings import Settings, read_settings
from dbt_runner.summary import (
    EXIT_CODES,
    FAILED_SHOWN,
    TOTALS_SHOWN,
    Summary,
    clean_results,
    count,
    failed_nodes,
    freshness_of,
    rows_by_model,
    sentence,
)
from dbt_runner.verdicts import VERDICTS, merged
from dbt_runner.warehouse_login import Login

if TYPE_CHECKING:
    from dbt_runner.artifacts import Artifacts

CURRENT = "state/current.json"
LAST = "state/last.json"
PARTIAL_PARSE = "partial_parse.msgpack"
INFRASTRUCTURE = 3
STOPPED = ("cancelled", "deadline")


def main(started: float) -> int:
    """Run once and return the exit code; the last line on standard output is the verdict as JSON."""
    from dbt_runner.artifacts import Artifacts, StorageError

    try:
        settings = read_settings(os.environ)
    except RequestError as error:
        return _say_error(error.message, error.hint, EXIT_CODES["error"])
    # The first process of a container has to say so to be stopped by a signal; until dbt runs there is nothing to tidy up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: leave(EXIT_CODES["cancelled"]))
    # Python acts on a signal between two steps: one that comes just before a wait begins would be heard after it.
    signal.signal(signal.SIGALRM, lambda _number, _frame: None)
    signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
    # dbt's import takes a second of processor time; storage is waited for meanwhile.
    importing = threading.Thread(target=_import_dbt, daemon=True)
    importing.start()
    try:
        artifacts = Artifacts(settings.artifacts_url) if settings.artifacts_url else None
        if artifacts is not None:
            artifacts.wait_for_identity()
        taken = take(settings, artifacts)
        summary = Run(settings, artifacts, taken, started).run(importing) if isinstance(taken, Request) else taken
    except StorageError as error:
        return _say_error(error.message, error.hint, INFRASTRUCTURE)
    except AzureError as error:
        text = clean(str(error).splitlines()[0] if str(error) else type(error).__name__, settings.secrets, 300)
        return _say_error(
            f"storage: {text}", "is ARTIFACTS_URL right, and may this identity write there?", INFRASTRUCTURE
        )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if summary is None:
        print(json.dumps({"status": "no request"}), flush=True)
        return 0
    code = 0 if settings.records and artifacts is not None else summary.exit_code
    if summary.status in STOPPED:
        leave(code)
    return code


def _import_dbt() -> None:
    import dbt.cli.main  # type: ignore[import-not-found, unused-ignore] # noqa: F401 - lives in .venv-dbt


def _say_error(message: str, hint: str, code: int) -> int:
    print(f"error: {message}\nhint: {hint}", file=sys.stderr, flush=True)
    print(
        json.dumps({"status": "infrastructure" if code == INFRASTRUCTURE else "error", "message": message}), flush=True
    )
    return code


class Run:
    """One claimed run, from its state to its verdict."""

    def __init__(self, settings: Settings, artifacts: Artifacts | None, request: Request, started: float) -> None:
        self.settings = settings
        self.artifacts = artifacts
        self.request = request
        self.started = started
        self.target_folder = settings.work / "target"
        self.state_folder = settings.work / "state"
        self.secrets = list(settings.secrets)
        login = Login(settings.warehouse_login, self.secrets)
        self.dbt = Dbt(settings.project, self.target_folder, target=request.target, secrets=self.secrets, login=login)
        self.summary = Summary(
            run_id=request.run_id,
            status="error",
            message="dbt: not finished",
            command=request.command,
            mode=request.mode,
            select=request.select,
            started=now(),
            image=settings.image,
            git_sha=settings.git_sha,
            artifacts=f"{artifacts.url}/runs/{request.run_id}/" if artifacts else "",
        )
        self.restored: str | None = None
        self.current_etag: str | None = None
        self.timings: dict[str, float] = {}
        self.uploads: dict[str, Path | str] = {}
        self.results: list[dict[str, Any]] = []

    def run(self, importing: threading.Thread) -> Summary:
        """Do the work and record the verdict, whatever happens; storage errors alone are raised."""
        # So that dbt's artifacts carry it. It must not go through --vars, which would undo partial parsing.
        os.environ["DBT_ENV_CUSTOM_ENV_RUN_ID"] = self.request.run_id
        self.target_folder.mkdir(parents=True, exist_ok=True)
        with self.dbt.stoppable(self.request.deadline_seconds, on_stuck=self._leave_now):
            try:
                problem = self._restore()
                importing.join()
                self.timings["ready"] = self._elapsed()
                if problem is None:
                    # Before dbt runs: a run that leaves no results is the last one too, and a retry must not skip it.
                    if self.artifacts is not None and self.request.command in ("build", "run", "test"):
                        self.artifacts.point(LAST, self.request.run_id)
                    self._work()
                else:
                    self._conclude("error", problem)
            except AzureError:
                raise
            except Exception as error:  # noqa: BLE001 - a fault of ours is a verdict too; it must not leave a run without one
                self._conclude("error", f"the runner failed: {clean(f'{type(error).__name__}: {error}', self.secrets)}")
            return self._finish()

    def _restore(self) -> str | None:
        """Fetch earlier state; return why the run cannot go on, if it cannot."""
        request, artifacts = self.request, self.artifacts
        baked = self.settings.project / "target" / PARTIAL_PARSE
        if baked.exists():
            shutil.copyfile(baked, self.target_folder / PARTIAL_PARSE)
        if artifacts is not None:
            names = [PARTIAL_PARSE, "manifest.json"] if request.compares else [PARTIAL_PARSE]
            current = artifacts.restore(CURRENT, names, self.state_folder / "current")
            if current is not None:
                self.restored, self.current_etag = current
                if self.restored is not None:
                    shutil.copyfile(self.state_folder / "current" / PARTIAL_PARSE, self.target_folder / PARTIAL_PARSE)
        if request.command == "retry":
            return self._restore_for_retry()
        return None

    def _restore_for_retry(self) -> str | None:
        if self.artifacts is None:
            return "a retry needs the artifacts of an earlier run, and ARTIFACTS_URL is not set"
        names, folder = ["manifest.json", "run_results.json"], self.state_folder / "retry"
        if self.request.retry_of:
            self.restored = (
                self.request.retry_of if self.artifacts.fetch(self.request.retry_of, names, folder) else None
            )
        else:
            last = self.artifacts.restore(LAST, names, folder)
            self.restored = last[0] if last else None
        if self.restored is None:
            return "there is no earlier run with results to retry"
        # dbt's results of a stopped run lack the nodes that never began; a retry would leave them out and be green.
        verdict = self.artifacts.read_json(f"runs/{self.restored}/summary.json") or {}
        if verdict.get("status") not in ("success", "failures"):
            return f"the run {self.restored} was stopped, so nobody knows what it left undone; build again"
        return None

    def _work(self) -> None:
        request = self.request
        more = request.freshness or request.docs
        if more and request.command not in ("freshness", "docs"):
            parsed = self.dbt.parse()
            if not parsed.success:
                self._conclude(*self._verdict(parsed))
                return
        if request.freshness and request.command != "freshness":
            outcome = self.dbt.invoke(["source", "freshness"])
            self._keep("sources.json")
            self.summary = replace(self.summary, freshness=freshness_of(outcome.results))
            if not outcome.success:
                self._conclude(*self._verdict(outcome, gate=True))
                return
        folder = self._compare_with()
        outcome = self.dbt.invoke(request.arguments(str(folder) if folder else None))
        self._take_results(outcome)
        wants_docs = request.docs and request.command != "docs" and self.dbt.stopped_by is None
        if wants_docs and self.dbt.invoke(["docs", "generate", "--static", "--no-compile"]).success:
            self._keep_docs()

    def _compare_with(self) -> Path | None:
        if self.request.command == "retry":
            return self.state_folder / "retry"
        if self.request.compares and self.restored is not None:
            return self.state_folder / "current"
        return None

    def _take_results(self, outcome: Outcome) -> None:
        events = self.dbt.events
        if self.request.command == "freshness":
            self.summary = replace(self.summary, freshness=freshness_of(outcome.results))
            self._keep("sources.json")
        elif self.request.command == "docs":
            self._keep_docs()
        results = self.target_folder / "run_results.json"
        if results.exists():  # read now: the next command of dbt's writes its own
            cleaned = clean_results(json.loads(results.read_bytes()), self.secrets)
            self.uploads["run_results.json"] = json.dumps(cleaned, ensure_ascii=False)
        if self.request.command in ("build", "run", "test", "retry"):
            self.results = outcome.results
        failed = failed_nodes(outcome.results, events.paths, self.secrets)
        self.summary = replace(
            self.summary,
            counts=count(outcome.results),
            failed=failed[:FAILED_SHOWN],
            rows=rows_by_model(outcome.results),
            control_totals=events.control_totals[:TOTALS_SHOWN],
        )
        self._conclude(*self._verdict(outcome))

    def _verdict(self, outcome: Outcome, *, gate: bool = False) -> tuple[str, str]:
        """Return status and sentence for how dbt's command ended."""
        counts, failed = self.summary.counts, self.summary.failed
        if self.dbt.stopped_by == "deadline":
            return "deadline", f"stopped after {self.request.deadline_seconds} s, which is the request's deadline"
        if self.dbt.stopped_by is not None:
            return "cancelled", "stopped by a signal; running queries were cancelled"
        if outcome.error is not None:
            return "error", outcome.error
        if gate or self.request.command == "freshness":
            return self._judge_freshness(outcome)
        if not outcome.success:
            return "failures", sentence("failures", counts, failed)
        if not outcome.results and self.request.command in ("build", "run", "test", "docs"):
            if self.request.mode == "modified" and self.restored is not None and self._selects_something():
                return "success", "nothing differs from the last good build"
            return "error", "nothing was selected"
        return "success", "nothing of the earlier run is left to do" if self.request.command == "retry" else ""

    def _judge_freshness(self, outcome: Outcome) -> tuple[str, str]:
        old = [name for name, state in self.summary.freshness.items() if state not in ("pass", "warn")]
        if old:
            return "stale", f"sources are too old: {', '.join(old)}"
        if not outcome.success:
            return "error", "the age of a source could not be read; log.jsonl has the cause"
        return ("success", "fresh") if outcome.results else ("error", "nothing was selected")

    def _selects_something(self) -> bool:
        """Distinguish "nothing of it differs" from a selector that matches nothing."""
        return not self.request.select or self.dbt.invoke(["ls", *self.request.strict_selection()]).error is None

    def _conclude(self, status: str, detail: str) -> None:
        message = detail if status == "failures" else sentence(status, self.summary.counts, self.summary.failed, detail)
        self.summary = replace(self.summary, status=status, message=message)

    def _keep(self, name: str) -> None:
        if (self.target_folder / name).exists():
            self.uploads[name] = self.target_folder / name

    def _keep_docs(self) -> None:
        page = self.target_folder / "static_index.html"
        if page.exists():
            self.uploads["docs/index.html"] = page
        self._keep("catalog.json")

    def _elapsed(self) -> float:
        return round(time.monotonic() - self.started, 3)

    def _finish(self) -> Summary:
        events = self.dbt.events
        if events.parse_started and events.parse_ended:
            self.timings["parse"] = round(events.parse_ended - events.parse_started, 3)
        if events.first_node:
            self.timings["first_node"] = round(events.first_node - self.started, 3)
        self.timings["dbt_ended"] = self._elapsed()
        self.summary = replace(
            self.summary,
            dbt_version=events.dbt_version,
            invocation_id=events.invocation_id,
            state_from=self.restored or "",
            finished=now(),
        )
        if self.artifacts is not None:
            self._upload(self.artifacts)
        self.summary = replace(self.summary, timings=self.timings | {"total": self._elapsed()})
        return record(self.artifacts, self.summary)

    def _upload(self, artifacts: Artifacts) -> None:
        for name in ("manifest.json", PARTIAL_PARSE):
            self._keep(name)
        self.uploads["log.jsonl"] = "".join(f"{line}\n" for line in self.dbt.events.log)
        artifacts.upload(self.request.run_id, self.uploads)
        self._write_verdicts(artifacts)
        if "run_results.json" in self.uploads and "manifest.json" in self.uploads:
            if self.request.command == "retry" and self.summary.status in ("success", "failures"):
                artifacts.point(LAST, self.request.run_id)
            if self.summary.status == "success" and self.request.makes_state and self.summary.counts:
                artifacts.promote(CURRENT, self.request.run_id, self.current_etag)

    def _write_verdicts(self, artifacts: Artifacts) -> None:
        """Keep the last status of every node of production, for those who wait for some of them."""
        manifest = self.target_folder / "manifest.json"
        if self.request.target != "production" or not self.results or not manifest.exists():
            return
        verdicts = merged(
            artifacts.read_json(VERDICTS),
            json.loads(manifest.read_bytes()),
            self.results,
            run_id=self.request.run_id,
            started=self.summary.started,
        )
        artifacts.write_json(VERDICTS, verdicts)

    def _leave_now(self) -> None:
        """Dbt does not end: record the verdict from this other thread and end the process."""
        reason = "deadline" if self.dbt.stopped_by == "deadline" else "cancelled"
        self._conclude(reason, "asked to stop, dbt did not end in time; the process was ended")
        self.summary = replace(self.summary, finished=now(), timings=self.timings | {"total": self._elapsed()})
        try:
            record(self.artifacts, self.summary)
        finally:
            leave(0 if self.settings.records and self.artifacts is not None else self.summary.exit_code)
