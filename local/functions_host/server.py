"""The function host's own process: routes to functions, queues to functions, workers below.

Routes, keys, methods, bodies and queue semantics are the Functions host's (version 4). Not done: Easy Auth, scale-out,
dynamic concurrency, timer schedules, retry policies, blob bindings. Started by `python -m local.functions_host.host`.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import secrets
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.functions_host.pool import WORKER, CallFailed, WorkerPool
from local.functions_host.queues import LEASE_SECONDS, ListenerHost, QueueListener, Timing, queue_client, queue_name
from local.functions_host.routes import Answer, Keys, Route, answer_route, decode_path, parse_route, sort_routes
from local.functions_host.settings import HOST_ENDS, AppRefused, HostSettings, read_host_json, resolve_setting
from local.wire.web import Request, Response, WebServer, json_response

MAX_BODY_BYTES = 104_857_600
HTTP_SECONDS = 230  # Azure's load balancer gives up then; the function goes on
GRACE_SECONDS = 10.0


class Host:
    """The host itself: routes to functions, queues to functions, workers below."""

    def __init__(self, pool: WorkerPool, settings: HostSettings, keys: Keys, *, port: int = 0, timing: Timing) -> None:
        self._settings = settings
        self._keys = keys
        self._timing = timing
        self._started = time.monotonic()
        self.pool = pool
        self._web = WebServer("function host", self._answer, port=port)
        self._routes: list[Route] = []
        self._listeners: list[QueueListener] = []
        self.ended = threading.Event()
        self._on_end: Callable[[], object] = lambda: None

    def on_end(self, act: Callable[[], object]) -> None:
        """Have `act` called when the host cannot go on."""
        self._on_end = act

    def start(self) -> dict[str, Any]:
        """Start everything; return what the ready line says."""
        try:
            self.pool.start()
            self._bind()
        except BaseException:
            self.pool.stop()
            raise
        self._web.start()
        for listener in self._listeners:
            listener.start()
        return {
            "ready": True,
            "url": self._web.url,
            "port": self._web.port,
            "pid": os.getpid(),
            "workers": self.pool.pids,
            "functions": sorted(self.pool.functions),
        }

    def stop(self) -> None:
        """Take no more work, let running calls end for a while, then end the workers."""
        for listener in self._listeners:
            listener.stop()
        deadline = time.monotonic() + GRACE_SECONDS
        self._web.stop(GRACE_SECONDS)
        while time.monotonic() < deadline and (self.pool.running or any(each.running for each in self._listeners)):
            time.sleep(0.02)
        self.pool.stop()

    def _bind(self) -> None:
        for function in self.pool.functions.values():
            trigger = function["trigger"]
            match trigger["type"]:
                case "httpTrigger":
                    route = resolve_setting(trigger.get("route") or function["name"])
                    level = str(trigger.get("authLevel") or "function")
                    self._routes.append(parse_route(function["name"], route, trigger.get("methods"), level))
                case "queueTrigger":
                    link = ListenerHost(call=self._call, log=log, end=self._end)
                    self._listeners.append(QueueListener(function, self._settings.queues, link, self._timing))
                case "timerTrigger":
                    log("warning", "Timer is not scheduled here", function=function["name"])
        self._routes = sort_routes(self._routes)

    def _end(self, cause: str) -> None:
        """Note why the host cannot go on; its process ends, and what ran is cut, as in Azure."""
        log("critical", HOST_ENDS, cause=cause)
        self.ended.set()
        self._on_end()

    def cut(self) -> None:
        """End at once: no call is waited for."""
        for listener in self._listeners:
            listener.stop()
        self.pool.stop()
        self._web.stop(0)

    def _call(
        self, name: str, data: Any, metadata: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Future[dict[str, Any]]:
        """Run a function and send what it put into its output queues; the future ends after both."""
        headers = headers or {}
        traceparent = headers.get("traceparent") or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
        result = self.pool.call(name, data, metadata, traceparent=traceparent, tracestate=headers.get("tracestate", ""))
        queues = [binding for binding in self.pool.functions[name]["bindings"] if binding["type"] == "queue"]
        if not queues:
            return result
        after: Future[dict[str, Any]] = Future()
        result.add_done_callback(lambda done: threading.Thread(target=self._send, args=[done, queues, after]).start())
        return after

    def _send(self, done: Future[dict[str, Any]], queues: list[dict[str, Any]], after: Future[dict[str, Any]]) -> None:
        try:
            outputs = done.result()
            for binding in queues:
                client = queue_client(queue_name(resolve_setting(binding["queueName"])), binding.get("connection"))
                for message in outputs.get(binding["name"], []):
                    client.send_message(self._encode(message))
            after.set_result(outputs)
        except BaseException as error:  # noqa: BLE001 - handed on to the caller that waits
            after.set_exception(error)

    def _encode(self, message: Any) -> str:
        raw = (
            message
            if isinstance(message, bytes)
            else (message if isinstance(message, str) else json.dumps(message)).encode()
        )
        return base64.b64encode(raw).decode() if self._settings.queues.base64 else raw.decode()

    def _answer(self, request: Request) -> Response:
        path = decode_path(request.target.partition("?")[0]) if request.target.startswith("/") else None
        if path == "/":
            return Response(status=200)
        if path is not None and (path == "/admin" or path.startswith("/admin/")):
            return self._answer_admin(request)
        host = request.headers.get("host", "")
        answer = answer_route(self._routes, self._settings.route_prefix, request.method, request.target, host=host)
        if answer.route is None:
            return Response(status=answer.status)
        if not self._keys.allow(answer.route.auth_level, answer.function, _given_key(request)):
            return Response(status=401)
        if len(request.body) > MAX_BODY_BYTES:
            return Response(status=413)
        return self._answer_function(request, answer)

    def _answer_function(self, request: Request, answer: Answer) -> Response:
        function = answer.function
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            headers[name.lower()] = f"{headers[name.lower()]},{value}" if name.lower() in headers else value
        data = {
            "method": request.method,
            "url": f"http://{headers.get('host', '')}{answer.url}",
            "headers": headers,
            "query": dict(answer.query),
            "params": dict(answer.parameters),
            # The host hands a chunked body on as an empty one; clients must send Content-Length.
            "body": request.body if request.has_length else b"",
        }
        try:
            outputs = self._call(function, data, {}, headers).result(timeout=HTTP_SECONDS)
        except TimeoutError:
            return Response(status=504)
        except CallFailed:
            return Response(status=500)
        except Exception as error:  # noqa: BLE001 - an output queue failed; the caller learns no more than in Azure
            log("error", "Output not sent", function=function, error=str(error))
            return Response(status=500)
        names = [binding["name"] for binding in self.pool.functions[function]["bindings"] if binding["type"] == "http"]
        given = next((outputs[name] for name in names if name in outputs), None)
        if given is None:
            return Response(status=200)
        return Response(status=given["status"], body=given["body"], headers=given["headers"])

    def _answer_admin(self, request: Request) -> Response:
        if not self._keys.allow("admin", None, _given_key(request)):
            return Response(status=401)
        parts = request.path.strip("/").split("/")
        if parts == ["admin", "host", "status"] and request.method == "GET":
            status = {
                "id": "local",
                "state": "Running",
                "version": "4.local",
                "processUptime": round((time.monotonic() - self._started) * 1000),
                "processId": os.getpid(),
                "workerProcessIds": self.pool.pids,
            }
            return json_response(200, status)
        if len(parts) == 3 and parts[1] == "functions" and request.method == "POST":
            function = self.pool.functions.get(parts[2])
            if function is None:
                return Response(status=404)
            return self._trigger(function, request)
        return Response(status=404)

    def _trigger(self, function: Mapping[str, Any], request: Request) -> Response:
        """POST /admin/functions/{name}: run a function that has no route, now, with the body's `input`."""
        try:
            given = request.json().get("input")
        except (ValueError, AttributeError):
            return json_response(400, {"error": "the body is an object with `input`"})
        match function["trigger"]["type"]:
            case "queueTrigger":
                text = given if isinstance(given, str) else json.dumps(given)
                metadata = {"Id": str(uuid.uuid4()), "DequeueCount": 1, "PopReceipt": ""}
                self._call(str(function["name"]), text, metadata)
            case "timerTrigger":
                self._call(str(function["name"]), {"IsPastDue": False, "Schedule": {}, "ScheduleStatus": {}}, {})
            case _:
                return Response(status=404)
        return Response(status=202)


