"""The local worker against Microsoft's own Python runtime package: the same apps, the same calls, the same answers."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from test_function_loader import ACCEPTED, REFUSED

from local.wire.processes import ROOT, base_environment

RUNTIME = "azure_functions_runtime"
# Where `pip install --target` puts the package for a Python that it does not declare itself for (below 3.13).
FOLDER = ROOT / ".venv-functions-runtime"
NEEDED = "tests/local/functions-runtime.txt"


@pytest.fixture(scope="session")
def packages() -> str | None:
    """Return the folder of Microsoft's package, or None when it is installed beside us."""
    if importlib.util.find_spec(RUNTIME) is not None:
        return None
    if (FOLDER / RUNTIME).is_dir():
        return str(FOLDER)
    pytest.skip(
        f"{RUNTIME} is not installed; get it: .venv/bin/python -m pip install --ignore-requires-python --no-deps "
        f"--target {FOLDER.name} -r {NEEDED}"
    )


def ask_microsoft(app: Path, packages: str | None, calls: list[dict[str, Any]], **settings: str) -> dict[str, Any]:
    script = Path(__file__).with_name("microsoft_runtime.py")
    done = subprocess.run(
        [sys.executable, str(script), str(app), *([packages] if packages else [])],
        input=json.dumps(calls),
        env=base_environment() | settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def ask_ours(app: Path, calls: list[dict[str, Any]], **settings: str) -> dict[str, Any]:
    """Run the same calls on the local host's worker process."""
    from local.functions_host.pool import CallFailed, WorkerPool

    before = dict(os.environ)
    os.environ.update(settings)
    pool = WorkerPool(app, 1, None, lambda *_, **__: None)
    try:
        pool.start()
        answers: list[dict[str, Any]] = []
        for call in calls:
            data = call["data"]
            if isinstance(data, dict) and "body" in data:
                data = data | {"body": base64.b64decode(data["body"])}
            future = pool.call(call["function"], data, call["metadata"], traceparent=call["traceparent"])
            try:
                answers.append({"outputs": {name: plain(value) for name, value in future.result().items()}})
            except CallFailed as failure:
                answers.append({"error": str(failure)})
        return {"functions": pool.functions, "answers": answers}
    finally:
        pool.stop()
        os.environ.clear()
        os.environ.update(before)


def plain(value: Any) -> Any:
    """Bring our plain answers into the shape that the other side prints."""
    if not isinstance(value, dict):
        return value[0] if len(value) == 1 else value
    body = base64.b64encode(value["body"]).decode()
    return {"status": value["status"], "headers": dict(value["headers"]), "body": body}


def http(function: str, method: str = "GET", *, body: bytes = b"", **data: Any) -> dict[str, Any]:
    request: dict[str, Any] = {
        "method": method,
        "url": f"http://127.0.0.1/api/{function}",
        "headers": {"content-type": "application/json"},
        "query": {},
        "params": {},
        "body": base64.b64encode(body).decode(),
    }
    return {"function": function, "data": request | data, "metadata": {}, "traceparent": "00-1-2-00"}


def queue(function: str, text: str, dequeue_count: int = 1) -> dict[str, Any]:
    metadata = {
        "Id": "0d1a", "PopReceipt": "AgAA", "DequeueCount": dequeue_count, "InsertionTime": "2026-11-21T03:00:00+00:00",
        "ExpirationTime": "2026-11-28T03:00:00+00:00", "NextVisibleTime": "2026-11-21T03:10:00+00:00",
    }  # fmt: skip
    return {"function": function, "data": text, "metadata": metadata, "traceparent": "00-1-2-00"}


CALLS = [
    http("echo", params={"name": "abc"}),
    http("echo", "POST", params={"name": "abc", "number": "7"}, query={"q": "1"}, body=b'{"a": 1}'),
    http("fixed"),
    http("rest", params={"path": "a/b"}),
    http("rest"),
    http("accepted", "POST", body=b'{"a": [1, 2, "\xc3\xa9"]}'),
    http("accepted", "POST", body=b"not json"),
    http("anyone"),
    http("boom"),
    http("nothing"),
    http("status", params={"code": "204"}),
    http("status", params={"code": "418"}),
    http("binary"),
    http("context_of"),
    http("send", "POST", body=b"a message"),
    queue("work", '{"n": 1}'),
    queue("work", '{"fail": 3}', 2),
    queue("texts", "plain text"),
    {"function": "nightly", "data": {"IsPastDue": True}, "metadata": {}, "traceparent": ""},
]


@pytest.fixture(scope="session")
def sample_app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample-app")
    (folder / "function_app.py").write_text(Path(__file__).with_name("sample_app.py").read_text())
    (folder / "host.json").write_text('{"version": "2.0"}')
    return folder


def test_every_call_gives_what_microsofts_runtime_gives(sample_app: Path, packages: str | None, tmp_path: Path) -> None:
    theirs = ask_microsoft(sample_app, packages, CALLS, JOURNAL=str(tmp_path / "theirs"), WORK_QUEUE="work")
    ours = ask_ours(sample_app, CALLS, JOURNAL=str(tmp_path / "ours"), WORK_QUEUE="work")

    assert "functions" in theirs["indexed"], theirs
    for call, their, our in zip(CALLS, theirs["answers"], ours["answers"], strict=True):
        assert ("error" in our) == ("error" in their), (call, their, our)
        if "outputs" in their:
            content_type = {"content-type": "text/plain; charset=utf-8"}
            expected = {
                name: {"status": 200, "headers": content_type, "body": base64.b64encode(value.encode()).decode()}
                if name == "$return" and isinstance(value, str)
                else value
                for name, value in their["outputs"].items()
            }
            assert our["outputs"] | {"$return": _lowered(our)} == expected | {
                "$return": _lowered({"outputs": expected})
            }, call
    journals = [
        [line.split(" ", 1)[1] for line in (tmp_path / name).read_text().splitlines()] for name in ("ours", "theirs")
    ]
    assert journals[0] == journals[1]


def _lowered(answer: Mapping[str, Any]) -> Any:
    returned = answer["outputs"].get("$return")
    if isinstance(returned, dict):
        headers = {name.lower(): value for name, value in returned["headers"].items() if name.lower() != "set-cookie"}
        return returned | {"headers": headers}
    return returned


def test_bindings_are_indexed_alike(sample_app: Path, packages: str | None) -> None:
    theirs = ask_microsoft(sample_app, packages, [])["indexed"]["functions"]
    ours = ask_ours(sample_app, [])["functions"]

    assert {name: function["bindings"] for name, function in ours.items()} == {
        name: function["bindings"] for name, function in theirs.items()
    }


@pytest.mark.parametrize("mistake", REFUSED)
def test_microsofts_loader_refuses_it_too(tmp_path: Path, packages: str | None, mistake: str) -> None:
    (tmp_path / "function_app.py").write_text(REFUSED[mistake])

    assert "refused" in ask_microsoft(tmp_path, packages, [])["indexed"]


@pytest.mark.parametrize("title", ACCEPTED)
def test_microsofts_loader_takes_it_too(tmp_path: Path, packages: str | None, title: str) -> None:
    (tmp_path / "function_app.py").write_text(ACCEPTED[title])

    assert "functions" in ask_microsoft(tmp_path, packages, [])["indexed"]


def test_microsofts_loader_takes_our_own_app(packages: str | None, repository: Path) -> None:
    indexed = ask_microsoft(repository, packages, [])["indexed"]

    assert {"plan", "status", "health"} <= set(indexed.get("functions", {})), indexed
