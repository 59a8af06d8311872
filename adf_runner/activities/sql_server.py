"""SQL in SQL Server and Azure SQL: Script with parameters in and out, and SqlServerStoredProcedure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from adf_runner.activities.lookup import JSON_CONVERSION, LOOKUP_BYTES, LOOKUP_ROWS, json_row
from adf_runner.errors import ActivityFailed
from adf_runner.factory.shapes import seconds
from adf_runner.stores.sqlserver import Session, connect, procedure_error, run_procedure
from adf_runner.stores.sqlserver_types import columns_of
from adf_runner.stores.sqlserver_values import DECLARED, parameter_name, typed

if TYPE_CHECKING:
    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Service

PROCEDURE_SECONDS = 7 * 86400.0


@dataclass(slots=True, kw_only=True)
class Results:
    """What the blocks of a script gave."""

    sets: list[dict[str, Any]]
    outputs: dict[str, Any]
    changed: int = 0

    def add(self, session: Session, *, with_rows: bool) -> None:
        """Read the batch to its end; of a NonQuery only the rows that it changed count."""
        while True:
            if session.cursor.description is None:
                self.changed += max(0, int(session.cursor.rowcount))
            elif with_rows:
                rows = _rows(session)
                self.sets.append({"rowCount": len(rows), "rows": rows})
            if not session.next_result():
                return


def script(call: Call, service: Service) -> dict[str, Any]:
    """Run the blocks of a Script in order in one session; a Query gives every set of rows that it selects."""
    limit = seconds(call.properties.get("scriptBlockExecutionTimeout", "02:00:00"))
    results = Results(sets=[], outputs={})
    with connect(call, service, limit) as session:
        for block in call.properties["scripts"]:
            _run_block(session, block, results)
    output: dict[str, Any] = {
        "resultSetCount": len(results.sets), "recordsAffected": results.changed, "resultSets": results.sets,
        "outputParameters": results.outputs, "outputTruncated": False,
    }  # fmt: skip
    if len(json.dumps(output, ensure_ascii=False).encode()) > LOOKUP_BYTES:
        raise ActivityFailed(
            "the rows are larger than 4 MB", "select fewer columns or rows", code="2100", retriable=False
        )
    return output


def _rows(session: Session) -> list[dict[str, Any]]:
    columns = columns_of(session.cursor.description, JSON_CONVERSION)
    return [json_row(columns, row) for row in islice(session.texts(columns), LOOKUP_ROWS)]


def _run_block(session: Session, block: Mapping[str, Any], results: Results) -> None:
    text, parameters = str(block["text"]), list(block.get("parameters") or [])
    with_rows = block["type"] == "Query"
    if not parameters:
        session.run(text)
        results.add(session, with_rows=with_rows)
        return
    outs = [item for item in parameters if str(item.get("direction", "Input")) != "Input"]
    statement, values = _parametrized(text, parameters)
    session.run(statement, values)
    inner = Results(sets=[], outputs={})
    inner.add(session, with_rows=True)  # the last set holds the output parameters
    if outs:
        last = inner.sets.pop()["rows"][0]
        results.outputs |= {str(item["name"]).removeprefix("@"): last[f"p{index}"] for index, item in _outs(parameters)}
    results.sets += inner.sets if with_rows else []
    results.changed += inner.changed


def _outs(parameters: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    return [(index, item) for index, item in enumerate(parameters) if str(item.get("direction", "Input")) != "Input"]


def _parametrized(text: str, parameters: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
    """Return a call of sp_executesql: the text and all values are parameters of it, the outputs its last set of rows.

    A parameter of the inner statement takes a variable, which keeps its type when its value is null.
    """
    before, declared, arguments, values = [], [], [], []
    for index, item in enumerate(parameters):
        name, kind = parameter_name(str(item["name"])), _declared(item)
        is_out = str(item.get("direction", "Input")) != "Input"
        value = typed(item.get("value"), str(item.get("type") or "String"), str(item["name"]))
        before.append(f"declare @adf_p{index} {kind} = %s;")
        values.append(value if str(item.get("direction", "Input")) != "Output" else None)
        declared.append(f"{name} {kind}{' output' if is_out else ''}")
        arguments.append(f"{name} = @adf_p{index}{' output' if is_out else ''}")
    outs = ", ".join(f"@adf_p{index} as [p{index}]" for index, _ in _outs(parameters))
    statement = f"{' '.join(before)} exec sp_executesql %s, %s, {', '.join(arguments)};"
    return f"{statement} select {outs}" if outs else statement, [*values, text, ", ".join(declared)]


def _declared(item: Mapping[str, Any]) -> str:
    kind = str(item.get("type") or "String").lower()
    if kind == "decimal" and str(item.get("direction", "Input")) == "Input":
        return "decimal(38,18)"
    if kind not in DECLARED:
        raise ActivityFailed(
            f"parameter {item['name']!r}: a {item.get('type')} {'out ' if kind == 'decimal' else ''}is not run here",
            "use String, and convert it in the script", code="BadRequest", retriable=False,
        )  # fmt: skip
    size = int(item.get("size") or 0)
    return f"nvarchar({size})" if kind == "string" and 0 < size <= 4000 else DECLARED[kind]


def stored_procedure(call: Call) -> dict[str, Any]:
    """Execute a stored procedure; the rows that it selects are passed over."""
    assert call.activity.linked_service is not None
    service = call.engine.services.service(call, call.activity.linked_service, call.scope(), "linkedServiceName")
    began = time.monotonic()
    with connect(call, service, PROCEDURE_SECONDS, report=procedure_error) as session:
        name, parameters = str(call.properties["storedProcedureName"]), call.properties.get("storedProcedureParameters")
        run_procedure(session, name, parameters)
        session.drain()
    return {"effectiveIntegrationRuntime": "this machine", "executionDuration": max(1, round(time.monotonic() - began))}
