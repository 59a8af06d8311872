"""Copy: from one place to another with constant memory, in the pairs that the project can vouch for.

Rows go from PostgreSQL, SQL Server, delimited text, JSON, Parquet or REST to delimited text, JSON, Parquet or a table;
files go as they are, Binary to Binary. What Azure adds (staging, parallel reads, fault tolerance) is refused.
"""

from __future__ import annotations

import posixpath
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg import sql

from adf_runner.activities.copy_files import Tally, copy_files, files_of, targets
from adf_runner.errors import ActivityFailed
from adf_runner.stores import parquet, postgres, rest, rows, sqlserver
from adf_runner.stores.delimited import Layout, is_true
from adf_runner.stores.opening import open_store
from adf_runner.stores.postgres import Conversion
from adf_runner.stores.store import Entry, Sink, Store, folder_of, path_of

if TYPE_CHECKING:
    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Data

BATCH_BYTES = 1024 * 1024
TABLE_SOURCES = sqlserver.SOURCES | {"AzurePostgreSqlSource"}
HIERARCHICAL = {"JsonSource", "RestSource"}
TABLE_SINKS = sqlserver.SINKS | {"AzurePostgreSqlSink"}
STEP = re.compile(r"\$?\['([^']+)'\]")


def copy_activity(call: Call) -> dict[str, Any]:
    """Copy, and answer what ADF's monitor shows; a failed copy has an output too, with the error in `errors`."""
    tally, began = Tally(), time.monotonic()
    start = call.engine.overrides.clock()
    services = call.engine.services
    origin = services.dataset(call, call.activity.inputs[0], "inputs[0]")
    target = services.dataset(call, call.activity.outputs[0], "outputs[0]")
    ends = (origin.service.type, target.service.type)
    try:
        _copy(call, origin, target, tally)
        is_checked = is_true(call.properties.get("validateDataConsistency", False))
        if is_checked:
            verify(call, target, tally)
    except ActivityFailed as error:
        output = output_of(tally, call.properties["source"]["type"], time.monotonic() - began)
        error.output = output | _execution(ends, start, output, "Failed") | {"errors": [_error_event(error)]}
        raise
    output = output_of(tally, call.properties["source"]["type"], time.monotonic() - began)
    verdict = {"VerificationResult": "Verified" if is_checked else "NotVerified"}
    return output | _execution(ends, start, output, "Succeeded") | {"dataConsistencyVerification": verdict}


def _copy(call: Call, origin: Data, target: Data, tally: Tally) -> None:
    source, sink = call.properties["source"], call.properties["sink"]
    if source["type"] == "BinarySource":
        copy_files(call, origin, target, tally)
    elif source["type"] == "AzurePostgreSqlSource" and sink["type"] == "DelimitedTextSink":
        copy_query(call, origin, target, tally)
    else:
        copy_rows(call, origin, target, tally)


def _execution(ends: tuple[str, str], start: datetime, output: Mapping[str, Any], status: str) -> dict[str, Any]:
    """Return `executionDetails` and what stands beside it, as the monitor has it for a copy of one attempt."""
    lasted = output["copyDuration"]
    step = {"status": "Completed" if status == "Succeeded" else "Failed", "duration": lasted}
    detail = {
        "source": {"type": ends[0]},
        "sink": {"type": ends[1]},
        "status": status,
        "start": start.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z",
        "duration": lasted,
        "usedDataIntegrationUnits": 0,
        "usedParallelCopies": 1,
        "profile": {"queue": {"status": "Completed", "duration": 0}, "transfer": step},
        "detailedDurations": {"queuingDuration": 0, "transferDuration": lasted},
    }
    return {
        "effectiveIntegrationRuntime": "this machine",
        "usedDataIntegrationUnits": 0,
        "durationInQueue": {"integrationRuntimeQueue": 0},
        "executionDetails": [detail],
    }


def _error_event(error: ActivityFailed) -> dict[str, Any]:
    return {
        "Code": error.code,
        "Message": error.message,
        "EventType": 0,
        "Category": 5,
        "Data": {},
        "MsgId": None,
        "ExceptionType": None,
        "Source": None,
        "StackTrace": None,
        "InnerEventInfos": [],
    }


def verify(call: Call, target: Data, tally: Tally) -> None:
    """Compare the size of every written file with the bytes that were sent, as validateDataConsistency demands."""
    with open_store(call, target) as store:
        for path, size in tally.written:
            found = store.find(path)
            if found is None or found.size != size:
                there = "is missing" if found is None else f"has {found.size} bytes"
                raise ActivityFailed(f"{path} {there} where {size} were written", code="UserErrorDataInconsistency")


