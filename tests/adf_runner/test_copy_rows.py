"""Copy between tables, delimited text and JSON; scripts, deletions and validations."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
from factory_support import (
    PATHS,
    SERVICES,
    Cloud,
    Documents,
    activity,
    blob_location,
    dataset,
    expression,
    linked_service,
    pipeline,
    sftp_location,
    to,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from adf_runner import ActivityFailed, Overrides, PipelineRun, factory_from_documents, run_pipeline
from adf_runner.stores.delimited import Layout
from adf_runner.stores.delimited_reading import read_rows
from adf_runner.stores.rows import stream_objects

BLOB_READ = {"type": "AzureBlobStorageReadSettings"}
BLOB_WRITE = {"type": "AzureBlobStorageWriteSettings"}
TEXT = dataset(
    "text",
    "DelimitedText",
    "storage",
    {"location": blob_location(), "firstRowAsHeader": True, "escapeChar": '"'},
    **PATHS,
)
JSON = dataset("json", "Json", "storage", {"location": blob_location()}, schema={}, **PATHS)
TABLE = dataset("table", "AzurePostgreSqlTable", "warehouse", {"schema": "public", "table": "target"}, schema=[])
BLOB = dataset("blob", "Binary", "storage", {"location": blob_location()}, **PATHS)
REMOTE = dataset("remote", "Binary", "partner", {"location": sftp_location()}, **PATHS)
FROM = {
    "text": {"type": "DelimitedTextSource", "storeSettings": BLOB_READ},
    "json": {"type": "JsonSource", "storeSettings": BLOB_READ},
    "table": {"type": "AzurePostgreSqlSource"},
}
CSV_WRITE = {"type": "DelimitedTextWriteSettings", "fileExtension": ".csv"}
JSON_WRITE = {"type": "JsonWriteSettings", "filePattern": "setOfObjects"}
INTO = {
    "text": {"type": "DelimitedTextSink", "storeSettings": BLOB_WRITE, "formatSettings": CSV_WRITE},
    "json": {"type": "JsonSink", "storeSettings": BLOB_WRITE, "formatSettings": JSON_WRITE},
    "table": {"type": "AzurePostgreSqlSink", "preCopyScript": "truncate table target"},
}


def run_one(cloud: Cloud, *activities: dict[str, Any], extra: Documents | None = None, **linked: Any) -> PipelineRun:
    documents = {**SERVICES, **TEXT, **JSON, **TABLE, **BLOB, **REMOTE, **(extra or {}), **pipeline(list(activities))}
    return run_pipeline(factory_from_documents(documents), "main", {}, cloud.overrides(**linked))


def at(name: str, path: str) -> dict[str, Any]:
    folder, _, file = path.rpartition("/")
    return to(name) if name == "table" else to(name, folder=folder, file=file)


def copy(origin: str, goal: str, origin_path: str = "", goal_path: str = "", **more: Any) -> dict[str, Any]:
    properties = {
        "source": {**FROM[origin], **more.pop("source", {})},
        "sink": {**INTO[goal], **more.pop("sink", {})},
        **more,
    }
    return activity("Copy", "Copy", properties, inputs=[at(origin, origin_path)], outputs=[at(goal, goal_path)])


@pytest.fixture
def target(cloud: Cloud) -> Iterator[Cloud]:
    cloud.sql("create table target (id int primary key, name text, amount numeric(12,2), yes boolean, day date)")
    yield cloud
    cloud.sql("drop table target")


def rows_of(cloud: Cloud) -> list[tuple[Any, ...]]:
    with psycopg.connect(cloud.postgres.dsn()) as connection:
        return connection.execute("select id, name, amount::text, yes, day::text from target order by id").fetchall()


def test_delimited_text_fills_a_table(target: Cloud) -> None:
    target.container.upload_blob(
        "rows/in.csv", b'id,name,amount,yes,day\r\n1,"a,""b""",1.50,True,2026-11-21\r\n2,,,,\r\n', overwrite=True
    )

    run = run_one(target, copy("text", "table", "rows/in.csv"))

    assert run.status == "Succeeded", run.message
    assert rows_of(target) == [(1, 'a,"b"', "1.50", True, "2026-11-21"), (2, None, None, None, None)]
    assert (run.activities[0].output["rowsCopied"], run.activities[0].output["filesRead"]) == (2, 1)


