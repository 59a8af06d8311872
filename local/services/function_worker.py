"""The worker process of the function host: loads function_app.py through the public azure-functions API and runs it.

`python -m local.services.function_worker APP DESCRIPTOR`: started by the host, which it talks to over one socket. The
first message tells the functions or why they were refused; then each request is answered once. When the host goes, so
does the worker. Log records become JSON lines on standard error.

What is refused here is what Azure's own Python worker refuses, in its words where they are known.
"""

import asyncio
import importlib
import inspect
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import azure.functions as func
from azure.functions.meta import Datum

from local.services.function_settings import AppRefused

TRIGGERS = {"httpTrigger", "queueTrigger", "timerTrigger"}
OUTPUTS = {"http", "queue"}
RETURN = "$return"
_current: ContextVar[dict[str, str] | None] = ContextVar("_current", default=None)
# Not annotated by the package: binding type -> the converter that decodes inputs and encodes outputs.
_converters: Any = func.get_binding_registry()  # type: ignore[no-untyped-call]


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


class LoadedFunction:
    """One function of the app with its bindings, checked against its Python signature."""

    def __init__(self, name: str, call: Callable[..., Any], bindings: list[dict[str, Any]]) -> None:
        self.name = name
        self.call = call
        self.bindings = bindings
        self.trigger = next(binding for binding in bindings if binding["type"] in TRIGGERS)
        self.outputs = {binding["name"]: binding for binding in bindings if is_output(binding)}
        self.is_async = inspect.iscoroutinefunction(call)
        self.wants_context = "context" in inspect.signature(call).parameters and self.trigger["name"] != "context"

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "trigger": self.trigger, "bindings": self.bindings}


def is_output(binding: Mapping[str, Any]) -> bool:
    return str(binding["direction"]).upper() == "OUT"


def load_app(folder: Path) -> dict[str, LoadedFunction]:
    """Import function_app.py and return its functions by name; raise AppRefused as Azure would refuse the app."""
    script = folder / "function_app.py"
    if not script.exists():
        raise AppRefused(f"{script} is missing", "the Python V2 model is one function_app.py in the app's folder")
    module = _import_app()
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
    if len({id(app) for app in apps}) != 1:
        found = "no" if not apps else "more than one"
        raise AppRefused(
            f"{script} defines {found} top level function app instance", "define exactly one: app = func.FunctionApp()"
        )
    try:
        functions = apps[0].get_functions()
    except ValueError as error:
        raise AppRefused(f"{script}: {error}", "mend the decorators of that function") from None
    loaded = [
        check_function(str(function.get_function_name()), function.get_user_function(), function.get_raw_bindings())
        for function in functions
    ]
    return {function.name: function for function in loaded}


def _import_app() -> ModuleType:
    try:
        return importlib.import_module("function_app")
    except ImportError as error:
        raise AppRefused(
            f"function_app.py cannot be imported: {error}", "is the module in requirements.txt and in the app's folder?"
        ) from error
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise AppRefused(
            f"function_app.py failed while it was imported: {type(error).__name__}: {error}",
            f"it was raised at {where.filename}:{where.lineno}",
        ) from error


def check_function(name: str, call: Callable[..., Any], raw_bindings: list[str]) -> LoadedFunction:
    """Hold a function's bindings against its Python parameters, both ways."""
    bindings: list[dict[str, Any]] = [json.loads(raw) for raw in raw_bindings]
    for binding in bindings:
        kinds = OUTPUTS if is_output(binding) else TRIGGERS
        if binding["type"] not in kinds:
            raise AppRefused(
                f"cannot load the {name} function: the local host does not know the binding {binding['type']!r}",
                f"it knows {', '.join(sorted(TRIGGERS | OUTPUTS))}; reach other services through their SDK",
            )
    parameters = inspect.signature(call).parameters
    bound = {binding["name"] for binding in bindings} - {RETURN}
    missing = sorted(bound - set(parameters))
    if missing:
        raise AppRefused(
            f"cannot load the {name} function: the following parameters are declared in the function decorators but "
            f"not in Python: {missing}",
            "name the parameter as the decorator does (an HTTP trigger's is 'req' unless trigger_arg_name says otherwise)",
        )
    unbound = sorted(set(parameters) - bound - {"context"})
    if unbound:
        raise AppRefused(
            f"cannot load the {name} function: the following parameters are declared in Python but not in the function "
            f"decorators: {unbound}",
            "give each parameter a binding, or remove it",
        )
    for binding in bindings:
        if binding["name"] != RETURN:
            _check_annotation(name, binding, parameters[binding["name"]].annotation)
    return LoadedFunction(name, call, bindings)


def _check_annotation(name: str, binding: Mapping[str, Any], annotation: Any) -> None:
    if annotation is inspect.Parameter.empty or not isinstance(annotation, type):
        is_out = getattr(annotation, "__origin__", None) is func.Out
        if (
            annotation is not inspect.Parameter.empty
            and is_out != is_output(binding)
            and not isinstance(annotation, str)
        ):
            raise AppRefused(
                f"cannot load the {name} function: type of {binding['name']} binding in the function decorators does "
                "not match its Python annotation",
                "an output is func.Out[...], an input is not",
            )
        return
    converter = _converters.get(binding["type"])
    if is_output(binding) or not converter.check_input_type_annotation(annotation):
        raise AppRefused(
            f"cannot load the {name} function: type of {binding['name']} binding in the function decorators "
            f'"{binding["type"]}" does not match its Python annotation "{annotation.__name__}"',
            "annotate it with the type that the binding gives, e.g. func.HttpRequest or func.QueueMessage",
        )


def decode_trigger(trigger: Mapping[str, Any], data: Any, metadata: Mapping[str, Any]) -> Any:
    """Make the object that the function receives."""
    kind = trigger["type"]
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
    return _converters.get(kind).decode(datum, trigger_metadata=fields)


def encode_output(binding: Mapping[str, Any], value: Any) -> Any:
    """Make plain data of what the function gave: an HTTP answer, or a list of queue messages."""
    datum = _converters.get(binding["type"]).encode(value, expected_type=None)
    if binding["type"] == "http":
        if datum.type == "string":
            return {
                "status": 200,
                "headers": [("content-type", "text/plain; charset=utf-8")],
                "body": datum.value.encode(),
            }
        headers = [(name, header.value) for name, header in datum.value["headers"].items()]
        for cookie in datum.value["cookies"] or []:
            headers += [("set-cookie", morsel.OutputString()) for morsel in cookie.values()]
        return {"status": int(datum.value["status_code"].value), "headers": headers, "body": datum.value["body"].value}
    if datum.type == "json":
        content = json.loads(datum.value)
        items = content if isinstance(content, list) else [content]
        return [item["body"] if isinstance(item, dict) and "body" in item else item for item in items]
    return [datum.value]


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
        arguments = {trigger["name"]: decode_trigger(trigger, request["data"], request["metadata"])}
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
    values = {name: out.get() for name, out in outs.items()} | ({RETURN: result} if RETURN in function.outputs else {})
    return {name: encode_output(function.outputs[name], value) for name, value in values.items() if value is not None}


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
    logging.getLogger("azure").setLevel(logging.WARNING)


def main(folder: Path, descriptor: int) -> None:
    log_as_json()
    os.chdir(folder)
    # The app's folder takes the place of ours: the app sees its own modules and what is installed, as in Azure.
    sys.path[0] = str(folder)
    Worker(folder, Connection(descriptor)).serve()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
    os._exit(0)  # calls that still run have nobody to answer
