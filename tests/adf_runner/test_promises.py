"""What the executor promises as a whole: the golden status cases, the same files and no others, documentation that is true."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.adf_status_cases import run_status_case

SHARED = Path(__file__).resolve().parents[3] / "shared" / "cases" / "pipeline_status.json"
READS = """
import json, os, sys
from pathlib import Path
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
from adf_runner import Overrides, load_factory, run_pipeline
window = {"windowStart": "2026-11-21T00:00:00Z", "windowEnd": "2026-11-22T00:00:00Z"}
run = run_pipeline(load_factory(Path("adf")), "nightly", window, Overrides(sleep=lambda _seconds: None))
here = os.getcwd()
read = {os.path.relpath(path, here) for path in opened if os.path.abspath(path).startswith(here + os.sep)}
data = sorted(path for path in read if not path.endswith((".py", ".pyc")) and ".venv" not in path)
print(json.dumps({"status": run.status, "read": data}))
"""


def fingerprint(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_a_run_reads_the_files_of_adf_and_leaves_them_as_they_are(repository: Path) -> None:
    before = fingerprint(repository / "adf")

    done = subprocess.run(
        [sys.executable, "-c", READS], cwd=repository, capture_output=True, text=True, timeout=120, check=True
    )

    told = json.loads(done.stdout.splitlines()[-1])
    assert told["status"] == "Failed"  # there is no cloud here; it ran until it needed one
    assert told["read"]
    assert [path for path in told["read"] if not path.startswith("adf/")] == ["adf_runner/lint/azure_schema.json"]
    assert fingerprint(repository / "adf") == before


@pytest.mark.skipif(not SHARED.exists(), reason="the golden cases are not beside this repository")
def test_all_golden_status_cases_pass() -> None:
    cases = json.loads(SHARED.read_text("utf-8"))

    assert [case["id"] for case in cases if run_status_case(case) != case["expected"]] == []


# The same rules, written once more as a plain recursion, against random graphs.


def holds(status: str, condition: str) -> bool:
    return status in {"Succeeded", "Failed"} if condition == "Completed" else status == condition


def expected_statuses(activities: list[dict[str, Any]]) -> tuple[dict[str, str], str]:
    statuses: dict[str, str] = {}
    for activity in activities:  # the strategy makes them in order of dependence
        met = all(any(holds(statuses[edge["activity"]], wanted) for wanted in edge["dependencyConditions"])
                  for edge in activity["dependsOn"])  # fmt: skip
        statuses[activity["name"]] = activity["outcome"] if met else "Skipped"
    parents = {activity["name"]: [edge["activity"] for edge in activity["dependsOn"]] for activity in activities}

    def good(name: str) -> bool:
        return all(map(good, parents[name])) if statuses[name] == "Skipped" else statuses[name] == "Succeeded"

    inner = {name for names in parents.values() for name in names}
    return statuses, "Succeeded" if all(good(name) for name in parents if name not in inner) else "Failed"


@st.composite
def graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    conditions = st.lists(
        st.sampled_from(["Succeeded", "Failed", "Skipped", "Completed"]), min_size=1, max_size=3, unique=True
    )
    activities: list[dict[str, Any]] = []
    for index in range(draw(st.integers(1, 7))):
        above = [activity["name"] for activity in activities]
        targets = draw(st.lists(st.sampled_from(above), max_size=2, unique=True)) if above else []
        activities.append(
            {"name": f"A{index}", "type": "Wait", "outcome": draw(st.sampled_from(["Succeeded", "Failed"])),
             "dependsOn": [{"activity": target, "dependencyConditions": draw(conditions)} for target in targets]}
        )  # fmt: skip
    return activities


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_random_graphs_end_as_the_rules_say(activities: list[dict[str, Any]]) -> None:
    statuses, verdict = expected_statuses(activities)

    assert run_status_case({"activities": activities}) == {"activities": statuses, "pipeline": verdict}


# A shell that runs its jobs in the background leaves them deaf to Ctrl-C; this one listens.
LONG = """
import signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
told = threading.Event()
def start_then_interrupt(thread):
    begin(thread)
    if thread.name == "pipeline main":
        told.wait()
        signal.raise_signal(signal.SIGINT)
if "as the run's thread starts" in sys.argv:
    begin, threading.Thread.start = threading.Thread.start, start_then_interrupt
from adf_runner import factory_from_documents, run_pipeline
wait = {"name": "Long", "type": "Wait", "typeProperties": {"waitTimeInSeconds": 3600}}
next = {"name": "Next", "type": "Wait", "typeProperties": {"waitTimeInSeconds": 1},
        "dependsOn": [{"activity": "Long", "dependencyConditions": ["Succeeded"]}]}
factory = factory_from_documents({"pipeline/main.json": {"name": "main", "properties": {"activities": [wait, next]}}})
run = run_pipeline(factory, "main", on_event=lambda event: (print(event.kind, flush=True), told.set()))
print(run.status, [activity.status for activity in run.activities])
"""


@pytest.mark.parametrize("moment", ["as the run's thread starts", "in the run"])
def test_ctrl_c_cancels_the_run_and_tells_how_far_it_came(repository: Path, moment: str) -> None:
    command = [sys.executable, "-c", LONG, moment]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if moment == "in the run":
            assert "start\n" in iter(process.stdout.readline, ""), "the run ended before it began"
            process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)

    assert rest.splitlines()[-1] == "Cancelled ['Cancelled', 'Skipped']"


def test_the_schema_is_what_azures_models_say() -> None:
    pytest.importorskip(
        "azure.mgmt.datafactory", reason="azure-mgmt-datafactory is not installed; the committed schema stands"
    )
    from adf_runner.lint.derive_schema import TARGET as SCHEMA
    from adf_runner.lint.derive_schema import derive
    from adf_runner.lint.derive_schema import render as render_schema

    assert SCHEMA.read_text("utf-8") == render_schema(derive()), "run: python -m adf_runner.lint.derive_schema"