def test_a_copy_that_breaks_off_leaves_the_table_as_it_was(target: Cloud) -> None:
    target.sql("insert into target (id) values (7)")
    target.container.upload_blob("rows/bad.csv", b"id,name\r\n1,a\r\nsecret,b\r\n", overwrite=True)

    run = run_one(target, copy("text", "table", "rows/bad.csv"))

    assert run.status == "Failed"
    assert [row[0] for row in rows_of(target)] == [7]
    assert "secret" not in json.dumps(run.to_json())


def test_a_table_becomes_json_lines_with_json_types(target: Cloud) -> None:
    target.sql("insert into target values (1, 'é', 1.50, true, '2026-11-21'), (2, null, null, null, null)")

    run = run_one(target, copy("table", "json", "", "rows/out.json"))

    assert run.status == "Succeeded", run.message
    assert [json.loads(line) for line in target.blob("rows/out.json").splitlines()] == [
        {"id": 1, "name": "é", "amount": 1.5, "yes": True, "day": "2026-11-21T00:00:00Z"},
        {"id": 2, "name": None, "amount": None, "yes": None, "day": None},
    ]


def test_json_becomes_delimited_text_with_mapped_columns(cloud: Cloud) -> None:
    cloud.container.upload_blob(
        "rows/in.json", b'[{"a": 1, "b": "x,y", "c": true}, {"a": 2.5, "b": null}]', overwrite=True
    )
    mappings = [{"source": {"name": "b"}, "sink": {"name": "B"}}, {"source": {"name": "c"}, "sink": {"name": "C"}}]

    run = run_one(
        cloud,
        copy(
            "json",
            "text",
            "rows/in.json",
            "rows/out.csv",
            translator={"type": "TabularTranslator", "mappings": mappings},
        ),
    )

    assert run.status == "Succeeded", run.message
    assert cloud.blob("rows/out.csv") == b'B,C\r\n"x,y",True\r\n,\r\n'


def test_an_array_of_objects_is_one_json_array(target: Cloud) -> None:
    target.sql("insert into target (id) values (1), (2)")
    settings = {"formatSettings": {"type": "JsonWriteSettings", "filePattern": "arrayOfObjects"}}

    run_one(
        target,
        copy(
            "table", "json", "", "rows/array.json", source={"query": "select id from target order by id"}, sink=settings
        ),
    )

    assert target.blob("rows/array.json") == b'[{"id":1},{"id":2}]'


def test_type_conversion_settings_shape_dates_and_booleans(cloud: Cloud) -> None:
    settings = {
        "dateTimeFormat": "dd.MM.yyyy HH:mm",
        "dateTimeOffsetFormat": "yyyy-MM-ddTHH:mm:ss.fffzzz",
        "treatBooleanAsNumber": True,
    }
    translator = {"type": "TabularTranslator", "typeConversion": True, "typeConversionSettings": settings}
    query = "select timestamp '2026-11-21 10:20:30' as t, timestamptz '2026-11-21 10:20:30.25+01' as z, false as b"

    run = run_one(cloud, copy("table", "text", "", "rows/formats.csv", source={"query": query}, translator=translator))

    assert run.status == "Succeeded", run.message
    assert cloud.blob("rows/formats.csv").splitlines()[1] == b"21.11.2026 10:20,2026-11-21T09:20:30.250+00:00,0"


def test_files_come_back_from_the_partner(cloud: Cloud) -> None:
    folder = cloud.sftp.root / "out"
    folder.mkdir(exist_ok=True)
    for name in ("a.ack", "b.ack", "c.txt"):
        (folder / name).write_bytes(name.encode() * 10_000)
    acks = {"type": "SftpReadSettings", "wildcardFileName": "*.ack", "deleteFilesAfterCompletion": True}
    fetch = activity(
        "Fetch", "Copy",
        {"source": {"type": "BinarySource", "storeSettings": acks},
         "sink": {"type": "BinarySink", "storeSettings": BLOB_WRITE}},
        inputs=[at("remote", "out/")], outputs=[at("blob", "acks/")],
    )  # fmt: skip

    run = run_one(cloud, fetch)

    assert run.status == "Succeeded", run.message
    assert run.activities[0].output["filesWritten"] == 2
    assert cloud.blob("acks/b.ack") == b"b.ack" * 10_000
    assert sorted(path.name for path in folder.iterdir()) == ["c.txt"]


