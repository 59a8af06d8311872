"""Writes docs/openapi.json: the function app's API, its requests from the app's own models, its answers stated here.

`./sealift docs` writes it anew. A test holds the file against this module, and every answer of the running app
against the file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

import function_app
from partners.deadlines import State as StandingState

PAGE = Path(__file__).resolve().parents[1] / "openapi.json"
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One endpoint: its function, what it takes and what it answers when all is well."""

    method: str
    path: str
    function: str
    answers: str
    request: type[BaseModel] | None = None
    query: tuple[str, ...] = ()
    status: int = 200
    errors: tuple[int, ...] = ()
    open: bool = False


OPERATIONS = (
    Operation(
        method="get",
        path="/feeds",
        function="feeds",
        answers="Feeds",
        query=("windowStart", "windowEnd"),
        errors=(422,),
    ),
    Operation(
        method="get",
        path="/batches",
        function="list_batches",
        answers="Batches",
        query=("partner", "feed", "state", "date", "limit"),
        errors=(422,),
    ),
    Operation(
        method="post",
        path="/batches",
        function="plan",
        answers="Plan",
        request=function_app.PlanRequest,
        errors=(404, 409, 422),
    ),
    Operation(method="get", path="/batches/{id}", function="status", answers="Status", errors=(404, 422, 503)),
    Operation(
        method="post",
        path="/batches/{id}/seal",
        function="request_sealing",
        answers="Accepted",
        request=function_app.SealRequest,
        status=202,
        errors=(404, 409, 422),
    ),
    Operation(
        method="post",
        path="/batches/{id}/deliver",
        function="request_delivery",
        answers="Accepted",
        request=function_app.DeliverRequest,
        status=202,
        errors=(404, 409, 422),
    ),
    Operation(
        method="post",
        path="/batches/{id}/sending",
        function="begin_copy",
        answers="NextCopy",
        request=function_app.SendingRequest,
        errors=(404, 409, 422),
    ),
    Operation(
        method="post",
        path="/batches/{id}/looked",
        function="note_looked",
        answers="Looked",
        request=function_app.LookedRequest,
        errors=(404, 409, 422),
    ),
    Operation(
        method="post",
        path="/batches/{id}/sent",
        function="note_copied",
        answers="Copied",
        request=function_app.SentRequest,
        errors=(404, 409, 422),
    ),
    Operation(
        method="post",
        path="/batches/{id}/confirm",
        function="confirm",
        answers="Receipt",
        request=function_app.ConfirmRequest,
        errors=(404, 409, 422),
    ),
    Operation(
        method="post",
        path="/batches/{id}/failed",
        function="record_failure",
        answers="Accepted",
        request=function_app.FailedRequest,
        errors=(404, 422),
    ),
    Operation(
        method="post",
        path="/await",
        function="look",
        answers="Look",
        request=function_app.WaitRequest,
        errors=(422,),
    ),
    Operation(method="get", path="/batches/{id}/ledger", function="ledger", answers="Ledger", errors=(404, 422)),
    Operation(
        method="get",
        path="/batches/{id}/verify",
        function="verify",
        answers="Verdict",
        query=("file",),
        errors=(404, 409, 422, 503),
    ),
    Operation(
        method="post",
        path="/batches/{id}/resend",
        function="resend",
        answers="Resent",
        request=function_app.ResendRequest,
        errors=(404, 409, 422),
    ),
    Operation(
        method="post",
        path="/batches/{id}/replay",
        function="replay",
        answers="Accepted",
        request=function_app.ReplayRequest,
        errors=(404, 409, 422),
    ),
    Operation(
        method="post",
        path="/purge",
        function="purge",
        answers="Swept",
        request=function_app.PurgeRequest,
        errors=(409, 422),
    ),
    Operation(
        method="get",
        path="/standings",
        function="standings",
        answers="Standings",
        query=("days", "ahead"),
        errors=(422,),
    ),
    Operation(
        method="get",
        path="/feeds/{partner}/{feed}",
        function="explain",
        answers="Explained",
        query=("day",),
        errors=(404, 422),
    ),
    Operation(
        method="post",
        path="/feeds/{partner}/{feed}/index",
        function="rebuild_index",
        answers="Indexed",
        request=function_app.IndexRequest,
        errors=(404, 422),
    ),
    Operation(method="get", path="/health", function="health", answers="Health", open=True),
    Operation(method="get", path="/ready", function="ready", answers="Ready", errors=()),
)

TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
BATCH: Schema = {"type": "string", "pattern": r"^[a-z][a-z0-9-]*\.[a-z][a-z0-9-]*\.\d{4}-\d{2}-\d{2}(T\d{4})?\.\d+$"}
SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
STATE: Schema = {
    "enum": [
        "planned",
        "sealing",
        "empty",
        "sealed",
        "superseded",
        "delivering",
        "delivered",
        "acknowledged",
        "rejected",
        "failed",
        "unreadable",
    ]
}


