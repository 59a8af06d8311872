"""Connectors against real services: PostgreSQL, Azurite over TLS with tokens, an SSH server, a vault."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
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
    secret,
    sftp_location,
    to,
)

from adf_runner import PipelineRun, factory_from_documents, run_pipeline
from adf_runner.activities.table import HANDLERS
from adf_runner.run.engine import Engine
from local.sftp import SftpFaults

TABLE = dataset("table", "AzurePostgreSqlTable", "warehouse", {}, schema=[])
BLOB_BINARY = dataset("blob", "Binary", "storage", {"location": blob_location()}, **PATHS)
SFTP_BINARY = dataset("remote", "Binary", "partner", {"location": sftp_location()}, **PATHS)


def text_dataset(**layout: Any) -> Documents:
    return dataset("text", "DelimitedText", "storage", {"location": blob_location(), **layout}, **PATHS)


def extract(query: str, file: str = "out.csv", **settings: Any) -> dict[str, Any]:
    return activity(
        "Extract",
        "Copy",
        {
            "source": {"type": "AzurePostgreSqlSource", "query": query},
            "sink": {
                "type": "DelimitedTextSink",
                "storeSettings": {"type": "AzureBlobStorageWriteSettings"},
                "formatSettings": {"type": "DelimitedTextWriteSettings", "fileExtension": ".csv", **settings},
            },
        },
        inputs=[to("table")],
        outputs=[to("text", folder="extracts", file=file)],
    )


def send(source: str, target: str, **settings: Any) -> dict[str, Any]:
    folder, _, name = source.rpartition("/")
    target_folder, _, target_name = target.rpartition("/")
    return activity(
        "Send",
        "Copy",
        {
            "source": {"type": "BinarySource", "storeSettings": {"type": "AzureBlobStorageReadSettings"}},
            "sink": {"type": "BinarySink", "storeSettings": {"type": "SftpWriteSettings", **settings}},
        },
        inputs=[to("blob", folder=folder, file=name)],
        outputs=[to("remote", folder=target_folder, file=target_name)],
    )


def run_one(cloud: Cloud, documents: Documents, *activities: dict[str, Any], **linked_services: Any) -> PipelineRun:
    factory = factory_from_documents({**SERVICES, **documents, **pipeline(list(activities))})
    return run_pipeline(factory, "main", {}, cloud.overrides(**linked_services))


def test_rows_become_delimited_text_with_data_factorys_defaults(cloud: Cloud) -> None:
    query = """select 1 as n, 12.50::numeric(12,2) as amount, true as yes, null::text as nothing, 'a,b' as comma,
               'say "hi"' as quoted, date '2026-11-21' as day, timestamp '2026-11-21 10:20:30.5' as at, 'plain' as t"""

    run = run_one(cloud, text_dataset(firstRowAsHeader=True) | TABLE, extract(query))

    assert run.status == "Succeeded", run.message
    assert cloud.blob("extracts/out.csv") == (
        b"n,amount,yes,nothing,comma,quoted,day,at,t\r\n"
        b'1,12.50,True,,"a,b","say \\"hi\\"",2026-11-21 00:00:00.0000000,2026-11-21 10:20:30.5000000,plain\r\n'
    )
    output = run.activities[0].output
    assert (output["rowsRead"], output["rowsCopied"], output["filesWritten"], output["errors"]) == (1, 1, 1, [])


def test_every_layout_property_shapes_the_text(cloud: Cloud) -> None:
    layout = text_dataset(columnDelimiter=";", rowDelimiter="\n", quoteChar="'", escapeChar="'", nullValue="NULL",
                          encodingName="ISO-8859-1")  # fmt: skip

    run = run_one(
        cloud, layout | TABLE, extract("values ('é', 'it''s', null), ('NULL', 'a;b', 'x')", quoteAllText=False)
    )

    assert run.status == "Succeeded", run.message
    assert cloud.blob("extracts/out.csv") == "é;'it''s';NULL\n'NULL';'a;b';x\n".encode("latin-1")


def test_a_line_break_in_a_value_stays_as_it_is(cloud: Cloud) -> None:
    run = run_one(cloud, text_dataset(escapeChar='"') | TABLE, extract("values (E'a\nb', 'x'), ('c', E'\r\n')"))

    assert run.status == "Succeeded", run.message
    assert cloud.blob("extracts/out.csv") == b'"a\nb",x\r\nc,"\r\n"\r\n'


def test_an_empty_result_is_an_empty_file(cloud: Cloud) -> None:
    run = run_one(cloud, text_dataset() | TABLE, extract("select 1 as n where false"))

    assert (run.status, cloud.blob("extracts/out.csv")) == ("Succeeded", b"")
    assert run.activities[0].output["rowsCopied"] == 0


def test_a_query_is_cut_off_at_its_timeout(cloud: Cloud) -> None:
    slow = extract("select pg_sleep(30)::text as x")
    slow["typeProperties"]["source"]["queryTimeout"] = "00:00:01"

    run = run_one(cloud, text_dataset() | TABLE, slow)

    assert "took longer than allowed" in run.message


def test_cancelling_a_run_cancels_its_query(cloud: Cloud) -> None:
    documents = {**SERVICES, **text_dataset(), **TABLE, **pipeline([extract("select pg_sleep(60)::text as x")])}
    engine = Engine(factory_from_documents(documents), cloud.overrides(), HANDLERS)
    ready, frame = engine.start("main", {})
    thread = threading.Thread(target=engine.run, args=(ready, frame))
    thread.start()
    while not active_queries(cloud):
        thread.join(0.02)

    engine.cancel()
    thread.join(20)

    assert (thread.is_alive(), frame.run.status) == (False, "Cancelled")
    assert not active_queries(cloud)


def active_queries(cloud: Cloud) -> int:
    with psycopg.connect(cloud.postgres.dsn()) as connection:
        found = connection.execute(
            "select count(*) from pg_stat_activity"
            " where query like '%pg_sleep(60)%' and pid <> pg_backend_pid() and state = 'active'"
        ).fetchone()
    assert found is not None
    return int(found[0])


def test_quote_all_text_quotes_every_value(cloud: Cloud) -> None:
    run = run_one(cloud, text_dataset(escapeChar='"') | TABLE, extract("select 1 as a, 'x' as b", quoteAllText=True))

    assert run.status == "Succeeded", run.message
    assert cloud.blob("extracts/out.csv") == b'"1","x"\r\n'


def test_without_a_quote_character_delimiters_are_escaped(cloud: Cloud) -> None:
    run = run_one(cloud, text_dataset(quoteChar="", columnDelimiter="|") | TABLE, extract("values ('a|b', 'c\\d')"))

    assert run.status == "Succeeded", run.message
    assert cloud.blob("extracts/out.csv") == b"a\\|b|c\\\\d\r\n"


def test_a_character_that_the_encoding_lacks_is_an_error(cloud: Cloud) -> None:
    run = run_one(cloud, text_dataset(encodingName="ISO-8859-1") | TABLE, extract("select '€' as price"))

    assert run.status == "Failed"
    assert "U+20AC" in run.message


def test_many_rows_arrive_in_order_in_several_blocks(cloud: Cloud) -> None:
    query = "select n, repeat('x', 100) as filler from generate_series(1, 100000) as n order by n"

    run = run_one(cloud, text_dataset(rowDelimiter="\n") | TABLE, extract(query))

    lines = cloud.blob("extracts/out.csv").decode().splitlines()
    assert [int(line.partition(",")[0]) for line in lines] == list(range(1, 100_001))
    assert run.activities[0].output["rowsCopied"] == 100_000


def test_a_failed_extract_leaves_no_blob(cloud: Cloud) -> None:
    run = run_one(
        cloud, text_dataset() | TABLE, extract("select 1/(n-5000) from generate_series(1,9000) n", file="none.csv")
    )

    assert run.status == "Failed"
    assert not cloud.container.get_blob_client("extracts/none.csv").exists()


def test_database_errors_never_carry_row_data(cloud: Cloud) -> None:
    run = run_one(cloud, text_dataset() | TABLE, extract("select ('secret ' || n)::int from generate_series(1,3) n"))

    assert run.status == "Failed"
    assert "22P02" in run.message
    assert "secret" not in str(run.to_json()["activities"][0]["error"])


def test_database_errors_about_names_are_told_in_full(cloud: Cloud) -> None:
    run = run_one(cloud, text_dataset() | TABLE, extract("select x from nowhere"))

    assert 'relation "nowhere" does not exist' in run.message


def test_a_type_whose_text_is_unknown_is_refused_with_the_cast(cloud: Cloud) -> None:
    run = run_one(cloud, text_dataset() | TABLE, extract("select interval '1 day' as span"))

    assert "cast it in the query: span::text" in run.activities[0].error["hint"]


def test_lookup_returns_typed_values(cloud: Cloud) -> None:
    look = activity(
        "Look",
        "Lookup",
        {
            "source": {
                "type": "AzurePostgreSqlSource",
                "query": "select 7 as n, 1.5 as d, true as b, null as x, date '2026-11-21' as day",
            },
            "dataset": to("table"),
        },
    )

    run = run_one(cloud, TABLE, look)

    assert run.activities[0].output["firstRow"] == {
        "n": 7,
        "d": 1.5,
        "b": True,
        "x": None,
        "day": "2026-11-21T00:00:00Z",
    }


def test_lookup_of_many_rows_is_cut_at_five_thousand(cloud: Cloud) -> None:
    look = activity(
        "Look",
        "Lookup",
        {
            "source": {"type": "AzurePostgreSqlSource", "query": "select n from generate_series(1, 6000) n"},
            "dataset": to("table"),
            "firstRowOnly": False,
        },
    )

    run = run_one(cloud, TABLE, look)

    assert run.activities[0].output["count"] == 5000


def test_a_blob_reaches_the_partner_under_its_name_only(cloud: Cloud) -> None:
    content = bytes(range(256)) * 5000
    cloud.container.upload_blob("sealed/a.bin", content, overwrite=True)

    run = run_one(cloud, BLOB_BINARY | SFTP_BINARY, send("sealed/a.bin", "in/deep/a.sealed"))

    assert run.status == "Succeeded", run.message
    assert (cloud.sftp.root / "in/deep/a.sealed").read_bytes() == content
    renames = [op for op in cloud.sftp.operations() if "rename" in op["operation"] and "a.sealed" in op["path"]]
    assert re.search(r"a\.sealed\.[0-9a-f-]{36}", str(renames[-1]))
    assert run.activities[0].output["dataWritten"] == len(content)


def test_a_second_copy_replaces_the_first(cloud: Cloud) -> None:
    for content in (b"first, and longer", b"second"):
        cloud.container.upload_blob("sealed/b.bin", content, overwrite=True)
        run = run_one(cloud, BLOB_BINARY | SFTP_BINARY, send("sealed/b.bin", "in/b.sealed"))
        assert run.status == "Succeeded", run.message

    assert (cloud.sftp.root / "in/b.sealed").read_bytes() == b"second"


def test_a_connection_that_breaks_leaves_nothing_and_a_retry_delivers(cloud: Cloud) -> None:
    content = bytes(range(256)) * 8000
    cloud.container.upload_blob("sealed/f.bin", content, overwrite=True)
    cloud.sftp.set_faults(SftpFaults(drop_after_bytes=500_000))
    again = send("sealed/f.bin", "broken/f.sealed")
    again["policy"] = {
        "timeout": "0.00:05:00",
        "retry": 1,
        "retryIntervalInSeconds": 30,
        "secureInput": False,
        "secureOutput": False,
    }
    try:
        run = run_one(cloud, BLOB_BINARY | SFTP_BINARY, again)
    finally:
        cloud.sftp.set_faults()

    assert run.status == "Succeeded", run.message
    assert len(run.activities[0].attempts) == 1
    assert (cloud.sftp.root / "broken/f.sealed").read_bytes() == content


def test_a_refused_rename_fails_the_copy_and_removes_the_temporary_file(cloud: Cloud) -> None:
    cloud.container.upload_blob("sealed/g.bin", b"g", overwrite=True)
    cloud.sftp.set_faults(SftpFaults(refuse_rename=True))
    try:
        run = run_one(cloud, BLOB_BINARY | SFTP_BINARY, send("sealed/g.bin", "refused/g.sealed"))
    finally:
        cloud.sftp.set_faults()

    assert run.status == "Failed"
    assert list((cloud.sftp.root / "refused").iterdir()) == []


def test_one_refused_write_fails_the_copy_though_all_others_arrive(cloud: Cloud) -> None:
    cloud.container.upload_blob("sealed/w.bin", bytes(range(256)) * 8000, overwrite=True)
    cloud.sftp.set_faults(SftpFaults(fail_write_at=1_000_000))
    try:
        run = run_one(cloud, BLOB_BINARY | SFTP_BINARY, send("sealed/w.bin", "hole/w.sealed"))
    finally:
        cloud.sftp.set_faults()

    assert run.status == "Failed"
    assert list((cloud.sftp.root / "hole").iterdir()) == []


def test_without_temporary_names_the_file_is_written_in_place(cloud: Cloud) -> None:
    cloud.container.upload_blob("sealed/h.bin", b"h", overwrite=True)

    run = run_one(cloud, BLOB_BINARY | SFTP_BINARY, send("sealed/h.bin", "in/h.sealed", useTempFileRename=False))

    assert run.status == "Succeeded", run.message
    assert not [op for op in cloud.sftp.operations() if "rename" in op["operation"] and "h.sealed" in op["path"]]


def send_list(path: str) -> dict[str, Any]:
    copy = send("sealed/", "listed/", copyBehavior="PreserveHierarchy")
    copy["inputs"], copy["outputs"] = [to("blob", folder="sealed", file="")], [to("remote", folder="listed", file="")]
    copy["typeProperties"]["source"]["storeSettings"]["fileListPath"] = path
    return copy


def test_a_list_names_the_files_that_one_copy_sends(cloud: Cloud) -> None:
    for name in ("a.bin", "b.bin", "c.bin"):
        cloud.container.upload_blob(f"sealed/{name}", name.encode(), overwrite=True)
    cloud.container.upload_blob("sealed/send/list.txt", b"c.bin\r\na.bin\n\n", overwrite=True)

    run = run_one(cloud, BLOB_BINARY | SFTP_BINARY, send_list(f"{cloud.container.container_name}/sealed/send/list.txt"))

    assert run.status == "Succeeded", run.message
    assert run.find("Send").output["filesWritten"] == 2
    assert sorted(path.name for path in (cloud.sftp.root / "listed").iterdir()) == ["a.bin", "c.bin"]


@pytest.mark.parametrize(
    ("path", "why"), [("other/list.txt", "not in the dataset's container"), ("{}/sealed/send/gone.txt", "gone.bin")]
)
def test_a_list_of_another_place_or_of_missing_files_is_refused(cloud: Cloud, path: str, why: str) -> None:
    cloud.container.upload_blob("sealed/send/gone.txt", b"gone.bin\n", overwrite=True)

    run = run_one(cloud, BLOB_BINARY | SFTP_BINARY, send_list(path.format(cloud.container.container_name)))

    assert run.status == "Failed"
    assert why in run.message


def test_the_fingerprint_may_be_sha256(cloud: Cloud) -> None:
    cloud.container.upload_blob("sealed/c.bin", b"c", overwrite=True)
    partner = {**cloud.overrides().linked_services["partner"], "hostKeyFingerprint": cloud.sftp.host_key_sha256}

    run = run_one(cloud, BLOB_BINARY | SFTP_BINARY, send("sealed/c.bin", "in/c.sealed"), partner=partner)

    assert run.status == "Succeeded", run.message


def test_another_host_key_is_refused_before_any_credential(cloud: Cloud) -> None:
    cloud.container.upload_blob("sealed/d.bin", b"d", overwrite=True)
    pinned = cloud.sftp.host_key_md5[:-2] + ("00" if cloud.sftp.host_key_md5[-2:] != "00" else "01")
    partner = {**cloud.overrides().linked_services["partner"], "hostKeyFingerprint": pinned}
    asked_before = len(cloud.vault.requests())

    run = run_one(cloud, BLOB_BINARY | SFTP_BINARY, send("sealed/d.bin", "in/d.sealed"), partner=partner)

    assert "not the pinned" in run.message
    assert len(cloud.vault.requests()) == asked_before


@pytest.mark.parametrize("kind", ["openssh rsa", "pkcs8 rsa", "ed25519"])
def test_a_key_that_data_factory_refuses_is_refused_here(cloud: Cloud, kind: str) -> None:
    cloud.container.upload_blob("sealed/e.bin", b"e", overwrite=True)
    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 2048)
    shape = serialization.PrivateFormat.PKCS8 if kind == "pkcs8 rsa" else serialization.PrivateFormat.OpenSSH
    pem = key.private_bytes(serialization.Encoding.PEM, shape, serialization.NoEncryption())
    cloud.vault.set_secret("bad-key", base64.b64encode(pem).decode())
    documents: Documents = {**SERVICES, **BLOB_BINARY, **SFTP_BINARY, **pipeline([send("sealed/e.bin", "in/e")])}
    partner = documents["linkedService/partner.json"]["properties"]
    changed = {**partner, "typeProperties": {**partner["typeProperties"], "privateKeyContent": {
        **partner["typeProperties"]["privateKeyContent"], "secretName": "bad-key"}}}  # fmt: skip
    documents["linkedService/partner.json"] = {"name": "partner", "properties": changed}

    run = run_pipeline(factory_from_documents(documents), "main", {}, cloud.overrides())

    assert "classic PEM RSA only" in run.message
    assert "ssh-keygen -t rsa -b 4096 -m PEM" in run.activities[0].error["hint"]


def metadata(name: str, file: str, *fields: str) -> dict[str, Any]:
    folder, _, item = file.rpartition("/")
    return activity("Look", "GetMetadata", {"dataset": to(name, folder=folder, file=item), "fieldList": list(fields)})


@pytest.mark.parametrize("store", ["blob", "remote"])
def test_metadata_of_a_missing_file_says_that_it_does_not_exist(cloud: Cloud, store: str) -> None:
    run = run_one(cloud, BLOB_BINARY | SFTP_BINARY, metadata(store, "no/such", "exists", "size"))

    assert run.activities[0].output == {"exists": False}


@pytest.mark.parametrize("store", ["blob", "remote"])
def test_metadata_of_a_missing_file_is_an_error_when_exists_is_not_asked(cloud: Cloud, store: str) -> None:
    run = run_one(cloud, BLOB_BINARY | SFTP_BINARY, metadata(store, "no/such", "size"))

    assert run.status == "Failed"


def test_metadata_of_files_and_folders(cloud: Cloud) -> None:
    cloud.container.upload_blob("described/a.txt", b"hello", overwrite=True)
    cloud.container.upload_blob("described/sub/b.txt", b"b", overwrite=True)

    file = run_one(
        cloud,
        BLOB_BINARY,
        metadata("blob", "described/a.txt", "exists", "itemName", "itemType", "size", "contentMD5", "lastModified"),
    )
    folder = run_one(cloud, BLOB_BINARY, metadata("blob", "described", "childItems", "itemType"))

    output = file.activities[0].output
    assert (output["exists"], output["itemName"], output["itemType"], output["size"]) == (True, "a.txt", "File", 5)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", output["lastModified"])
    items = folder.activities[0].output["childItems"]
    assert sorted(items, key=str) == [{"name": "a.txt", "type": "File"}, {"name": "sub", "type": "Folder"}]


# HTTP: a small real server; functions and web share the rules


class Answers(BaseHTTPRequestHandler):
    """Answers what the path asks for and keeps what it was sent."""

    seen: list[dict[str, Any]] = []  # noqa: RUF012 - one server a test session, read after each call

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        Answers.seen.append(
            {"path": self.path, "headers": dict(self.headers), "body": self.rfile.read(length).decode()}
        )
        status, body, headers = 200, b'{"ok": true}', {}
        if "array" in self.path:
            body = b"[1]"
        elif "text" in self.path:
            body = b"hello"
        elif "conflict" in self.path:
            status, body = 409, b'{"error": "the raw files differ", "hint": "plan again", "batch": "b"}'
        elif "started" in self.path:
            status, body, headers = 202, b"", {"Location": "/api/done", "Retry-After": "3"}
        elif "empty" in self.path:
            status, body = 201, b""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def web(url: str, method: str = "GET", **properties: Any) -> dict[str, Any]:
    return activity("Call", "WebActivity", {"url": url, "method": method, **properties})


def test_web_sends_the_identitys_token_and_shows_it_nowhere(cloud: Cloud, server: str) -> None:
    run = run_one(
        cloud, {}, web(f"{server}/x", authentication={"type": "MSI", "resource": "https://management.azure.com/"})
    )

    assert run.status == "Succeeded", run.message
    sent = Answers.seen[-1]["headers"]["Authorization"]
    assert sent.startswith("Bearer ")
    assert sent.removeprefix("Bearer ") not in str(run.to_json())
    assert run.activities[0].output["ok"] is True


def test_web_follows_location_until_the_work_is_done(cloud: Cloud, server: str) -> None:
    run = run_one(cloud, {}, web(f"{server}/started", "POST", body="{}"))

    assert run.activities[0].output["ok"] is True
    assert Answers.seen[-1]["path"] == "/api/done"


def test_web_with_turn_off_async_does_not_poll(cloud: Cloud, server: str) -> None:
    run = run_one(cloud, {}, web(f"{server}/started", "POST", body="{}", turnOffAsync=True))

    assert run.status == "Succeeded"
    assert run.activities[0].output["ADFWebActivityResponseHeaders"]["Location"] == "/api/done"


@pytest.mark.parametrize(("path", "text"), [("array", "[1]"), ("text", "hello"), ("empty", "")])
def test_web_answers_other_than_json_objects_are_text_in_response(
    cloud: Cloud, server: str, path: str, text: str
) -> None:
    run = run_one(cloud, {}, web(f"{server}/{path}"))

    assert run.status == "Succeeded", run.message
    assert run.activities[0].output["Response"] == text


def test_web_answer_with_an_error_fails_with_its_words_and_the_hint_apart(cloud: Cloud, server: str) -> None:
    run = run_one(cloud, {}, web(f"{server}/conflict"))

    assert run.status == "Failed"
    assert "the raw files differ" in run.message
    assert "hint" not in run.activities[0].error["message"]
    assert run.activities[0].error["hint"] == "plan again"


def test_function_call_carries_the_key_and_a_failed_one_tells_error_and_hint(cloud: Cloud, server: str) -> None:
    cloud.vault.set_secret("function-key", "open sesame")
    service = linked_service(
        "app", "AzureFunction", {"functionAppUrl": "https://app.example", "functionKey": secret("function-key")}
    )
    call = activity(
        "Call",
        "AzureFunctionActivity",
        {"functionName": "batches/b/conflict", "method": "POST", "body": {"run": expression("@pipeline().RunId")}},
        linkedServiceName={"referenceName": "app", "type": "LinkedServiceReference"},
    )

    run = run_one(cloud, service, call, app={"functionAppUrl": server})

    assert Answers.seen[-1]["path"] == "/api/batches/b/conflict"
    assert Answers.seen[-1]["headers"]["x-functions-key"] == "open sesame"
    assert Answers.seen[-1]["body"] == f'{{"run":"{run.run_id}"}}'
    assert "the raw files differ" in run.message
    assert run.activities[0].error["hint"] == "plan again"
    assert "open sesame" not in str(run.to_json())
