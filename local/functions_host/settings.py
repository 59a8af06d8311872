"""What the function host takes from host.json and the app settings; unknown properties are refused by name.

Defaults and limits are those of the Functions host, version 4. Settings that only matter in Azure (logging, telemetry,
bundles, health monitor) are accepted and have no effect here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.wire.processes import ServiceError

NO_EFFECT = {
    "version", "logging", "telemetryMode", "extensionBundle", "managedDependency", "aggregator", "healthMonitor",
    "singleton", "watchDirectories", "watchFiles", "customHandler", "$schema",
}  # fmt: skip
QUEUE_PROPERTIES = {
    "batchSize", "newBatchThreshold", "maxDequeueCount", "visibilityTimeout", "maxPollingInterval", "messageEncoding",
}  # fmt: skip
HTTP_PROPERTIES = {"routePrefix", "maxOutstandingRequests", "maxConcurrentRequests", "dynamicThrottlesEnabled", "hsts"}
LEAST_POLLING_SECONDS = 0.1
HOST_ENDS = "Host ends"  # the log line after which the host is started again
DEFAULT_TIMEOUT_SECONDS = 30 * 60.0
_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(\.\d+)?\Z")


class AppRefused(ServiceError):
    """The app or its host.json is one that the Functions host would not load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout_seconds: float = 0.0
    max_polling_seconds: float = 60.0
    base64: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    route_prefix: str = "api"
    function_timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS
    queues: QueueSettings = QueueSettings()


def read_host_json(app: Path) -> HostSettings:
    """Read host.json of an app; raise AppRefused for what the host does not know."""
    path = app / "host.json"
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise AppRefused(f"{path} is missing", "every function app has a host.json beside function_app.py") from None
    except ValueError as error:
        raise AppRefused(f"{path} is not JSON: {error}", "fix the file") from None
    if content.get("version") != "2.0":
        raise AppRefused(f"{path}: version is {content.get('version')!r}", 'write "version": "2.0"')
    extensions = content.get("extensions", {})
    _refuse_unknown(path, content, NO_EFFECT | {"functionTimeout", "extensions"}, "")
    _refuse_unknown(path, extensions, {"http", "queues"}, "extensions.")
    http, queues = extensions.get("http", {}), extensions.get("queues", {})
    _refuse_unknown(path, http, HTTP_PROPERTIES, "extensions.http.")
    _refuse_unknown(path, queues, QUEUE_PROPERTIES, "extensions.queues.")
    timeout = content.get("functionTimeout")
    return HostSettings(
        route_prefix=http.get("routePrefix", "api").strip("/"),
        function_timeout_seconds=_timeout(path, timeout),
        queues=_queue_settings(path, queues),
    )


def _queue_settings(path: Path, queues: Mapping[str, Any]) -> QueueSettings:
    batch_size = queues.get("batchSize", 16)
    if not 1 <= batch_size <= 32:
        raise AppRefused(f"{path}: extensions.queues.batchSize is {batch_size}", "it may be 1 to 32")
    encoding = queues.get("messageEncoding", "base64").lower()
    if encoding not in ("base64", "none"):
        raise AppRefused(f"{path}: extensions.queues.messageEncoding is {encoding!r}", "it is base64 or none")
    threshold = queues.get("newBatchThreshold", batch_size // 2 * (os.cpu_count() or 1))
    if threshold < 0:
        raise AppRefused(f"{path}: extensions.queues.newBatchThreshold is {threshold}", "it is 0 or more")
    tries = queues.get("maxDequeueCount", 5)
    if tries < 1:
        raise AppRefused(f"{path}: extensions.queues.maxDequeueCount is {tries}", "it is 1 or more")
    polling = _span(path, queues.get("maxPollingInterval", "00:01:00"))
    if polling < LEAST_POLLING_SECONDS:
        raise AppRefused(f"{path}: extensions.queues.maxPollingInterval is {polling} s", "it is 0.1 s or more")
    return QueueSettings(
        batch_size=batch_size,
        new_batch_threshold=threshold,
        max_dequeue_count=tries,
        visibility_timeout_seconds=_span(path, queues.get("visibilityTimeout", "00:00:00")),
        max_polling_seconds=polling,
        base64=encoding == "base64",
    )


def _refuse_unknown(path: Path, content: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(content) - known)
    if unknown:
        raise AppRefused(
            f"{path}: {where}{unknown[0]} is not known to the local function host",
            "remove it, or add it to local/functions_host/settings.py",
        )


def _timeout(path: Path, value: str | None) -> float | None:
    if value is None:
        return DEFAULT_TIMEOUT_SECONDS
    return None if value == "-1" else _span(path, value)


def _span(path: Path, text: str) -> float:
    found = _SPAN.match(text)
    if not found:
        raise AppRefused(f"{path}: {text!r} is not a time span", "write hh:mm:ss")
    days, hours, minutes, seconds = (int(found[group] or 0) for group in range(1, 5))
    return days * 86400.0 + hours * 3600 + minutes * 60 + seconds + float(found[5] or 0)


def resolve_setting(text: str) -> str:
    """Replace each `%NAME%` of a binding's attribute by the app setting of that name."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise AppRefused(f"'%{match[1]}%' does not resolve to a value", f"set the app setting {match[1]}")
        return os.environ[match[1]]

    return re.sub(r"%([^%]+)%", value, text)