def output_of(tally: Tally, kind: str, elapsed: float) -> dict[str, Any]:
    """Return the output of a Copy in Data Factory's names; `elapsed` is in seconds."""
    output: dict[str, Any] = {
        "dataRead": tally.data_read,
        "dataWritten": tally.data_written,
        "filesWritten": tally.files_written,
        "copyDuration": max(1, round(elapsed)),
        "throughput": round(tally.data_read / 1024 / max(elapsed, 0.001), 3),
        "errors": [],
        "sourcePeakConnections": 1,
        "sinkPeakConnections": 1,
        "usedParallelCopies": 1,
    }
    if kind not in TABLE_SOURCES | {"RestSource"}:
        output["filesRead"] = tally.files_read
    if kind != "BinarySource":
        output |= {"rowsRead": tally.rows_read, "rowsCopied": tally.rows_copied}
    return output


def conversion_of(translator: Mapping[str, Any]) -> Conversion:
    """Return how values become text, by the translator's typeConversionSettings."""
    settings = translator.get("typeConversionSettings", {})
    return Conversion(
        datetime=settings.get("dateTimeFormat", postgres.ADF_DATETIME),
        datetimeoffset=settings.get("dateTimeOffsetFormat", postgres.ADF_DATETIMEOFFSET),
        boolean_as_number=is_true(settings.get("treatBooleanAsNumber", False)),
    )


def mapped(translator: Mapping[str, Any], names: list[str]) -> tuple[list[int], list[str]]:
    """Return which columns go on, by index, and under which names; without mappings, all as they are."""
    pairs = [(pair["source"], pair["sink"]) for pair in translator.get("mappings", [])]
    if not pairs:
        return list(range(len(names))), names
    chosen = [_column(source, names) for source, _ in pairs]
    return chosen, [_sink_name(sink, source, names[index]) for (source, sink), index in zip(pairs, chosen, strict=True)]


def _column(end: Mapping[str, Any], names: list[str]) -> int:
    """Return the index of a mapping's source column, by name or by ordinal."""
    if "name" not in end and "ordinal" not in end:
        raise ActivityFailed(
            "a mapping names neither a column nor an ordinal of a source of rows",
            "a path is for JSON and REST sources",
            code="UserErrorColumnMapping",
            retriable=False,
        )
    if "name" not in end:
        index = int(end["ordinal"]) - 1
        if index < len(names):
            return index
        raise ActivityFailed(
            f"the source has {len(names)} columns, and the mapping names column {index + 1}",
            code="UserErrorColumnMapping",
        )
    name = str(end.get("name"))
    if name not in names:
        raise ActivityFailed(
            f"the source has no column {name!r}", f"it has: {', '.join(names)}", code="UserErrorColumnMapping"
        )
    return names.index(name)


def _one_step(end: Mapping[str, Any]) -> str:
    """Return the property that a path of one step names: ['a'] or $['a']."""
    found = STEP.fullmatch(str(end.get("path", "")))
    if found is None:
        raise ActivityFailed(
            f"the path {end.get('path')!r} of a mapping is not read here",
            "one step only: $['name']",
            code="UserErrorColumnMapping",
            retriable=False,
        )
    return found[1]


def _sink_name(end: Mapping[str, Any], source: Mapping[str, Any], name: str) -> str:
    if "name" in end:
        return str(end["name"])
    return _one_step(end) if "path" in end else str(source.get("name", name))


# PostgreSQL to delimited text: the server writes the lines, this process only passes them on


def copy_query(call: Call, origin: Data, target: Data, tally: Tally) -> None:
    """Copy the answer of a query into one file, by PostgreSQL's own COPY where the formats allow it."""
    source, sink, translator = call.properties["source"], call.properties["sink"], call.properties.get("translator", {})
    layout = Layout.of(target.properties, sink["formatSettings"])
    query = postgres.query_of(origin, source)
    with ExitStack() as stack:
        connection = stack.enter_context(postgres.connect(call, origin.service, postgres.timeout_of(source)))
        columns = postgres.describe(connection, query)
        chosen, names = mapped(translator, [column.name for column in columns])
        select = postgres.text_select(query, columns, conversion_of(translator), chosen)
        store = stack.enter_context(open_store(call, target))
        path = one_file(target, sink, "data")
        output = store.write(path, sink.get("storeSettings", {}), call.record.run_id)
        try:
            write = Batch(output, tally)
            if layout.header:
                write(layout.encode(layout.row(names)))
            if plain_csv(layout):
                pass_lines(postgres.copy_lines(call, connection, select, csv_options(layout)), layout, write)
            else:
                for row in postgres.text_rows(call, connection, select, len(chosen)):
                    write(layout.encode(layout.row(row)))
            write.flush()
            tally.rows_read = tally.rows_copied = write.count - int(layout.header)
            tally.data_read = tally.data_written
            output.commit()
        except BaseException:
            output.abort()
            raise
        tally.files_written = 1
        tally.written.append((path, tally.data_written))


