"""Copy: from one place to another with constant memory, in the pairs that the project can vouch for.

Rows go from PostgreSQL, delimited text or JSON to delimited text, JSON or PostgreSQL; files go as they are, Binary to
Binary. What Azure adds (staging, parallel reads, fault tolerance) is refused.
"""

from __future__ import annotations

import posixpath
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from psycopg import sql

from adf_runner.errors import ActivityFailed
from adf_runner.stores import postgres, rows
from adf_runner.stores.delimited import Layout, is_true
from adf_runner.stores.opening import open_store
from adf_runner.stores.postgres import Conversion
from adf_runner.stores.store import Entry, Sink, Store, folder_of, path_of

if TYPE_CHECKING:
    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Data

BATCH_BYTES = 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a copy counts as it goes."""

    rows_read: int = 0
    rows_copied: int = 0
    data_read: int = 0
    data_written: int = 0
    files_read: int = 0
    files_written: int = 0
    written: list[tuple[str, int]] = field(default_factory=list)


def copy_activity(call: Call) -> dict[str, Any]:
    """Copy, and answer what ADF's monitor shows."""
    services = call.engine.services
    source, sink = call.properties["source"], call.properties["sink"]
    origin = services.dataset(call, call.activity.inputs[0], "inputs[0]")
    target = services.dataset(call, call.activity.outputs[0], "outputs[0]")
    tally, began = Tally(), time.monotonic()
    if source["type"] == "BinarySource":
        copy_files(call, origin, target, tally)
    elif source["type"] == "AzurePostgreSqlSource" and sink["type"] == "DelimitedTextSink":
        copy_query(call, origin, target, tally)
    else:
        copy_rows(call, origin, target, tally)
    output = output_of(tally, source["type"], time.monotonic() - began)
    if is_true(call.properties.get("validateDataConsistency", False)):
        verify(call, target, tally)
        output["dataConsistencyVerification"] = {"VerificationResult": "Verified"}
    return output


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
        "usedParallelCopies": 1,
    }
    if kind != "AzurePostgreSqlSource":
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
    pairs = [(pair["source"]["name"], pair["sink"]["name"]) for pair in translator.get("mappings", [])]
    if not pairs:
        return list(range(len(names))), names
    missing = [name for name, _ in pairs if name not in names]
    if missing:
        raise ActivityFailed(
            f"the source has no column {missing[0]!r}", f"it has: {', '.join(names)}", code="UserErrorColumnMapping"
        )
    return [names.index(name) for name, _ in pairs], [name for _, name in pairs]


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
    """Read rows, map their columns, write them: one file or one table."""
    source, sink, translator = call.properties["source"], call.properties["sink"], call.properties.get("translator", {})
    conversion, count = conversion_of(translator), rows.Count()
    with ExitStack() as stack:
        read = read_rows(call, stack, origin, count, conversion, typed=sink["type"] == "JsonSink")
        chosen, names = mapped(translator, read.names)
        if names != read.names or chosen != list(range(len(names))):
            read = rows.Rows(names=names, values=([row[index] for index in chosen] for row in read.values))
        if sink["type"] == "AzurePostgreSqlSink":
            tally.rows_copied = rows.write_table(call, read, target, sink)
        else:
            store = stack.enter_context(open_store(call, target))
            path = one_file(target, sink, "data")
            output = store.write(path, sink.get("storeSettings", {}), call.record.run_id)
            try:
                write = Batch(output, tally)
                if sink["type"] == "JsonSink":
                    pattern = sink.get("formatSettings", {}).get("filePattern", "setOfObjects")
                    tally.rows_copied = rows.write_json(read, pattern, write)
                else:
                    layout = Layout.of(target.properties, sink["formatSettings"])
                    tally.rows_copied = rows.write_delimited(read, layout, write, conversion)
                write.flush()
                output.commit()
            except BaseException:
                output.abort()
                raise
            tally.files_written = 1
            tally.written.append((path, tally.data_written))
    tally.rows_read = tally.rows_copied
    tally.files_read, tally.data_read = count.files, count.data
    if source["type"] == "AzurePostgreSqlSource":
        tally.data_read = tally.data_written


