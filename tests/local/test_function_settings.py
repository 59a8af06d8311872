from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from local.functions_host.settings import AppRefused, HostSettings, QueueSettings, read_host_json, resolve_setting


def read(folder: Path, **content: Any) -> HostSettings:
    (folder / "host.json").write_text(json.dumps({"version": "2.0"} | content))
    return read_host_json(folder)


def test_defaults_are_those_of_the_functions_host(tmp_path: Path) -> None:
    assert read(tmp_path) == HostSettings(
        route_prefix="api",
        function_timeout_seconds=1800.0,
        queues=QueueSettings(
            batch_size=16,
            new_batch_threshold=8 * (os.cpu_count() or 1),
            max_dequeue_count=5,
            visibility_timeout_seconds=0.0,
            max_polling_seconds=60.0,
            base64=True,
        ),
    )


def test_our_own_host_json_is_understood(repository: Path) -> None:
    settings = read_host_json(repository)

    assert settings.route_prefix == "api"
    assert settings.queues.base64


def test_time_spans_are_read_with_days_and_without(tmp_path: Path) -> None:
    assert read(tmp_path, functionTimeout="10:00:00").function_timeout_seconds == 36000
    assert read(tmp_path, functionTimeout="1.00:00:01").function_timeout_seconds == 86401
    assert read(tmp_path, functionTimeout="-1").function_timeout_seconds is None


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"version": "1.0"}, "version is '1.0'"),
        ({"functionTimeout": "10 minutes"}, "is not a time span"),
        ({"extensions": {"queues": {"batchSize": 64}}}, "batchSize is 64"),
        ({"extensions": {"queues": {"batchSize": 0}}}, "batchSize is 0"),
        ({"extensions": {"queues": {"newBatchThreshold": -1}}}, "newBatchThreshold is -1"),
        ({"extensions": {"queues": {"maxDequeueCount": 0}}}, "maxDequeueCount is 0"),
        ({"extensions": {"queues": {"maxPollingInterval": "00:00:00.050"}}}, "maxPollingInterval is 0.05 s"),
        ({"extensions": {"queues": {"batchsize": 1}}}, "extensions.queues.batchsize is not known"),
        ({"extensions": {"blobs": {}}}, "extensions.blobs is not known"),
        ({"retry": {}}, "retry is not known"),
        ({"extensions": {"queues": {"messageEncoding": "utf-7"}}}, "messageEncoding is 'utf-7'"),
    ],
)
def test_what_the_host_would_not_obey_is_refused_by_name(
    tmp_path: Path, content: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(AppRefused, match=complaint):
        read(tmp_path, **content)


def test_missing_and_broken_host_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(AppRefused, match="is missing"):
        read_host_json(tmp_path)
    (tmp_path / "host.json").write_text("{")
    with pytest.raises(AppRefused, match="is not JSON"):
        read_host_json(tmp_path)


def test_setting_in_percent_signs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE", "seal")

    assert resolve_setting("%QUEUE%-poison") == "seal-poison"
    with pytest.raises(AppRefused, match="'%MISSING%' does not resolve"):
        resolve_setting("%MISSING%")