def test_a_copied_blob_carries_the_metadata_asked_for(cloud: Cloud) -> None:
    cloud.container.upload_blob("meta/in.bin", b"x", overwrite=True)
    metadata = [{"name": "run", "value": expression("@pipeline().RunId")}]
    keep = activity(
        "Keep", "Copy",
        {"source": {"type": "BinarySource", "storeSettings": BLOB_READ},
         "sink": {"type": "BinarySink", "storeSettings": {**BLOB_WRITE, "metadata": metadata}}},
        inputs=[at("blob", "meta/in.bin")], outputs=[at("blob", "meta/out.bin")],
    )  # fmt: skip

    run = run_one(cloud, keep)

    assert cloud.container.get_blob_client("meta/out.bin").get_blob_properties().metadata == {"run": run.run_id}


class Download(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"rates\n")

    def log_message(self, *_: Any) -> None:
        pass


def test_an_http_download_lands_in_storage(cloud: Cloud) -> None:
    extra = linked_service("site", "HttpServer", {"url": "https://example.org", "authenticationType": "Anonymous"})
    extra |= dataset("page", "Binary", "site", {"location": {"type": "HttpServerLocation", "relativeUrl": "rates.txt"}})
    get = activity(
        "Get", "Copy",
        {"source": {"type": "BinarySource", "storeSettings": {"type": "HttpReadSettings", "requestMethod": "GET"}},
         "sink": {"type": "BinarySink", "storeSettings": BLOB_WRITE}},
        inputs=[to("page")], outputs=[at("blob", "web/rates.txt")],
    )  # fmt: skip
    with ThreadingHTTPServer(("127.0.0.1", 0), Download) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        run = run_one(cloud, get, extra=extra, site={"url": f"http://127.0.0.1:{http.server_port}"})
        http.shutdown()
        thread.join()

    assert run.status == "Succeeded", run.message
    assert cloud.blob("web/rates.txt") == b"rates\n"


def test_lookup_reads_delimited_and_json_files(cloud: Cloud) -> None:
    cloud.container.upload_blob("look/a.csv", b"x,y\r\n1,\r\n2,b\r\n", overwrite=True)
    cloud.container.upload_blob("look/a.json", b'{"x": 1}\n{"x": 2}\n', overwrite=True)
    csv = activity(
        "Csv", "Lookup", {"source": FROM["text"], "dataset": at("text", "look/a.csv"), "firstRowOnly": False}
    )
    lines = activity("Lines", "Lookup", {"source": FROM["json"], "dataset": at("json", "look/a.json")})

    run = run_one(cloud, csv, lines)

    assert run.find("Csv").output == {"count": 2, "value": [{"x": "1", "y": None}, {"x": "2", "y": "b"}]}
    assert run.find("Lines").output == {"firstRow": {"x": 1}}


def test_scripts_run_in_order_in_one_session(cloud: Cloud) -> None:
    scripts = [
        {
            "type": "NonQuery",
            "text": "create temporary table t as select n, n / 2.0 as half from generate_series(1, 3) n",
        },
        {"type": "NonQuery", "text": "update t set n = n + 1"},
        {"type": "Query", "text": expression("@concat('select sum(n) as total, ', '1.5 as half, null as z from t')")},
    ]
    run = run_one(
        cloud,
        activity(
            "Do",
            "Script",
            {"scripts": scripts},
            linkedServiceName={"referenceName": "warehouse", "type": "LinkedServiceReference"},
        ),
    )

    assert run.status == "Succeeded", run.message
    assert run.activities[0].output["resultSets"] == [{"rowCount": 1, "rows": [{"total": 9, "half": 1.5, "z": None}]}]
    assert run.activities[0].output["recordsAffected"] == 6


