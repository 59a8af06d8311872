"""Helpers of the tests of the stand-ins."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure.identity import DefaultAzureCredential

Become = Callable[[str], DefaultAzureCredential]


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until a condition holds; a test that waits for ever is a failed one."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def copy_sample_app(folder: Path, *, only_http: bool = False, **host_json: Any) -> Path:
    """Lay sample_app.py down as an app of its own, with quick queue settings; return its folder."""
    source = Path(__file__).with_name("sample_app.py").read_text()
    if only_http:
        source = source[: source.index('@app.route(route="send"')]
    queues = {"batchSize": 1, "newBatchThreshold": 0, "maxDequeueCount": 3, "visibilityTimeout": "00:00:00"}
    content = {"version": "2.0", "extensions": {"queues": queues | {"maxPollingInterval": "00:00:00.200"}}}
    app = folder / "app"
    app.mkdir()
    (app / "function_app.py").write_text(source)
    (app / "host.json").write_text(json.dumps(content | host_json))
    return app
