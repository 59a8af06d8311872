"""Run an app on Microsoft's own Python runtime package: `python microsoft_runtime.py APP [PACKAGES]`, calls on stdin.

The package (azure-functions-runtime) is what Azure runs from Python 3.13 on. It leaves the wire to its host and takes the
message types as an injected module; a few plain records are enough. Prints one JSON object: how the app was indexed, and
what each call gave. It is its own process, because the package keeps the app in globals.
"""

from __future__ import annotations

import asyncio
import base64
import enum
import json
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Record(SimpleNamespace):
    """A message type of the wire: whatever it is given."""


class Status(enum.IntEnum):
    Failure = 0
    Success = 1


class StatusResult(Record):
    Failure, Success = Status.Failure, Status.Success


class BindingInfo(Record):
    # Directions and data types as the host numbers them.
    out, inout, undefined = 1, 2, 0


RECORDS = (
    "WorkerInitResponse WorkerMetadata FunctionMetadataResponse RpcFunctionMetadata RpcRetryOptions RpcException "
    "TypedData RpcHttp RpcHttpCookie ParameterBinding InvocationResponse"
)
PROTOS = SimpleNamespace(
    StatusResult=StatusResult, BindingInfo=BindingInfo, **{name: type(name, (Record,), {}) for name in RECORDS.split()}
)


async def index(app: str) -> dict[str, Any]:
    runtime = import_module("azure_functions_runtime")
    request = SimpleNamespace(
        request=SimpleNamespace(worker_init_request=SimpleNamespace(capabilities={}, function_app_directory=app)),
        properties={"host": "127.0.0.1", "protos": PROTOS},
    )
    answer = await runtime.worker_init_request(request)
    if answer.result.status != Status.Success:
        return {"refused": answer.result.exception.message}
    metadata = (await runtime.functions_metadata_request(request)).function_metadata_results
    runtime.start_threadpool_executor()
    return {
        "functions": {
            each.name: {"id": each.function_id, "bindings": [json.loads(raw) for raw in each.raw_bindings]}
            for each in metadata
        }
    }


def datum_type() -> Any:
    return import_module("azure_functions_runtime.bindings.datumdef").Datum


def make_datum(kind: str, data: Any) -> Any:
    datum = datum_type()
    if kind != "httpTrigger":
        return datum(data, "string") if kind == "queueTrigger" else datum(json.dumps(data), "json")
    texts = {name: datum(data[name], "string") for name in ("method", "url")}
    maps = {
        name: {key: datum(value, "string") for key, value in data[name].items()}
        for name in ("headers", "query", "params")
    }
    return datum({**texts, **maps, "body": datum(base64.b64decode(data["body"]), "bytes")}, "http")


async def call(functions: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    datum = datum_type()
    native = import_module("azure_functions_runtime.native_invocation")
    function = functions[wanted["function"]]
    trigger = next(binding for binding in function["bindings"] if binding["type"].endswith("Trigger"))
    metadata = {name: datum(json.dumps(value), "json") for name, value in wanted["metadata"].items()}
    inputs = [(trigger["name"], make_datum(trigger["type"], wanted["data"]))]
    done, returned, outputs, error, _ = await native.invocation_request_native(
        "call", function["id"], inputs, metadata, wanted["traceparent"], ""
    )
    if not done:
        return {"error": error}
    given = {name: plain(datum) for name, datum in outputs}
    return {"outputs": given | ({"$return": plain(returned)} if returned is not None else {})}


def plain(datum: Any) -> Any:
    if datum.type == "http":
        headers = {name: value.value for name, value in datum.value["headers"].items()}
        body = base64.b64encode(datum.value["body"].value).decode()
        return {"status": int(datum.value["status_code"].value), "headers": headers, "body": body}
    if isinstance(datum.value, bytes):
        return base64.b64encode(datum.value).decode()
    return json.loads(datum.value) if datum.type == "json" else datum.value


async def main(app: str, packages: str | None) -> None:
    sys.path[0] = str(Path(app).resolve())
    if packages:
        sys.path.append(packages)
    indexed = await index(app)
    calls = json.load(sys.stdin)
    answers = [await call(indexed["functions"], each) for each in calls] if "functions" in indexed else []
    print(json.dumps({"indexed": indexed, "answers": answers}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