def test_delete_removes_the_files_of_a_folder(cloud: Cloud) -> None:
    for name in ("gone/a", "gone/b", "gone/deep/c"):
        cloud.container.upload_blob(name, b"x", overwrite=True)

    flat = run_one(
        cloud,
        activity(
            "Clean", "Delete", {"dataset": at("blob", "gone/"), "storeSettings": {**BLOB_READ, "recursive": False}}
        ),
    )

    assert flat.activities[0].output["filesDeleted"] == 2
    assert [blob.name for blob in cloud.container.list_blobs(name_starts_with="gone/")] == ["gone/deep/c"]


def test_validation_waits_until_the_file_is_there(cloud: Cloud) -> None:
    def arrive(_seconds: float) -> None:
        cloud.container.upload_blob("late/file", b"12345", overwrite=True)

    documents = {
        **SERVICES,
        **BLOB,
        **pipeline([activity("Look", "Validation", {"dataset": at("blob", "late/file"), "minimumSize": 5})]),
    }
    overrides = cloud.overrides()
    run = run_pipeline(
        factory_from_documents(documents), "main", {},
        Overrides(linked_services=overrides.linked_services, credential=overrides.credential, sleep=arrive),
    )  # fmt: skip

    assert run.status == "Succeeded", run.message
    assert run.activities[0].output["size"] == 5


def test_validation_gives_up_at_its_timeout(cloud: Cloud) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]

    def sleep(seconds: float) -> None:
        now[0] += timedelta(seconds=seconds)

    look = activity("Look", "Validation", {"dataset": at("blob", "never/file"), "timeout": "0.00:01:00", "sleep": 20})
    overrides = cloud.overrides()
    run = run_pipeline(
        factory_from_documents({**SERVICES, **BLOB, **pipeline([look])}), "main", {},
        Overrides(linked_services=overrides.linked_services, credential=overrides.credential, sleep=sleep, clock=lambda: now[0]),
    )  # fmt: skip

    assert run.activities[0].error["errorCode"] == "Timeout"


# Pure parts


CHARACTERS = st.sampled_from("a ,;|\"'\\\r\n") | st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff")
VALUES = st.none() | st.text(CHARACTERS, max_size=8)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    quote, escape = draw(st.sampled_from([('"', "\\"), ('"', '"'), ("'", "\\"), ("'", '"'), ("", "\\")]))
    described = {"columnDelimiter": draw(st.sampled_from(",;|\t")), "quoteChar": quote, "escapeChar": escape}
    ending = draw(st.sampled_from([None, "\r\n", "\n", "\r", "~"]))
    described |= {} if ending is None else {"rowDelimiter": ending}
    described |= {"nullValue": draw(st.sampled_from(["", "NULL"]))}
    return Layout.of(described, {"quoteAllText": bool(quote) and draw(st.booleans())})


@given(layout=layouts(), rows=st.lists(st.lists(VALUES, min_size=2, max_size=3), max_size=6), cut=st.integers(1, 9))
@settings(max_examples=500, deadline=None)
def test_what_is_written_is_read_back(layout: Layout, rows: list[list[str | None]], cut: int) -> None:
    content = layout.encode("".join(map(layout.row, rows)))
    pieces = [content[index : index + cut] for index in range(0, len(content), cut)]

    assert list(read_rows(layout, pieces)) == [
        [None if value == layout.null else value for value in row] for row in rows
    ]


def read_back(text: str, **described: str) -> list[list[str | None]]:
    return list(read_rows(Layout.of(described), [text.encode()]))


@pytest.mark.parametrize("row", [["\\", "x"], ["a\\", "b"], ["C:\\new\\t", "x"], ["end", "\\"]])
def test_an_escape_outside_of_quotes_is_a_character_like_any_other(row: list[str]) -> None:
    assert read_back(",".join(row) + "\r\n") == [row]


def test_an_escape_inside_quotes_goes_before_quotes_and_escapes_only() -> None:
    assert read_back('"a\\"b","c\\\\","C:\\new"\r\n') == [['a"b', "c\\", "C:\\new"]]


