"""Take a run for this process, and record its verdict: once per run id, however often the container is started."""

from __future__ import annotations

import json
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dbt_runner.request import DEADLINE_SECONDS, Request, RequestError, read_request
from dbt_runner.settings import Settings
from dbt_runner.summary import Summary

if TYPE_CHECKING:
    from dbt_runner.artifacts import Artifacts

RUNS = "state/runs.json"
MOST_RUNS = 100
RESTART_WAIT_SECONDS = 90.0


def take(settings: Settings, artifacts: Artifacts | None) -> Request | Summary | None:
    """Return the request that this process has claimed, or the verdict when there is one already; None: nothing to do.

    A request that is none is claimed too, when it has a name, and gets its verdict: its writer waits for one.
    """
    if settings.request:
        request = _parse(settings.request)
        if isinstance(request, RequestError):
            return record(None, _verdict("unnamed", "error", request.message))
        if artifacts is None or _claim(artifacts, request.run_id, settings.request):
            return request
        return _earlier(artifacts, request.run_id)
    assert artifacts is not None, "read_settings refuses this"
    # Older requests are left alone: their writers have been refused by now, or will be when this run ends.
    run_id = artifacts.newest_request(timedelta(seconds=DEADLINE_SECONDS))
    text = artifacts.read_text(f"requests/{run_id}.json") if run_id else None
    if run_id is None or text is None:
        return None
    if not _claim(artifacts, run_id, text):
        return _earlier(artifacts, run_id)
    request = _parse(text)
    if isinstance(request, Request):
        if request.run_id == run_id:
            return request
        request = RequestError(
            f"the request of {run_id} names the run {request.run_id}", "the blob's name is the run's id"
        )
    return record(artifacts, _verdict(run_id, "error", request.message))


def record(artifacts: Artifacts | None, summary: Summary) -> Summary:
    """Write the verdict and print it as the last line; it is printed even when storage does not take it."""
    try:
        if artifacts is not None:
            artifacts.write_json(f"runs/{summary.run_id}/summary.json", summary.to_json())
            _remember(artifacts, summary)
    finally:
        print(json.dumps(summary.to_json(), ensure_ascii=False, separators=(",", ":")), flush=True)
        if artifacts is not None:
            artifacts.release()
    return summary


def _remember(artifacts: Artifacts, summary: Summary) -> None:
    """Put the run in front of the short list of the last ones; a list that cannot be read is begun anew."""
    try:
        known = (artifacts.read_json(RUNS) or {}).get("runs")
    except (ValueError, TypeError):
        known = None
    others = [
        each
        for each in (known if isinstance(known, list) else [])
        if isinstance(each, dict) and each.get("run_id") != summary.run_id
    ]
    mine = {name: getattr(summary, name) for name in ("run_id", "status", "message", "started", "finished")}
    artifacts.write_json(RUNS, {"runs": [mine, *others][:MOST_RUNS]})


def now() -> str:
    """Return the time as all artifacts say it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse(text: str) -> Request | RequestError:
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            return RequestError("the request is not a JSON object", "see dbt_runner/request.py")
        return read_request(content)
    except RequestError as error:
        return error
    except ValueError as error:
        return RequestError(f"the request is not JSON: {error}", "see dbt_runner/request.py")


def _claim(artifacts: Artifacts, run_id: str, text: str) -> bool:
    return artifacts.claim(run_id, {"claimed": now(), "host": socket.gethostname(), "request": text})


def _earlier(artifacts: Artifacts, run_id: str) -> Summary:
    """Return what an earlier start of the same run recorded; record that it died when it left nothing."""
    ends = time.monotonic() + RESTART_WAIT_SECONDS
    while True:
        gone = artifacts.take_over(run_id)
        recorded = artifacts.read_json(f"runs/{run_id}/summary.json")
        if recorded is not None:
            artifacts.release()
            print(json.dumps(recorded, ensure_ascii=False), flush=True)
            return _as_summary(recorded)
        if gone:
            detail = "the container died during the run and was started again; the run was not repeated"
            return record(artifacts, _verdict(run_id, "interrupted", detail))
        if time.monotonic() > ends:
            busy = _verdict(run_id, "busy", f"run {run_id} is under way in another container")
            print(json.dumps(busy.to_json(), ensure_ascii=False), flush=True)
            return busy
        time.sleep(2)


def _as_summary(recorded: dict[str, Any]) -> Summary:
    return Summary(run_id=recorded["run_id"], status=recorded["status"], message=recorded["message"])


def _verdict(run_id: str, status: str, detail: str) -> Summary:
    return Summary(run_id=run_id, status=status, message=f"dbt: {detail}", started=now(), finished=now())