def _given_key(request: Request) -> str | None:
    return request.headers.get("x-functions-key") or request.query.get("code")


def log(level: str, message: str, **fields: Any) -> None:
    """Write one JSON line to standard error, in the form of the workers' lines."""
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level.upper(),
        "logger": "host",
        "message": message,
    }
    sys.stderr.write(json.dumps(entry | fields, default=str) + "\n")
    sys.stderr.flush()


def read_keys(path: Path) -> Keys:
    content = json.loads(path.read_text())
    return Keys(master=content["master"], host=content.get("host", {}), functions=content.get("functions", {}))


def main(argv: list[str] | None = None) -> int:
    """Serve one app until SIGTERM."""
    parser = argparse.ArgumentParser(prog="function_host", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--app", type=Path, required=True, help="the folder of function_app.py and host.json")
    parser.add_argument("--keys-file", type=Path, required=True, help='JSON: {"master": KEY, "host": {"default": KEY}}')
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument("--lease-seconds", type=int, default=LEASE_SECONDS, help="the lease of a queue message")
    parser.add_argument("--most-poll-seconds", type=float, default=math.inf, help="caps host.json's maxPollingInterval")
    parser.add_argument("--worker-program", type=json.loads, default=WORKER, help="a JSON list: what runs the app")
    options = parser.parse_args(argv)
    # A pipe, because a handler runs in the midst of whatever the main thread does and must not wait for a lock.
    signalled, signal_end = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(signal_end, b"x"))
    try:
        settings, app = read_host_json(options.app), options.app.resolve()
        host = Host(
            WorkerPool(app, options.workers, settings.function_timeout_seconds, log, options.worker_program),
            settings,
            read_keys(options.keys_file),
            port=options.port,
            timing=Timing(lease_seconds=options.lease_seconds, most_poll_seconds=options.most_poll_seconds),
        )
        host.on_end(lambda: os.write(signal_end, b"x"))
        ready = host.start()
    except AppRefused as refusal:
        sys.stderr.write(f"error: {refusal.message}\nhint: {refusal.hint}\n")
        return 1
    print(json.dumps(ready), flush=True)
    os.read(signalled, 1)
    if host.ended.is_set():
        host.cut()
        return 1
    host.stop()
    log("info", "Host stopped")
    return 0