class Batch:
    """Gathers lines into larger pieces and counts them."""

    def __init__(self, output: Sink, tally: Tally) -> None:
        self._output = output
        self._tally = tally
        self._lines: list[bytes] = []
        self._size = 0
        self.count = 0

    def __call__(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)
        self.count += 1
        if self._size >= BATCH_BYTES:
            self.flush()

    def block(self, piece: bytes, lines: int) -> None:
        """Take many lines at once."""
        self.flush()
        self._output.write(piece)
        self._tally.data_written += len(piece)
        self.count += lines

    def flush(self) -> None:
        if self._lines:
            self._output.write(b"".join(self._lines))
            self._tally.data_written += self._size
            self._lines, self._size = [], 0


def plain_csv(layout: Layout) -> bool:
    """Say whether PostgreSQL's CSV writer makes exactly these bytes (save the row delimiter)."""
    single = all(len(part.encode()) == 1 for part in (layout.delimiter, layout.quote, layout.escape) if part)
    return (
        single
        and bool(layout.quote)
        and layout.delimiter not in "\r\n"
        and layout.row_delimiter in {"\n", "\r\n"}
        and layout.escape != layout.delimiter
        and not set(layout.null) & {layout.delimiter, layout.quote, "\r", "\n"}
    )


def csv_options(layout: Layout) -> sql.Composable:
    """Return the options of PostgreSQL's COPY for a delimited layout."""
    options = sql.SQL("FORMAT csv, DELIMITER {}, QUOTE {}, ESCAPE {}, NULL {}").format(
        sql.Literal(layout.delimiter), sql.Literal(layout.quote), sql.Literal(layout.escape), sql.Literal(layout.null)
    )
    return sql.SQL("{}, FORCE_QUOTE *").format(options) if layout.quote_all else options


def pass_lines(batches: Iterator[list[bytes]], layout: Layout, write: Batch) -> None:
    """Pass COPY's lines on with the row delimiter and encoding asked for."""
    carriage = layout.row_delimiter == "\r\n"
    for lines in batches:
        block = b"".join(lines)
        if carriage and block.count(b"\n") == len(lines):
            block = block.replace(b"\n", b"\r\n")
        elif carriage:  # some value holds a line break, which stays as it is
            block = b"".join([line[:-1] + b"\r\n" for line in lines])
        write.block(block if layout.encoding == "utf-8" else layout.encode(block.decode()), len(lines))


# Any rows to any rows


def copy_rows(call: Call, origin: Data, target: Data, tally: Tally) -> None:
    """Read rows, map their columns, write them: into a table, or into one file or one for each file that was read."""
    source, sink = call.properties["source"], call.properties["sink"]
    count = rows.Count()
    with ExitStack() as stack:
        if source["type"] in TABLE_SOURCES:
            conversion = None if sink["type"] in {"JsonSink", "ParquetSink"} else conversion_of(_translator(call))
            refused = parquet.NO_TEXT if sink["type"] == "ParquetSink" else frozenset()
            read = rows.read_query(call, stack, origin, conversion, refused)
            _write_rows(call, stack, read, target, one_file(target, sink, "data"), tally)
        elif source["type"] == "RestSource":
            read = _rest_rows(call, origin)
            _write_rows(call, stack, read, target, one_file(target, sink, "data"), tally)
        else:
            store = stack.enter_context(open_store(call, origin))
            base, entries = files_of(store, origin, source.get("storeSettings", {}))
            if sink["type"] in TABLE_SINKS:
                groups = [("", entries)]
            elif not entries:
                groups = [(one_file(target, sink, "data"), [])]
            else:
                groups = _groups(base, entries, origin, target, sink)
            for path, group in groups:
                read = read_files(call, store, [entry.path for entry in group], origin, count)
                _write_rows(call, stack, read, target, path, tally)
    tally.rows_read = tally.rows_copied
    tally.files_read, tally.data_read = count.files, count.data
    if source["type"] in TABLE_SOURCES | {"RestSource"}:
        tally.data_read = tally.data_written