def read_rows(
    call: Call, stack: ExitStack, origin: Data, count: rows.Count, conversion: Conversion, *, typed: bool
) -> rows.Rows:
    """Return the rows of a query or of delimited files, opened on `stack`."""
    source = call.properties["source"]
    if source["type"] == "AzurePostgreSqlSource":
        return rows.read_query(call, stack, origin, conversion, typed=typed)
    store = stack.enter_context(open_store(call, origin))
    _, entries = files_of(store, origin, source.get("storeSettings", {}))
    paths = [entry.path for entry in entries]
    if source["type"] == "JsonSource":
        return rows.read_json(store, paths, count)
    skip = int(source.get("formatSettings", {}).get("skipLineCount", 0))
    return rows.read_delimited(store, paths, origin, skip, count)


def one_file(target: Data, sink: Mapping[str, Any], default: str) -> str:
    """Return the path to write: the dataset's file name, or a made-up one with the sink's extension."""
    if target.location.get("fileName"):
        return path_of(target)
    extension = str(sink.get("formatSettings", {}).get("fileExtension", ""))
    return posixpath.join(folder_of(target), f"{default}{extension}")


# Files as they are


def copy_files(call: Call, origin: Data, target: Data, tally: Tally) -> None:
    """Copy one file, or all that the folder and wildcards of the source name."""
    source, sink = call.properties["source"], call.properties["sink"]
    settings = sink.get("storeSettings", {})
    flat = settings.get("copyBehavior") == "FlattenHierarchy"
    with ExitStack() as stack:
        reading = stack.enter_context(open_store(call, origin))
        writing = stack.enter_context(open_store(call, target))
        base, entries = files_of(reading, origin, source.get("storeSettings", {}))
        for entry in entries:
            call.check_time()
            relative = entry.name if flat or not base else entry.path.removeprefix(f"{base}/")
            name = str(target.location.get("fileName") or relative)
            copy_file(call, reading, entry, writing, posixpath.join(folder_of(target), name), settings, tally)
            if is_true(source.get("storeSettings", {}).get("deleteFilesAfterCompletion", False)):
                reading.delete(entry.path)


def files_of(store: Store, data: Data, settings: Mapping[str, Any]) -> tuple[str, list[Entry]]:
    """Return the folder that relative names start from, and the files to read."""
    wildcard = settings.get("wildcardFileName")
    folder = str(settings.get("wildcardFolderPath") or folder_of(data)).strip("/") if wildcard else folder_of(data)
    if any(mark in folder for mark in "*?"):
        raise ActivityFailed(
            "wildcards in folder names are not supported", "name the folder", code="BadRequest", retriable=False
        )
    if data.location.get("fileName") and not wildcard:
        found = store.find(path_of(data))
        if found is None or found.is_folder:
            raise ActivityFailed(
                f"there is no file {path_of(data)}", "was it written before?", code="UserErrorFileNotFound"
            )
        return folder, [found]
    if not wildcard and data.service.type == "HttpServer":
        found = store.find("")
        return "", [found] if found else []
    recursive = is_true(settings.get("recursive", True))
    files = [
        entry for entry in store.list(folder, recursive=recursive)
        if not entry.is_folder and fnmatchcase(entry.name, str(wildcard or "*"))
    ]  # fmt: skip
    if not files and wildcard is None and store.find(folder) is None:
        raise ActivityFailed(f"there is no folder {folder}", code="UserErrorFileNotFound")
    return folder, files


def copy_file(
    call: Call, reading: Store, entry: Entry, writing: Store, path: str, settings: Mapping[str, Any], tally: Tally
) -> None:
    """Copy one file byte by byte; nothing is visible under its name before all of it is written."""
    output = writing.write(path, settings, call.record.run_id)
    try:
        written = 0
        for piece in reading.read(entry.path):
            output.write(piece)
            written += len(piece)
        output.commit()
    except BaseException:
        output.abort()
        raise
    tally.files_read += 1
    tally.files_written += 1
    tally.written.append((path, written))
    tally.data_read += written
    tally.data_written += written
