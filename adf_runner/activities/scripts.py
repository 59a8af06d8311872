"""Script (SQL in a session), Delete (files) and Validation (wait until a file is there)."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from adf_runner.activities import sql_server
from adf_runner.activities.copy_files import files_of
from adf_runner.activities.lookup import LOOKUP_BYTES, LOOKUP_ROWS
from adf_runner.errors import ActivityFailed
from adf_runner.factory.shapes import seconds
from adf_runner.stores import postgres, sqlserver
from adf_runner.stores.delimited import is_true
from adf_runner.stores.opening import open_store
from adf_runner.stores.store import Entry, Store, folder_of, path_of

if TYPE_CHECKING:
    from adf_runner.run.engine import Call

VALIDATION_SLEEP_SECONDS = 10


def script(call: Call) -> dict[str, Any]:
    """Run scripts in order in one session; a Query gives rows, a NonQuery the number of rows it changed."""
    assert call.activity.linked_service is not None
    service = call.engine.services.service(call, call.activity.linked_service, call.scope(), "linkedServiceName")
    if sqlserver.is_sql_server(service):
        return sql_server.script(call, service)
    limit = seconds(call.properties.get("scriptBlockExecutionTimeout", "02:00:00"))
    results: list[dict[str, Any]] = []
    changed = 0
    with postgres.connect(call, service, limit) as connection, connection.cursor() as cursor:
        for item in call.properties["scripts"]:
            call.check_time()
            cursor.execute(item["text"].encode())
            if item["type"] == "NonQuery" or cursor.description is None:
                changed += max(0, cursor.rowcount)
                continue
            names = [column.name for column in cursor.description]
            rows = [dict(zip(names, map(plain, row), strict=True)) for row in cursor.fetchmany(LOOKUP_ROWS)]
            results.append({"rowCount": len(rows), "rows": rows})
    output = {"resultSetCount": len(results), "recordsAffected": changed, "resultSets": results}
    if len(json.dumps(output, ensure_ascii=False).encode()) > LOOKUP_BYTES:
        raise ActivityFailed(
            "the rows are larger than 4 MB", "select fewer columns or rows", code="2100", retriable=False
        )
    return output


def plain(value: Any) -> Any:
    """Return a database value as JSON."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value
        return moment.replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00Z"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return json.dumps(value, default=str) if isinstance(value, (list, dict)) else str(value)


def delete(call: Call) -> dict[str, Any]:
    """Delete a file, or the files of a folder that the wildcard names."""
    data = call.engine.services.dataset(call, call.properties["dataset"], "dataset")
    settings = dict(call.properties.get("storeSettings", {}))
    settings.setdefault("recursive", call.properties.get("recursive", False))
    with ExitStack() as stack:
        store = stack.enter_context(open_store(call, data))
        _, entries = files_of(store, data, settings)
        for entry in entries:
            call.check_time()
            store.delete(entry.path)
    return {"datasetName": data.name, "relativePath": path_of(data), "prefix": "", "recursive": is_true(settings["recursive"]),
            "filesDeleted": len(entries), "filesFailed": 0}  # fmt: skip


def validation(call: Call) -> dict[str, Any]:
    """Wait until a file or folder is there, large enough or filled, as long as the timeout allows."""
    data = call.engine.services.dataset(call, call.properties["dataset"], "dataset")
    timeout = call.properties.get("timeout", "7.00:00:00")
    clock, pause = call.engine.overrides.clock, float(call.properties.get("sleep", VALIDATION_SLEEP_SECONDS))
    began = clock()
    while True:
        with ExitStack() as stack:
            store = stack.enter_context(open_store(call, data))
            entry = store.find(path_of(data))
            if entry is not None and _is_valid(call, store, entry, folder_of(data)):
                return {
                    "exists": True,
                    "itemName": entry.name,
                    "itemType": "Folder" if entry.is_folder else "File",
                    "size": entry.size,
                }
        if (clock() - began).total_seconds() + pause > seconds(timeout):
            raise ActivityFailed(f"{path_of(data)} was not valid within {timeout}", code="Timeout")
        call.pause(pause)
        call.check_time()


def _is_valid(call: Call, store: Store, entry: Entry, folder: str) -> bool:
    if entry.is_folder:
        wanted = call.properties.get("childItems")
        return wanted is None or is_true(wanted) == any(True for _ in store.list(folder, recursive=False))
    return entry.size >= int(call.properties.get("minimumSize", 0))