def _groups(
    base: str, entries: list[Entry], origin: Data, target: Data, sink: Mapping[str, Any]
) -> list[tuple[str, list[Entry]]]:
    """Return each file to write with those that are read into it: one each, under the names that they had.

    Which names files get when their format changes is not documented: then one name must be given.
    """
    settings = sink.get("storeSettings", {})
    if origin.type == target.type or target.location.get("fileName") or settings.get("copyBehavior") == "MergeFiles":
        return list(targets(base, entries, target, settings))
    if len(entries) > 1:
        raise ActivityFailed(
            f"{len(entries)} {origin.type} files would become {target.type}, under names that are not documented",
            "set copyBehavior to MergeFiles and give the sink's dataset a fileName",
            code="UserErrorInvalidCopyBehavior",
            retriable=False,
        )
    return [(one_file(target, sink, "data"), entries)]


def _rest_rows(call: Call, origin: Data) -> rows.Rows:
    collection = str(_translator(call).get("collectionReference") or "")
    objects = (item for page in rest.pages(call, origin) for item in rest.objects_of(page, collection))
    return rows.rows_of_objects(objects, _paths(call))


def _paths(call: Call) -> dict[str, str]:
    """Return the JSON paths of a mapping of a hierarchical source, by the column that each becomes; a name is a path too."""
    pairs = _translator(call).get("mappings", [])
    if call.properties["source"]["type"] not in HIERARCHICAL or not any("path" in pair["source"] for pair in pairs):
        return {}
    whole = [pair["source"]["path"] for pair in pairs if str(pair["source"].get("path", "")).startswith("$")]
    if whole and _translator(call).get("collectionReference"):
        raise ActivityFailed(
            f"{whole[0]!r} is a path beside the collection, which is not read here", "map what its items hold",
            code="UserErrorColumnMapping", retriable=False,
        )  # fmt: skip
    return {
        _sink_name(end, source, ""): _path(source) for source, end in ((each["source"], each["sink"]) for each in pairs)
    }


def _path(end: Mapping[str, Any]) -> str:
    return str(end["path"]) if "path" in end else f"['{end.get('name')}']"


def _translator(call: Call) -> Mapping[str, Any]:
    return call.properties.get("translator") or {}


def _write_rows(call: Call, stack: ExitStack, read: rows.Rows, target: Data, path: str, tally: Tally) -> None:
    """Write rows into a table, or into one file that is visible when all of it is written."""
    sink, conversion = call.properties["sink"], conversion_of(_translator(call))
    chosen, names = (
        (list(range(len(read.names))), read.names) if _paths(call) else mapped(_translator(call), read.names)
    )
    if names != read.names or chosen != list(range(len(names))):
        read = rows.Rows(names=names, values=([row[index] for index in chosen] for row in read.values))
    if sink["type"] in TABLE_SINKS:
        tally.rows_copied += rows.write_table(call, read, target, sink)
        return
    store = stack.enter_context(open_store(call, target))
    output, before = store.write(path, sink.get("storeSettings", {}), call.record.run_id), tally.data_written
    try:
        write = Batch(output, tally)
        if sink["type"] == "JsonSink":
            pattern = sink.get("formatSettings", {}).get("filePattern", "setOfObjects")
            tally.rows_copied += rows.write_json(read, pattern, write)
        elif sink["type"] == "ParquetSink":
            codec = str(target.properties.get("compressionCodec") or "snappy")
            tally.rows_copied += parquet.write_parquet(read.names, read.values, codec, write)
        else:
            layout = Layout.of(target.properties, sink["formatSettings"])
            tally.rows_copied += rows.write_delimited(read, layout, write, conversion)
        write.flush()
        output.commit()
    except BaseException:
        output.abort()
        raise
    tally.files_written += 1
    tally.written.append((path, tally.data_written - before))


def read_files(call: Call, store: Store, paths: list[str], origin: Data, count: rows.Count) -> rows.Rows:
    """Return the rows of files, one file after the other."""
    source = call.properties["source"]
    if source["type"] == "JsonSource":
        return rows.rows_of_objects(rows.json_objects(store, paths, count), _paths(call))
    if source["type"] == "ParquetSource":
        names, values = parquet.read_parquet(rows.counted(store, paths, count))
        return rows.Rows(names=names, values=values)
    skip = int(source.get("formatSettings", {}).get("skipLineCount", 0))
    return rows.read_delimited(store, paths, origin, skip, count)


def one_file(target: Data, sink: Mapping[str, Any], default: str) -> str:
    """Return the path to write: the dataset's file name, or a made-up one with the sink's extension."""
    if target.location.get("fileName"):
        return path_of(target)
    extension = str(sink.get("formatSettings", {}).get("fileExtension", ""))
    return posixpath.join(folder_of(target), f"{default}{extension}")
