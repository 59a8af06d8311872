"""The worker process of the function host: loads function_app.py through the public azure-functions API and runs it.

`python -m local.functions_host.worker APP DESCRIPTOR`: started by the host, which it talks to over one socket. The
first message lists the functions, or why they were refused; then each request is answered once. When the host goes, so
does the worker. Log records become JSON lines on standard error.

Not done: worker extensions, HTTP streams, SDK-type bindings.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import azure.functions as func
from azure.functions.meta import Datum

from local.functions_host.loader import RETURN, LoadedFunction, converters, load_app
from local.functions_host.settings import AppRefused

_current: ContextVar[dict[str, str] | None] = ContextVar("_current", default=None)


class Out(func.Out[Any]):
    """The box that a function puts an output in."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        self._value = val

    def get(self) -> Any:
        return self._value


class TraceContext:
    def __init__(self, trace_parent: str, trace_state: str) -> None:
        self.trace_parent = self.Traceparent = trace_parent
        self.trace_state = self.Tracestate = trace_state
        self.attributes: dict[str, str] = {}
        self.Attributes = self.attributes


class Context(func.Context):
    """What a function sees of its own call."""

    def __init__(self, name: str, folder: str, invocation_id: str, trace: TraceContext) -> None:
        self._name, self._folder, self._invocation_id, self._trace = name, folder, invocation_id, trace
        self._local = type("Local", (threading.local,), {})
        self._local.invocation_id = invocation_id  # type: ignore[attr-defined]  # as Azure's worker sets it

    invocation_id = property(lambda self: self._invocation_id)
    function_name = property(lambda self: self._name)
    function_directory = property(lambda self: self._folder)
    trace_context = property(lambda self: self._trace)
    retry_context = property(lambda self: None)  # noqa: ARG005 - no retry policies here
    thread_local_storage = property(lambda self: self._local)


def decode_trigger(function: LoadedFunction, data: Any, metadata: Mapping[str, Any]) -> Any:
    """Make the object that the function receives."""
    kind = function.trigger["type"]
    if function.trigger["name"] in function.plain:
        if kind == "httpTrigger":
            raise TypeError("an HTTP request cannot be received as text or bytes")
        return data if kind == "queueTrigger" else json.dumps(data)
    fields = {
        name: Datum(type="json", value=json.dumps(value)) for name, value in metadata.items() if value is not None
    }
    if kind == "httpTrigger":
        datum = Datum(
            type="http",
            value={
                "method": Datum(type="string", value=data["method"]),
                "url": Datum(type="string", value=data["url"]),
                "headers": {name: Datum(type="string", value=value) for name, value in data["headers"].items()},
                "query": {name: Datum(type="string", value=value) for name, value in data["query"].items()},
                "params": {name: Datum(type="string", value=value) for name, value in data["params"].items()},
                "body": Datum(type="bytes", value=data["body"]),
            },
        )
    elif kind == "queueTrigger":
        datum = Datum(type="string" if isinstance(data, str) else "bytes", value=data)
    else:
        datum = Datum(type="json", value=json.dumps(data))
    return converters.get(kind).decode(datum, trigger_metadata=fields)


def encode_output(binding: Mapping[str, Any], value: Any) -> Any:
    """Make plain data of what the function gave: an HTTP answer, or a list of queue messages."""
    try:
        datum = converters.get(binding["type"]).encode(value, expected_type=None)
    except NotImplementedError:
        raise TypeError(
            f"unable to encode outgoing data: unsupported type {binding['type']!r} for Python type "
            f"{type(value).__name__!r}"
        ) from None
    if binding["type"] == "http":
        return _http_answer(datum)
    if datum.type == "json":
        content = json.loads(datum.value)
        items = content if isinstance(content, list) else [content]
        return [item["body"] if isinstance(item, dict) and "body" in item else item for item in items]
    return [datum.value]


