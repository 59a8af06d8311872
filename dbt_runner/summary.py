"""The verdict of a run: one JSON object that a pipeline judges and a person reads.

It holds names, counts, timings and one sentence; never a row, a value or a statement.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from dbt_runner.messages import clean

GOOD = frozenset({"success", "pass", "no-op", "warn", "reused"})
FAILED_SHOWN = 20
TOTALS_SHOWN = 31

# The exit code that belongs to each verdict, when the exit code reports it.
EXIT_CODES = {
    "success": 0,
    "failures": 1,  # dbt did its work, and a model or a test did not pass
    "stale": 1,  # the sources were older than they may be; nothing was built
    "error": 2,  # dbt could not work: the project, the request or the warehouse's address is wrong
    "cancelled": 3,
    "deadline": 3,
    "interrupted": 3,  # the container died during the run and was started again
    "busy": 3,  # printed only: another container still runs it
    "infrastructure": 3,  # storage or the identity could not be reached
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """One node that did not pass. The message of a data test is a count; rows stay in the warehouse."""

    id: str
    name: str
    status: str
    path: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """See the module. Times are ISO 8601 in UTC; timings are seconds."""

    run_id: str
    status: str
    message: str
    command: str = ""
    mode: str = ""
    select: str = ""
    started: str = ""
    finished: str = ""
    dbt_version: str = ""
    invocation_id: str = ""
    image: str = ""
    git_sha: str = ""
    state_from: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    failed: list[Failed] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    freshness: dict[str, str] = field(default_factory=dict)
    control_totals: list[dict[str, Any]] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    artifacts: str = ""

    def __post_init__(self) -> None:
        assert self.status in EXIT_CODES, self.status

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.status]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def count(results: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many nodes ended with each status."""
    return dict(sorted(Counter(str(result["status"]) for result in results).items()))


def failed_nodes(results: list[dict[str, Any]], paths: dict[str, str], secrets: list[str]) -> list[Failed]:
    """Return the nodes that failed, in dbt's order; nodes skipped because of them are only counted."""
    failed = []
    for result in results:
        status, node = str(result["status"]), str(result["unique_id"])
        if status in GOOD or status == "skipped":
            continue
        failed.append(
            Failed(
                id=node,
                name=node_name(node),
                status=status,
                path=paths.get(node, ""),
                message=_message(result, secrets),
            )
        )
    return failed


def rows_by_model(results: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many rows each model, snapshot and seed has written, where dbt knows it."""
    rows = {}
    for result in results:
        node = str(result["unique_id"])
        affected = (result.get("adapter_response") or {}).get("rows_affected")
        if node.startswith(("model.", "snapshot.", "seed.")) and isinstance(affected, int) and affected >= 0:
            rows[node_name(node)] = affected
    return rows


def freshness_of(results: list[dict[str, Any]]) -> dict[str, str]:
    """Return each source's state (pass, warn, error, runtime error) from dbt's sources.json."""
    return {
        node_name(str(result["unique_id"])): str(result["status"])
        for result in results
        if str(result["unique_id"]).startswith("source.")
    }


def sentence(status: str, counts: dict[str, int], failed: list[Failed], detail: str = "") -> str:
    """Return the sentence that reports the verdict."""
    if status == "failures" and failed:
        first = failed[0]
        done = sum(counts.values())
        more = f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""
        skipped = f"; {counts['skipped']} skipped" if counts.get("skipped") else ""
        return f"dbt: {len(failed)} of {done} nodes failed: {first.name}: {first.message}{more}{skipped}"
    if status == "success":
        return f"dbt: {sum(counts.values())} nodes, all good" if counts else f"dbt: {detail or 'done'}"
    return f"dbt: {detail or status}"


def node_name(unique_id: str) -> str:
    """Return the readable part of dbt's unique id: model.sealift.x is x, a generic test loses its hash."""
    kind, _, rest = unique_id.partition(".")
    parts = rest.split(".")
    if kind == "test" and len(parts) > 2:
        return parts[1]
    return ".".join(parts[1:]) or unique_id


def clean_results(document: dict[str, Any], secrets: list[str]) -> dict[str, Any]:
    """Return dbt's run_results.json with messages that hold no rows."""
    for result in document.get("results", []):
        if result.get("message"):
            result["message"] = _message(result, secrets) if str(result["status"]) not in GOOD else result["message"]
    return document


def _message(result: dict[str, Any], secrets: list[str]) -> str:
    kind = str(result["unique_id"]).split(".")[0]
    status = str(result["status"])
    if kind == "test" and status in ("fail", "warn"):
        return f"{result.get('failures') or 0} rows"
    if kind == "unit_test" and status == "fail":
        return "the rows differ from those that the test expects"
    return clean(str(result.get("message") or status), secrets)