def test_only_the_row_delimiter_that_is_named_ends_a_row() -> None:
    text = "a\rb,c\r\nd,e\n"

    assert read_back(text, rowDelimiter="\n") == [["a\rb", "c\r"], ["d", "e"]]
    assert read_back(text, rowDelimiter="\r\n") == [["a\rb", "c"], ["d", "e\n"]]
    assert read_back("a,b|c,d|", rowDelimiter="|") == [["a", "b"], ["c", "d"]]
    assert read_back(text) == [["a"], ["b", "c"], ["d", "e"]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a,b\r\n"c,d\r\n', "line 2 is not delimited text: a quoted value is not closed"),
        ('a,b\r\n"c"d,e\r\n', "line 2 is not delimited text: 'd' follows a closing quote"),
        ('a,""\r\n"c,"",d",e\r\n', "line 2 is not delimited text: '\"' follows a closing quote"),
        ('a,"b\n' + "x" * 99 + "\n", "line 1 is not delimited text: a quoted value is longer than 64 characters"),
        ("a\n" + "x" * 99, "line 2 is not delimited text: it is longer than 64 characters"),
    ],
)
def test_text_that_is_not_delimited_is_refused_with_its_line(
    monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setattr("adf_runner.stores.delimited_reading.MOST_CHARACTERS", 64)

    with pytest.raises(ActivityFailed, match=said):
        read_back(text)


@given(
    objects=st.lists(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5) | st.none(), max_size=3)),
    cut=st.integers(1, 9),
)
def test_json_is_read_from_any_pieces(objects: list[dict[str, Any]], cut: int) -> None:
    for text in (json.dumps(objects), "\n".join(json.dumps(item) for item in objects), json.dumps(objects, indent=1)):
        content = text.encode()
        assert list(stream_objects(content[index : index + cut] for index in range(0, len(content), cut))) == objects


@pytest.mark.parametrize("text", ["[1]", '{"a"', "[{}", "nonsense", '[{"a": 1} {"b"]'])
def test_text_that_is_no_json_objects_is_refused(text: str) -> None:
    with pytest.raises(ActivityFailed):
        list(stream_objects([text.encode()]))


@pytest.mark.parametrize(
    "layout",
    [
        {"delimiter": "ab"},
        {"row_delimiter": "xy"},
        {"quote": "''"},
        {"escape": ""},
        {"quote": "", "quote_all": True},
        {"delimiter": '"'},
        {"delimiter": "\n"},
        {"delimiter": "\\"},
        {"row_delimiter": '"'},
    ],
)
def test_layouts_that_copy_refuses_are_refused(layout: dict[str, Any]) -> None:
    with pytest.raises(ActivityFailed):
        Layout(**layout).check()


NASTY = [
    "",
    "a",
    " a ",
    "a,b",
    "a;b",
    'a"b',
    '"',
    '""',
    "a'b",
    "a\\b",
    "\\",
    "a\nb",
    "a\r\nb",
    "\r",
    "NULL",
    "null",
    "é€",
    "\t",
    None,
]


def literal(value: str | None) -> str:
    if value is None:
        return "null"
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


@pytest.mark.parametrize("null", ["", "NULL", "\\N"])
@pytest.mark.parametrize("escape", ['"', "\\"])
@pytest.mark.parametrize("quote_all", [False, True])
def test_the_database_and_this_program_write_the_same_text(
    cloud: Cloud, null: str, escape: str, quote_all: bool
) -> None:
    rows = [(left, right) for left in NASTY for right in NASTY]
    literals = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    shape = dataset(
        "text",
        "DelimitedText",
        "storage",
        {"location": blob_location(), "escapeChar": escape, "nullValue": null},
        **PATHS,
    )
    sink = {**INTO["text"], "formatSettings": {**CSV_WRITE, "quoteAllText": quote_all}}

    run = run_one(
        cloud,
        copy("table", "text", "", "rows/same.csv", source={"query": f"values {literals}"}, sink=sink),
        extra=shape,
    )

    assert run.status == "Succeeded", run.message
    layout = Layout(escape=escape, null=null, quote_all=quote_all)
    assert cloud.blob("rows/same.csv").decode() == "".join(layout.row(row) for row in rows)


def test_consistency_is_verified_when_asked(cloud: Cloud) -> None:
    cloud.container.upload_blob("sure/in.csv", b"a\r\n1\r\n", overwrite=True)

    run = run_one(cloud, copy("text", "json", "sure/in.csv", "sure/out.json", validateDataConsistency=True))

    assert run.activities[0].output["dataConsistencyVerification"] == {"VerificationResult": "Verified"}