def _http_answer(datum: Datum) -> dict[str, Any]:
    if datum.type == "string":
        return {"status": 200, "headers": [("content-type", "text/plain; charset=utf-8")], "body": datum.value.encode()}
    headers = [(name, header.value) for name, header in datum.value["headers"].items()]
    for cookie in datum.value["cookies"] or []:
        headers += [("set-cookie", morsel.OutputString()) for morsel in cookie.values()]
    return {"status": int(datum.value["status_code"].value), "headers": headers, "body": datum.value["body"].value}


class Worker:
    """Answer requests from the host: plain functions on a thread pool, coroutines on one event loop."""

    def __init__(self, folder: Path, host: Connection) -> None:
        self._folder = folder
        self._host = host
        self._send_lock = threading.Lock()
        count = int(os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT") or min(32, (os.cpu_count() or 1) + 4))
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="function")
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._functions: dict[str, LoadedFunction] = {}

    def serve(self) -> None:
        try:
            self._functions = load_app(self._folder)
        except AppRefused as refusal:
            self._send({"kind": "refused", "message": refusal.message, "hint": refusal.hint})
            return
        self._send({"kind": "indexed", "functions": [function.describe() for function in self._functions.values()]})
        while True:
            try:
                request = self._host.recv()
            except (EOFError, OSError):
                return  # the host went
            function = self._functions[request["function"]]
            if function.is_async:
                asyncio.run_coroutine_threadsafe(self._answer_async(function, request), self._loop)
            else:
                self._threads.submit(self._answer, function, request)

    def _send(self, message: dict[str, Any]) -> None:
        with self._send_lock:
            self._host.send(message)

    def _arguments(self, function: LoadedFunction, request: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Out]]:
        _current.set({"function": function.name, "invocation_id": request["id"]})
        trigger = function.trigger
        arguments = {trigger["name"]: decode_trigger(function, request["data"], request["metadata"])}
        outs = {name: Out() for name in function.outputs if name != RETURN}
        if function.wants_context:
            trace = TraceContext(request["traceparent"], request["tracestate"])
            arguments["context"] = Context(function.name, str(self._folder), request["id"], trace)
        return arguments | outs, outs

    def _answer(self, function: LoadedFunction, request: Mapping[str, Any]) -> None:
        try:
            arguments, outs = self._arguments(function, request)
            result = function.call(**arguments)
            self._send({"kind": "result", "id": request["id"], "outputs": _collect(function, result, outs)})
        except BaseException as error:  # noqa: BLE001 - whatever a function raises is its answer
            self._fail(request, error)

    async def _answer_async(self, function: LoadedFunction, request: Mapping[str, Any]) -> None:
        try:
            arguments, outs = self._arguments(function, request)
            result = await function.call(**arguments)
            self._send({"kind": "result", "id": request["id"], "outputs": _collect(function, result, outs)})
        except BaseException as error:  # noqa: BLE001 - whatever a function raises is its answer
            self._fail(request, error)

    def _fail(self, request: Mapping[str, Any], error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))
        self._send(
            {"kind": "result", "id": request["id"], "error": f"{type(error).__name__}: {error}", "traceback": text}
        )


def _collect(function: LoadedFunction, result: Any, outs: Mapping[str, Out]) -> dict[str, Any]:
    if result is not None and RETURN not in function.outputs:
        raise RuntimeError(f"function {function.name!r} without a $return binding returned a non-None value")
    values = {name: out.get() for name, out in outs.items() if out.get() is not None}
    if RETURN in function.outputs:
        values[RETURN] = result  # also None, which no binding takes
    return {name: encode_output(function.outputs[name], value) for name, value in values.items()}


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the call that it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **(_current.get() or {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def log_as_json() -> None:
    """Send every log record to standard error as JSON; the Azure SDKs' chatter only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def main(folder: Path, descriptor: int) -> None:
    log_as_json()
    os.chdir(folder)
    # The app's folder takes the place of ours: the app sees its own modules and what is installed, as in Azure.
    sys.path[0] = str(folder)
    Worker(folder, Connection(descriptor)).serve()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
    os._exit(0)  # calls that still run have nobody to answer