def members(optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """Return the schema of an object that has exactly these members."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def array(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


ARRIVED = members(name=TEXT, bytes=COUNT)
RECEIPT = members(
    batch=BATCH, sequence=COUNT, delivery=COUNT, delivered_at=TIME, route=TEXT, run_id=MAYBE_TEXT, files=array(ARRIVED)
)
FAILURE = members(step=TEXT, cause=TEXT, hint=TEXT, at=TIME, run_id=MAYBE_TEXT)
ENTRY = members(
    number=COUNT,
    batch=BATCH,
    delivery=COUNT,
    step=TEXT,
    at=TIME,
    who=TEXT,
    run_id=MAYBE_TEXT,
    details={"type": "object"},
    previous={"anyOf": [SHA256, {"type": "null"}]},
    sha256=SHA256,
)
SUMMARY = members(
    batch=BATCH,
    state=STATE,
    sequence=COUNT,
    delivery=COUNT,
    files=COUNT,
    route=TEXT,
    cause=MAYBE_TEXT,
    rows={"type": ["integer", "null"]},
    bytes=COUNT,
)
CHECK = members(what=TEXT, ok={"type": "boolean"}, found=TEXT)

PARTNERS_ANSWER = members(
    batch=BATCH,
    delivery=COUNT,
    says={"enum": ["acknowledged", "rejected"]},
    reason=TEXT,
    seen_at=TIME,
    newest_seconds=COUNT,
    files=array(members(name=TEXT, says=TEXT, reason=TEXT)),
)
STANDING = members(
    partner=TEXT,
    feed=TEXT,
    businessDate={"type": "string", "format": "date"},
    state={"enum": list(get_args(StandingState))},
    dueBy=TIME,
    reason=TEXT,
    batch={"anyOf": [BATCH, {"type": "null"}]},
)

_RUN: dict[str, Schema] = {
    "partner": TEXT,
    "feed": TEXT,
    "windowStart": TIME,
    "windowEnd": TIME,
    "batch": BATCH,
    "at": TIME,
}
DUE = members(("batch", "at"), **_RUN)
WAITING = members(**_RUN, waitsFor=TEXT)

OUTLOOK_MEMBERS: dict[str, Schema] = {
    "partner": TEXT,
    "feed": TEXT,
    "timeZone": TEXT,
    "covers": TEXT,
    "nextRun": {"anyOf": [TIME, {"type": "null"}]},
    "paused": MAYBE_TEXT,
}
OUTLOOK = members(**OUTLOOK_MEMBERS)
EXPLAINED_RUN = members(
    at=TIME,
    batch=BATCH,
    covers={"anyOf": [members(first=TEXT, last=TEXT), {"type": "null"}]},
    windowStart=TIME,
    windowEnd=TIME,
    whyNot=TEXT,
    waitsFor=TEXT,
    state=MAYBE_TEXT,
    dueBy={"anyOf": [TIME, {"type": "null"}]},
)

# The database of a batch's rows: `kind` chooses Data Factory's Copy, the others are for SQL Server alone.
SOURCE: Schema = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["warehouse", "azure-sql", "sql-server"]},
        "server": TEXT,
        "database": TEXT,
        "user": TEXT,
        "passwordSecret": TEXT,
    },
    "required": ["kind"],
}

ANSWERS: dict[str, Schema] = {
    "Error": members(error=TEXT, hint=TEXT, batch=MAYBE_TEXT),
    "Feeds": members(
        feeds=array(DUE), batches=array(BATCH), waiting=array(WAITING), build={"type": "boolean"}, held=TEXT
    ),
    "Batches": members(batches=array(SUMMARY)),
    "Plan": {
        "type": "object",
        "description": "All that Data Factory needs to extract and deliver. Secrets are named, never contained.",
        "properties": {
            "batch": BATCH,
            "state": STATE,
            "sequence": COUNT,
            "source": SOURCE,
            "query": TEXT,
            "files": array(TEXT),
        },
        "required": ["batch", "state", "sequence", "source", "query", "files", "raw", "route", "sftp"],
    },
    "Accepted": members(batch=BATCH, state=STATE),
    "NextCopy": members(batch=BATCH, folder=TEXT, look=array(members(name=TEXT, bytes=COUNT)), files=TEXT, last=TEXT),
    "Looked": members(batch=BATCH, file=TEXT),
    "Copied": members(batch=BATCH, list=TEXT),
    "Look": members(
        next={"enum": ["send", "wait", "end"]},
        wait=COUNT,
        send=array(members(batch=BATCH, sftp={"type": "object"})),
        busy=COUNT,
        failed=COUNT,
        causes=TEXT,
        outcome=TEXT,
    ),
    "Resent": members(batch=BATCH, state=STATE, delivery=COUNT),
    "Status": members(
        ("receipt", "answer"),
        batch=BATCH,
        state=STATE,
        sequence=COUNT,
        route=TEXT,
        window={"oneOf": [members(start=TIME, end=TIME), {"type": "null"}]},
        failure={"anyOf": [FAILURE, {"type": "null"}]},
        worked_by={"anyOf": [members(run_id=TEXT, since=TIME), {"type": "null"}]},
        receipt=RECEIPT,
        answer={"anyOf": [PARTNERS_ANSWER, {"type": "null"}]},
    ),
    "Receipt": RECEIPT,
    "Ledger": members(batch=BATCH, entries=array(ENTRY)),
    "Verdict": members(batch=BATCH, ok={"type": "boolean"}, checks=array(CHECK), files=array(TEXT)),
    "Standings": members(standings=array(STANDING), feeds=array(OUTLOOK)),
    "Explained": members(**OUTLOOK_MEMBERS, day=TEXT, whyNone=TEXT, runs=array(EXPLAINED_RUN)),
    "Indexed": members(partner=TEXT, feed=TEXT, batches=COUNT),
    "Swept": members(purged=array(BATCH), overdue=array(TEXT)),
    "Health": members(status={"const": "alive"}),
    "Ready": members(
        ready={"type": "boolean"},
        checks={"type": "object", "additionalProperties": {"type": "boolean"}},
        causes={"type": "object", "additionalProperties": members(error=TEXT, hint=TEXT)},
    ),
}

NAME = {"type": "string", "pattern": f"^{function_app.NAME.pattern}$"}
QUERY: dict[str, tuple[str, Schema, bool]] = {
    "windowStart": ("the instant after which feeds are due", TIME, True),
    "windowEnd": ("the instant until which feeds are due, itself included", TIME, True),
    "partner": ("only this partner's batches", NAME, False),
    "feed": ("only this feed's batches", NAME, False),
    "state": ("only batches in this state", TEXT, False),
    "date": ("only batches of this business date", {"type": "string", "format": "date"}, False),
    "day": ("a day at the partner; today if left out", {"type": "string", "format": "date"}, False),
    "days": ("how many business dates", {"type": "integer", "minimum": 1, "maximum": 35}, False),
    "ahead": ("and how many to come; none if left out", {"type": "integer", "minimum": 1, "maximum": 35}, False),
    "limit": ("how many", {"type": "integer", "minimum": 1, "maximum": function_app.LIST_LIMIT}, False),
    "file": ("read this sealed file's bytes", TEXT, False),
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    requests: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation)
        if operation.request:
            requests |= _request_schemas(operation.request)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sealift",
            "version": "1",
            "description": "Plan, seal, deliver and confirm batches. Every answer is a JSON object. Behind one base path: /api.",
        },
        "servers": [{"url": "/api"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "x-functions-key"}},
            "schemas": {**requests, **ANSWERS},
        },
    }


def render() -> str:
    """Return the file's content."""
    return json.dumps(document(), indent=2) + "\n"


def _describe(operation: Operation) -> dict[str, Any]:
    builder = getattr(function_app, operation.function)
    # In public, azure-functions shows a function only by indexing the whole app, which it allows once in a process.
    summary = (builder._function.get_user_function().__doc__ or "").strip()  # noqa: SLF001
    described: dict[str, Any] = {"operationId": operation.function, "summary": summary, "parameters": []}
    for name in ("partner", "feed"):
        if f"{{{name}}}" in operation.path:
            described["parameters"].append({"name": name, "in": "path", "required": True, "schema": NAME})
    if "{id}" in operation.path:
        described["parameters"].append({"name": "id", "in": "path", "required": True, "schema": BATCH})
    for name in operation.query:
        words, schema, required = QUERY[name]
        described["parameters"].append(
            {"name": name, "in": "query", "required": required, "description": words, "schema": schema}
        )
    if operation.request:
        described["requestBody"] = {"content": _json(operation.request.__name__)}
    described["responses"] = {str(operation.status): {"description": "done", "content": _json(operation.answers)}}
    if operation.function == "ready":
        described["responses"]["503"] = {"description": "something is out of reach", "content": _json("Ready")}
    for status in (*operation.errors, *(() if operation.open else (500,))):
        described["responses"][str(status)] = {"description": _ERRORS[status], "content": _json("Error")}
    if operation.open:
        described["security"] = []
    else:
        described["responses"]["401"] = {"description": "no key, or a wrong one; the body is empty"}
    if operation.status == 202:
        location = {"Location": {"description": "where the batch's state is", "schema": TEXT}}
        described["responses"]["202"]["headers"] = location
    return described


_ERRORS = {
    404: "no such partner, feed or batch",
    409: "the batch is in another state, or has other content",
    422: "the request makes no sense",
    500: "the app failed, or a partner's file is broken",
    503: "the vault does not answer",
}


def _request_schemas(model: type[BaseModel]) -> dict[str, Schema]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs", {}), model.__name__: schema}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
