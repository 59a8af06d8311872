"""What other people's factories use: Data Lake, connection strings and SAS, packed files, many files at once, REST."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas
from factory_support import (
    PATHS,
    SERVICES,
    Cloud,
    Documents,
    activity,
    blob_location,
    dataset,
    linked_service,
    pipeline,
    secret,
    to,
)

from adf_runner import Overrides, PipelineRun, factory_from_documents, run_pipeline

ACCOUNT = "sealiftraw"
LAKE = linked_service("lake", "AzureBlobFS", {"url": "https://x.dfs.core.windows.net"})
LAKE_FILES = dataset(
    "lake_files", "Binary", "lake", {"location": {**blob_location(), "type": "AzureBlobFSLocation"}}, **PATHS
)
LAKE_FILES["dataset/lake_files.json"]["properties"]["typeProperties"]["location"]["fileSystem"] = LAKE_FILES[
    "dataset/lake_files.json"
]["properties"]["typeProperties"]["location"].pop("container")
BLOB = dataset("blob", "Binary", "storage", {"location": blob_location()}, **PATHS)
TEXT = dataset("text", "DelimitedText", "storage", {"location": blob_location(), "firstRowAsHeader": True}, **PATHS)
GZIP = dataset(
    "gzip", "DelimitedText", "storage",
    {"location": blob_location(), "firstRowAsHeader": True, "compressionCodec": "gzip", "compressionLevel": "Fastest"}, **PATHS,
)  # fmt: skip
ZIP = dataset(
    "zip", "DelimitedText", "storage",
    {"location": blob_location(), "firstRowAsHeader": True, "compressionCodec": "ZipDeflate"}, **PATHS,
)  # fmt: skip
JSON = dataset("json", "Json", "storage", {"location": blob_location()}, **PATHS)
READ, WRITE = {"type": "AzureBlobStorageReadSettings"}, {"type": "AzureBlobStorageWriteSettings"}
CSV = {"type": "DelimitedTextWriteSettings", "fileExtension": ".csv"}


def at(name: str, path: str) -> dict[str, Any]:
    folder, _, file = path.rpartition("/")
    return to(name, folder=folder, file=file)


def files(origin: dict[str, Any], goal: dict[str, Any], read: dict[str, Any], write: dict[str, Any]) -> dict[str, Any]:
    source, sink = {"type": "BinarySource", "storeSettings": read}, {"type": "BinarySink", "storeSettings": write}
    return activity("Copy", "Copy", {"source": source, "sink": sink}, inputs=[origin], outputs=[goal])


def rows(
    origin: dict[str, Any], goal: dict[str, Any], read: dict[str, Any] | None = None, **write: Any
) -> dict[str, Any]:
    source = {"type": "DelimitedTextSource", "storeSettings": READ | (read or {})}
    sink = {"type": "DelimitedTextSink", "storeSettings": WRITE | write, "formatSettings": CSV}
    return activity("Copy", "Copy", {"source": source, "sink": sink}, inputs=[origin], outputs=[goal])


def run(cloud: Cloud, *activities: dict[str, Any], extra: Documents | None = None, **linked: Any) -> PipelineRun:
    cloud.vault.set_secret("api-key", "open sesame")
    documents = {**SERVICES, **BLOB, **TEXT, **GZIP, **ZIP, **JSON, **(extra or {}), **pipeline(list(activities))}
    return run_pipeline(factory_from_documents(documents, pipelines=["main"]), "main", {}, cloud.overrides(**linked))


def put(cloud: Cloud, path: str, content: bytes) -> None:
    cloud.container.upload_blob(path, content, overwrite=True)


def names(cloud: Cloud, folder: str) -> list[str]:
    return sorted(cloud.container.list_blob_names(name_starts_with=f"{folder}/"))


# Ways to a storage account


def test_a_data_lake_is_read_and_written_by_its_blob_endpoint(cloud: Cloud) -> None:
    put(cloud, "lake/in/a.txt", b"hello")
    copy = files(
        at("lake_files", "lake/in/"), at("lake_files", "lake/out/"), {"type": "AzureBlobFSReadSettings"},
        {"type": "AzureBlobFSWriteSettings"},
    )  # fmt: skip

    done = run(cloud, copy, extra=LAKE | LAKE_FILES, lake={"url": cloud.azurite.blob_url(ACCOUNT)})

    assert done.status == "Succeeded", done.message
    assert cloud.blob("lake/out/a.txt") == b"hello"
    detail = done.activities[0].output["executionDetails"][0]
    assert (detail["source"]["type"], detail["status"]) == ("AzureBlobFS", "Succeeded")


def test_a_connection_string_out_of_the_vault_opens_the_account_and_is_shown_nowhere(cloud: Cloud) -> None:
    put(cloud, "ways/a.txt", b"1")
    cloud.vault.set_secret("storage-connection", cloud.azurite.connection_string(ACCOUNT))
    service = linked_service("storage", "AzureBlobStorage", {"connectionString": secret("storage-connection")})
    documents = {
        **SERVICES,
        **BLOB,
        **service,
        **pipeline([files(at("blob", "ways/a.txt"), at("blob", "ways/b.txt"), READ, WRITE)]),
    }
    overrides = Overrides(credential=cloud.credential, linked_services={"vault": {"baseUrl": cloud.vault.url}})

    done = run_pipeline(factory_from_documents(documents), "main", {}, overrides)

    assert done.status == "Succeeded", done.message
    assert cloud.azurite.accounts[ACCOUNT] not in json.dumps(done.to_json())


def test_a_sas_opens_the_account_without_an_identity(cloud: Cloud) -> None:
    put(cloud, "ways/c.txt", b"1")
    token = generate_account_sas(
        ACCOUNT, cloud.azurite.accounts[ACCOUNT], ResourceTypes(container=True, object=True),
        AccountSasPermissions(read=True, write=True, list=True, create=True), datetime.now(UTC) + timedelta(hours=1),
    )  # fmt: skip
    documents = {
        **SERVICES,
        **BLOB,
        **pipeline([files(at("blob", "ways/c.txt"), at("blob", "ways/d.txt"), READ, WRITE)]),
    }
    overrides = Overrides(linked_services={"storage": {"sasUri": f"{cloud.azurite.blob_url(ACCOUNT)}?{token}"}})

    done = run_pipeline(factory_from_documents(documents), "main", {}, overrides)

    assert done.status == "Succeeded", done.message


def test_a_credential_that_only_azure_can_read_asks_for_an_override(cloud: Cloud) -> None:
    put(cloud, "ways/e.txt", b"1")
    service = linked_service(
        "storage", "AzureBlobStorage", {"connectionString": "AccountName=x", "encryptedCredential": "abc"}
    )
    copy = files(at("blob", "ways/e.txt"), at("blob", "ways/f.txt"), READ, WRITE)
    documents = {**SERVICES, **BLOB, **service, **pipeline([copy])}

    without = run_pipeline(factory_from_documents(documents), "main", {}, Overrides(credential=cloud.credential))
    with_one = run(cloud, copy, extra=service)

    assert "a credential that only Azure can read" in without.message
    assert "override storage" in without.activities[0].error["hint"]
    assert with_one.status == "Succeeded", with_one.message


def test_a_wrong_connection_string_is_refused_without_its_text(cloud: Cloud) -> None:
    copy = files(at("blob", "ways/e.txt"), at("blob", "ways/f.txt"), READ, WRITE)

    done = run(cloud, copy, storage={"connectionString": "hunter2"})

    assert "no usable address" in done.message
    assert "hunter2" not in json.dumps(done.to_json())


# Packed files


def test_gzip_is_unpacked_and_packed_as_a_stream(cloud: Cloud) -> None:
    content = b"a,b\r\n" + b"".join(b"%d,x\r\n" % number for number in range(200_000))
    put(cloud, "packed/in.csv.gz", gzip.compress(content[:10]) + gzip.compress(content[10:]))  # two members

    unpacked = run(cloud, rows(at("gzip", "packed/in.csv.gz"), at("text", "packed/out.csv")))
    packed = run(cloud, rows(at("text", "packed/out.csv"), at("gzip", "packed/again.csv.gz")))

    assert (unpacked.status, packed.status) == ("Succeeded", "Succeeded"), unpacked.message + packed.message
    assert cloud.blob("packed/out.csv") == content
    assert gzip.decompress(cloud.blob("packed/again.csv.gz")) == content


@pytest.mark.parametrize(
    "content", [b"a,b\r\n1,2\r\n", gzip.compress(b"a,b\r\n" * 9, mtime=0)[:-5]], ids=["text", "cut"]
)
def test_what_is_no_whole_gzip_is_refused_and_nothing_is_written(cloud: Cloud, content: bytes) -> None:
    put(cloud, "packed/bad.csv.gz", content)

    done = run(cloud, rows(at("gzip", "packed/bad.csv.gz"), at("text", "packed/never.csv")))

    assert "gzip" in done.message
    assert names(cloud, "packed/never.csv") == []
    assert done.activities[0].output["errors"][0]["Message"] in done.message


def test_the_files_of_a_zip_are_read_one_after_the_other_and_none_is_written(cloud: Cloud) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("one.csv", "a,b\r\n1,2\r\n")
    put(cloud, "packed/in.zip", archive.getvalue())

    done = run(cloud, rows(at("zip", "packed/in.zip"), at("text", "packed/unzipped.csv")))
    refused = run(cloud, rows(at("text", "packed/unzipped.csv"), at("zip", "packed/out.zip")))

    assert done.status == "Succeeded", done.message
    assert cloud.blob("packed/unzipped.csv") == b"a,b\r\n1,2\r\n"
    assert "zip files are only read here" in refused.message


# Many files at once


@pytest.fixture
def tree(cloud: Cloud) -> Cloud:
    for blob in cloud.container.list_blob_names(name_starts_with="tree"):
        cloud.container.delete_blob(blob)
    for path in ("2026-01/a.csv", "2026-01/deep/b.csv", "2026-02/c.csv", "2026-02/d.txt", "2027-01/e.csv"):
        put(cloud, f"tree/{path}", f"h\r\n{path}\r\n".encode())
    return cloud


def test_wildcards_in_folders_choose_among_them(tree: Cloud) -> None:
    settings = READ | {"wildcardFolderPath": "tree/2026-*", "wildcardFileName": "*.csv", "recursive": False}

    done = run(tree, files(at("blob", "tree/"), at("blob", "tree_out/"), settings, WRITE))

    assert done.status == "Succeeded", done.message
    assert names(tree, "tree_out") == ["tree_out/2026-01/a.csv", "tree_out/2026-02/c.csv"]


def test_a_prefix_and_times_choose_among_files(tree: Cloud) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    chosen = run(tree, files(at("blob", ""), at("blob", "tree_prefix/"), READ | {"prefix": "tree/2027"}, WRITE))
    none = run(
        tree, files(at("blob", "tree/"), at("blob", "tree_none/"), READ | {"modifiedDatetimeStart": later}, WRITE)
    )

    assert names(tree, "tree_prefix") == ["tree_prefix/2027-01/e.csv"]
    assert chosen.activities[0].output["filesWritten"] == 1
    assert none.activities[0].output["filesWritten"] == 0


def test_merge_files_joins_rows_under_one_header(tree: Cloud) -> None:
    done = run(tree, rows(at("text", "tree/2026-01/"), at("text", "tree_merged/all.csv"), copyBehavior="MergeFiles"))

    assert done.status == "Succeeded", done.message
    assert tree.blob("tree_merged/all.csv") == b"h\r\n2026-01/a.csv\r\n2026-01/deep/b.csv\r\n"


def test_rows_of_several_files_keep_their_files(tree: Cloud) -> None:
    done = run(tree, rows(at("text", "tree/2026-01/"), at("text", "tree_kept/")))

    assert names(tree, "tree_kept") == ["tree_kept/a.csv", "tree_kept/deep/b.csv"], done.message
    assert (done.activities[0].output["filesWritten"], done.activities[0].output["rowsCopied"]) == (2, 2)


@pytest.mark.parametrize("kind", ["blob", "text"])
def test_several_files_never_overwrite_each_other_under_one_name(tree: Cloud, kind: str) -> None:
    goal = at(kind, "tree_one/all.csv")
    copy = (
        rows(at(kind, "tree/2026-01/"), goal) if kind == "text" else files(at(kind, "tree/2026-01/"), goal, READ, WRITE)
    )

    done = run(tree, copy)

    assert "2 files would all be written to all.csv" in done.message
    assert names(tree, "tree_one") == []


def test_flat_names_are_made_up_and_never_collide(tree: Cloud) -> None:
    put(tree, "tree/2026-02/a.csv", b"h\r\nother\r\n")
    settings = READ | {"wildcardFileName": "a.csv"}

    done = run(
        tree,
        files(at("blob", "tree/"), at("blob", "tree_flat/"), settings, WRITE | {"copyBehavior": "FlattenHierarchy"}),
    )

    assert done.status == "Succeeded", done.message
    flat = names(tree, "tree_flat")
    assert len(flat) == 2
    assert all(name.endswith(".csv") and name.count("/") == 1 for name in flat)


def test_a_path_of_a_mapping_is_for_hierarchical_sources_only(cloud: Cloud) -> None:
    put(cloud, "rows/plain.csv", b"a,b\r\n1,2\r\n")
    copy = rows(at("text", "rows/plain.csv"), at("text", "rows/mapped.csv"))
    pair = {"source": {"path": "['a']"}, "sink": {"name": "x"}}
    copy["typeProperties"]["translator"] = {"type": "TabularTranslator", "mappings": [pair]}

    done = run(cloud, copy)

    assert "neither a column nor an ordinal" in done.message
    assert names(cloud, "rows/mapped.csv") == []


def test_a_name_beside_a_path_is_a_path_of_one_step(cloud: Cloud) -> None:
    put(cloud, "rows/deep.json", b'{"id": 1, "who": {"name": "n"}}')
    copy = rows(at("json", "rows/deep.json"), at("text", "rows/flat.csv"))
    copy["typeProperties"]["source"] = {"type": "JsonSource", "storeSettings": READ}
    pairs = [
        {"source": {"name": "id"}, "sink": {"name": "id"}},
        {"source": {"path": "$['who']['name']"}, "sink": {"name": "name"}},
    ]
    copy["typeProperties"]["translator"] = {"type": "TabularTranslator", "mappings": pairs}

    done = run(cloud, copy)

    assert done.status == "Succeeded", done.message
    assert cloud.blob("rows/flat.csv") == b"id,name\r\n1,n\r\n"


# Parquet, which needs the extra

PARQUET = dataset("parquet", "Parquet", "storage", {"location": blob_location(), "compressionCodec": "gzip"}, **PATHS)


SOURCES = {name: {"type": f"{name}Source", "storeSettings": READ} for name in ("Json", "Parquet")}
TO_PARQUET = {"type": "ParquetSink", "storeSettings": WRITE, "formatSettings": {"type": "ParquetWriteSettings"}}
TO_CSV = {"type": "DelimitedTextSink", "storeSettings": WRITE, "formatSettings": CSV}


def typed(source: str, origin: str, sink: dict[str, Any], goal: dict[str, Any]) -> dict[str, Any]:
    properties = {"source": SOURCES[source], "sink": sink}
    return activity("Copy", "Copy", properties, inputs=[at(source.lower(), origin)], outputs=[goal])


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed: pip install pyarrow")
def test_rows_become_parquet_and_come_back_with_their_types(cloud: Cloud) -> None:
    import pyarrow.parquet

    lines = '{"n": 1, "f": 1.5, "yes": true, "t": "a"}\n{"n": null, "f": 2.0, "yes": null, "t": "\u00e9"}'
    put(cloud, "parquet/in.json", lines.encode())
    write = typed("Json", "parquet/in.json", TO_PARQUET, at("parquet", "parquet/a.parquet"))
    read = typed("Parquet", "parquet/a.parquet", TO_CSV, at("text", "parquet/out.csv"))

    there, back = run(cloud, write, extra=PARQUET), run(cloud, read, extra=PARQUET)

    assert (there.status, back.status) == ("Succeeded", "Succeeded"), there.message + back.message
    table = pyarrow.parquet.read_table(io.BytesIO(cloud.blob("parquet/a.parquet")))
    assert [str(kind) for kind in table.schema.types] == ["int64", "double", "bool", "string"]
    assert cloud.blob("parquet/out.csv") == "n,f,yes,t\r\n1,1.5,True,a\r\n,2,,é\r\n".encode()


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_parquet_without_its_package_says_what_to_install(cloud: Cloud) -> None:
    put(cloud, "parquet/in.json", b'{"n": 1}')
    done = run(cloud, typed("Json", "parquet/in.json", TO_PARQUET, at("parquet", "parquet/b.parquet")), extra=PARQUET)

    assert done.activities[0].error["hint"] == "pip install pyarrow"


# REST


class Api(BaseHTTPRequestHandler):
    """Seven orders, three a page, by any way of paging."""

    seen: list[tuple[str, dict[str, str]]] = []  # noqa: RUF012 - one server a module, cleared by each test

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        Api.seen.append((self.path, dict(self.headers)))
        first = int(query.get("offset", query.get("after", "0")))
        items = [{"id": n, "who": {"name": f"n{n}"}} for n in range(first, min(first + 3, 7))]
        more = first + 3 < 7
        body: dict[str, Any] = {"orders": items, "more": more, "next": first + 3 if more else None}
        here = f"http://{self.headers['Host']}{parts.path}"
        body["link"] = f"{here}?after={first + 3}" if more else None
        if query.get("elsewhere"):
            body["link"] = query["elsewhere"]
        if query.get("moved"):
            self.send_response(302)
            self.send_header("Location", query["moved"])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(500 if "broken" in parts.path else 200)
        if more and "links" in parts.path:
            self.send_header("Link", f'<{here}?after={first + 3}>; rel="next"')
        content = json.dumps(items if "list" in parts.path else body).encode()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def rest(url: str) -> Documents:
    service = {"url": url, "authenticationType": "Anonymous", "authHeaders": {"x-key": secret("api-key")}}
    return linked_service("api", "RestService", service) | dataset(
        "api", "RestResource", "api", {"relativeUrl": {"value": "@dataset().file", "type": "Expression"}}, **PATHS
    )


def pull(path: str, rules: Any, **translator: Any) -> dict[str, Any]:
    source = {"type": "RestSource", "requestMethod": "GET", "paginationRules": rules, "requestInterval": "00:00:00.010"}
    mappings = [
        {"source": {"path": "['id']"}, "sink": {"name": "id"}},
        {"source": {"path": "['who']['name']"}, "sink": {"name": "name"}},
    ]
    return activity(
        "Copy", "Copy",
        {
            "source": source,
            "sink": {"type": "DelimitedTextSink", "storeSettings": WRITE, "formatSettings": CSV},
            "translator": {"type": "TabularTranslator", "mappings": mappings, **translator},
        },
        inputs=[to("api", file=path)], outputs=[at("text", "rest/out.csv")],
    )  # fmt: skip


ORDERS = b"id,name\r\n" + b"".join(b"%d,n%d\r\n" % (n, n) for n in range(7))


@pytest.mark.parametrize(
    ("path", "rules", "requests"),
    [
        ("orders", {"AbsoluteUrl": "$.link"}, 3),
        ("orders", {"QueryParameters.after": "$.next"}, 3),
        ("orders", {"QueryParameters.offset": "RANGE:0:6:3"}, 3),
        ("orders", {"QueryParameters.offset": "RANGE:0::3", "EndCondition:$.orders": "Empty"}, 4),
        ("orders", '{"QueryParameters.offset": "RANGE:0::3", "EndCondition:$.more": "Const:false"}', 3),
        ("links", {"supportRFC5988": "true"}, 3),
    ],
)
def test_every_page_of_an_api_is_read_once(cloud: Cloud, api: str, path: str, rules: Any, requests: int) -> None:
    Api.seen.clear()

    done = run(cloud, pull(path, rules, collectionReference="$.orders"), extra=rest(api))

    assert done.status == "Succeeded", done.message
    assert cloud.blob("rest/out.csv") == ORDERS
    assert len(Api.seen) == requests
    assert {headers["x-key"] for _, headers in Api.seen} == {"open sesame"}
    assert "open sesame" not in json.dumps(done.to_json())


def test_without_a_rule_one_page_is_read_and_a_limit_ends_the_paging(cloud: Cloud, api: str) -> None:
    one = run(cloud, pull("list", {}), extra=rest(api))
    two = run(
        cloud,
        pull("orders", {"AbsoluteUrl": "$.link", "MaxRequestNumber": "2"}, collectionReference="$.orders"),
        extra=rest(api),
    )

    assert (one.activities[0].output["rowsCopied"], two.activities[0].output["rowsCopied"]) == (3, 6)


def test_a_secret_header_goes_to_the_apis_own_host_only(cloud: Cloud, api: str) -> None:
    Api.seen.clear()
    elsewhere = api.replace("127.0.0.1", "localhost")
    service = rest(api)

    done = run(
        cloud,
        pull(
            f"orders?elsewhere={elsewhere}/x",
            {"AbsoluteUrl": "$.link", "MaxRequestNumber": "2"},
            collectionReference="$.orders",
        ),
        extra=service,
    )

    assert done.status == "Succeeded", done.message
    assert [("x-key" in headers) for _, headers in Api.seen] == [True, False]


def test_a_secret_header_does_not_follow_a_redirect_to_another_host(cloud: Cloud, api: str) -> None:
    Api.seen.clear()
    elsewhere = api.replace("127.0.0.1", "localhost")

    done = run(cloud, pull(f"orders?moved={elsewhere}/list", {}), extra=rest(api))

    assert done.status == "Succeeded", done.message
    assert [("x-key" in headers) for _, headers in Api.seen] == [True, False]


@pytest.mark.parametrize(
    ("path", "rules", "said"),
    [
        ("broken", {}, "answered 500"),
        ("orders", {"Body.page": "1"}, "the pagination rule 'Body.page'"),
        ("orders", {"AbsoluteUrl": "$..link"}, "the path '$..link' is not read here"),
        ("orders", "next", "paginationRules must be an object"),
    ],
)
def test_what_cannot_be_paged_is_refused_and_nothing_is_written(
    cloud: Cloud, api: str, path: str, rules: Any, said: str
) -> None:
    put(cloud, "rest/out.csv", b"before")

    done = run(cloud, pull(path, rules, collectionReference="$.orders"), extra=rest(api))

    assert said in done.message
    assert cloud.blob("rest/out.csv") == b"before"


def test_lookup_reads_the_answer_of_an_api(cloud: Cloud, api: str) -> None:
    look = activity(
        "Look", "Lookup", {"source": {"type": "RestSource"}, "dataset": to("api", file="orders"), "firstRowOnly": True}
    )

    done = run(cloud, look, extra=rest(api))

    assert done.activities[0].output["firstRow"]["more"] is True


def test_a_header_with_a_name_twice_is_refused_by_lookup(cloud: Cloud) -> None:
    put(cloud, "rows/twice.csv", b"a,a\r\n1,2\r\n")
    look = activity(
        "Look", "Lookup",
        {"source": {"type": "DelimitedTextSource", "storeSettings": READ}, "dataset": at("text", "rows/twice.csv")},
    )  # fmt: skip

    assert "the column 'a' twice" in run(cloud, look).message
