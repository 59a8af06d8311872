"""Feeds whose rows are in a SQL Server, from the window to the file that the partner opened, by both routes."""

# ruff: noqa: E501 - a row reads best on one line

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest
from nights import failed, kill_run, run, window

pytest.importorskip("pytds", reason="the driver is an extra: pip install -r requirements-sqlserver.txt")

from sql_server import CuttingProxy, Server, Sql, connected, running_server

from adf_runner import PipelineRun
from cli.demo import main
from cli.run import raise_if_failed
from local.stack import Stack
from partners.loading import FOLDER

HEAD = (FOLDER / "northwind.yaml").read_text().split("feeds:")[0]
DAY = date(2026, 11, 21)
FEED = """
  {name}:
    title: Orders
    source: {source}
    table: t.x
    business_date: d
    order_by: [Id]
    columns:
      - {{name: Id, type: integer}}
      - {{name: Name, type: text}}
      - {{name: Code, type: text}}
      - {{name: Amount, type: decimal, scale: 2}}
      - {{name: Price, type: decimal, scale: 4}}
      - {{name: Rate, type: decimal, scale: 3, stored: float}}
      - {{name: Placed, type: timestamp, zone: UTC}}
      - {{name: Shipped, type: timestamp}}
      - {{name: Due, type: date}}
      - {{name: Opens, stored: time}}
      - {{name: Key, type: text}}
      - {{name: Paid, type: integer}}
    control: {{table: t.totals, rows: n, sums: {{Amount: total}}}}
    layout:
      delimited: ";"
      line_end: lf
      empty: skip
      records:
        - {{record: H, at: start, fields: [{{constant: H}}, {{date: business}}, {{count: rows}}]}}
        - record: R
          fields: [{fields}]
        - {{record: T, at: end, fields: [{{constant: T}}, {{count: rows}}, {{sum: Amount}}, {{sum: Id}}]}}
    file_name: "{name}_{{date:%Y%m%d}}_{{sequence:06d}}.txt"
    folder: /inbox
    route: {route}
"""
COLUMNS = ("Id", "Name", "Code", "Amount", "Price", "Rate", "Placed", "Shipped", "Due", "Opens", "Key", "Paid")
TABLE = (
    "create table t.x (d date, Id bigint, Name nvarchar(max), Code char(5), Amount decimal(38,2), Price money, Rate float,"
    " Placed datetime2(7), Shipped datetimeoffset(0), Due date, Opens time(3), [Key] uniqueidentifier, Paid bit)"
)
# Extreme values of every type, and what the partner reads.
ROWS = [
    ("-9223372036854775808", "N'Zoë \"漢字\" 😀'", "'AB'", "'999999999999999999999999999999999999.99'", "'-922337203685477.5808'", "0.1",
     "'0001-01-01'", "'0001-01-01 00:00:00 +00:00'", "'0001-01-01'", "'00:00'", "'00000000-0000-0000-0000-000000000000'", "0"),
    ("0", "N'a;b'", "''", "-0.05", "'922337203685477.5807'", "-0.125",
     "'9999-12-31 23:59:59.999999'", "'9999-12-31 23:59:59 +00:00'", "'9999-12-31'", "'23:59:59.999'", "'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'", "1"),
    ("9223372036854775807", "N'\\ ''  '", "'ABCDE'", "0", "0", "1234567.891",
     "'2026-11-21 10:11:12.5'", "'2026-11-21 10:11:12 +02:00'", "'2024-02-29'", "'10:00'", "'00112233-4455-6677-8899-aabbccddeeff'", "1"),
    ("1", *["null"] * 11),
]  # fmt: skip
WANTED = """H;{day};4
-9223372036854775808;"Zoë ""漢字"" 😀";AB;999999999999999999999999999999999999.99;-922337203685477.5808;0.100;0001-01-01T00:00:00Z;\
0001-01-01T00:00:00Z;0001-01-01;00:00:00;00000000-0000-0000-0000-000000000000;0
0;"a;b";;-0.05;922337203685477.5807;-0.125;9999-12-31T23:59:59.999999Z;9999-12-31T23:59:59Z;9999-12-31;23:59:59.999;\
ffffffff-ffff-ffff-ffff-ffffffffffff;1
1;;;;;;;;;;;
9223372036854775807;\\ '  ;ABCDE;0.00;0.0000;1234567.891;2026-11-21T10:11:12.5Z;2026-11-21T08:11:12Z;2024-02-29;10:00:00;\
00112233-4455-6677-8899-aabbccddeeff;1
T;4;999999999999999999999999999999999999.94;0
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as found:
        yield found


@pytest.fixture(scope="module")
def sql(server: Server) -> Iterator[Sql]:
    with connected(server) as connection:
        connection(TABLE)
        connection("create table t.totals (d date, n int, total decimal(38,2))")
        yield connection


@pytest.fixture(scope="module")
def proxy(server: Server) -> Iterator[CuttingProxy]:
    """Cuts its first connection after so many bytes: in the middle of the rows of a large batch."""
    with closing(CuttingProxy(server["host"], int(server["port"]), 150_000)) as found:
        yield found


@pytest.fixture(scope="module")
def stack(server: Server, proxy: CuttingProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole system with one partner, whose feeds read the server as Azure SQL, as SQL Server, and through the proxy."""
    folder = tmp_path_factory.mktemp("partner-files")
    address = f"{server['host']},{server['port']}"
    sign_in = "user: reader, password: shop-password"
    (folder / "sources.yaml").write_text(
        f"cloud: {{kind: azure-sql, server: '{address}', database: {server['database']}}}\n"
        f"ground: {{kind: sql-server, server: '{address}', database: {server['database']}, {sign_in}}}\n"
        f"broken: {{kind: azure-sql, server: '127.0.0.1,{proxy.port}', database: {server['database']}}}\n"
    )
    feeds = [
        feed("cloud", "cloud", "adf", COLUMNS),
        feed("ground", "ground", "function", COLUMNS),
        feed("broken", "broken", "function", COLUMNS),
        feed("many", "cloud", "function", ("Id", "Name", "Amount")),
    ]
    (folder / "northwind.yaml").write_text(f"{HEAD}feeds:{''.join(feeds)}")
    login = {
        "authenticationType": "SQL", "userName": server["user"], "password": server["password"],
        "trustServerCertificate": True,
    }  # fmt: skip
    with Stack(partner_files=folder, databases=login) as running:
        yield running


def feed(name: str, source: str, route: str, columns: tuple[str, ...]) -> str:
    fields = ", ".join(f"{{column: {column}, optional: true}}" for column in columns)
    text = FEED.format(name=name, source=source, route=route, fields=fields)
    unused = [f"      - {{name: {column}," for column in COLUMNS if column not in columns]
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(tuple(unused) or "\0"))


def fill(sql: Sql, day: date) -> None:
    for row in ROWS:
        sql(f"insert into t.x values ('{day}', {', '.join(row)})")
    sql(f"insert into t.totals select d, count(*), sum(Amount) from t.x where d = '{day}' group by d")


def fill_many(sql: Sql, day: date, rows: int) -> None:
    """Insert so many rows of a few values each; doubles what is there, so a million is twenty statements."""
    sql(f"insert into t.x (d, Id, Name, Amount) values ('{day}', 0, N'Zoë 😀', 1.25)")
    count = 1
    while count < rows:
        more = min(count, rows - count)
        sql(
            f"insert into t.x (d, Id, Name, Amount) select d, Id + {count}, Name, Amount from t.x where d = '{day}' and Id < {more}"
        )
        count += more
    sql(f"insert into t.totals values ('{day}', {rows}, {rows * 1.25})")


def send(stack: Stack, feed: str, day: date) -> PipelineRun:
    return run(stack, "deliver_batch", partner="northwind", feed=feed, **window(day))


def opened(stack: Stack, feed: str, day: date, folder: Path) -> str:
    """Return the text of the one file that the partner opened."""
    out = folder / feed
    (found,) = stack.partners["northwind"].open_batch(
        f"northwind.{feed}.{day}.1", stack.verification_certificate(), out
    )
    return (out / found.name).read_text(encoding="utf-8")


def extracts(stack: Stack) -> list[str]:
    return [blob.name for blob in stack.container("raw").list_blobs() if blob.name.endswith(".jsonl")]


@pytest.mark.parametrize("feed", ["cloud", "ground"])
def test_every_type_arrives_at_the_partner_with_header_trailer_and_totals(
    stack: Stack, sql: Sql, tmp_path: Path, feed: str
) -> None:
    day = DAY if feed == "cloud" else DAY - timedelta(days=1)
    fill(sql, day)

    done = send(stack, feed, day)

    raise_if_failed(done)
    assert opened(stack, feed, day, tmp_path) == WANTED.format(day=day)
    assert extracts(stack) == []


def test_window_without_rows_ends_empty(stack: Stack, sql: Sql) -> None:
    sql("insert into t.x (d, Id) values ('2026-11-02', 1)")
    done = send(stack, "cloud", date(2026, 11, 3))

    raise_if_failed(done)
    assert not [path for path in stack.partners["northwind"].inbox.rglob("*") if "20261103" in path.name]


def test_refused_value_is_named_and_nothing_leaves_until_it_is_right(stack: Stack, sql: Sql, tmp_path: Path) -> None:
    day = date(2026, 11, 10)
    fill(sql, day)
    sql(f"update t.x set Name = N'SECRET' + nchar(7) where d = '{day}' and Id = 1")

    why = failed(send(stack, "cloud", day))

    assert "row 3, record R, field 2 'Name': holds a control character" in why
    assert "SECRET" not in why
    assert not [path for path in stack.partners["northwind"].inbox.rglob("*") if "20261110" in path.name]
    sql(f"update t.x set Name = null where d = '{day}' and Id = 1")
    raise_if_failed(send(stack, "cloud", day))
    assert opened(stack, "cloud", day, tmp_path) == WANTED.format(day=day)


def test_connection_that_breaks_in_the_middle_of_the_rows_is_tried_again(
    stack: Stack, sql: Sql, proxy: CuttingProxy, tmp_path: Path
) -> None:
    day = date(2026, 11, 11)
    fill_many(sql, day, 3000)

    done = send(stack, "broken", day)

    raise_if_failed(done)
    assert proxy.connections == 2
    lines = opened(stack, "broken", day, tmp_path).splitlines()
    assert (len(lines), lines[-1]) == (3002, "T;3000;3750.00;4498500")
    assert extracts(stack) == [], "nothing partial stays"


def test_of_two_runs_at_once_one_delivers_and_the_other_waits_for_it(stack: Stack, sql: Sql, tmp_path: Path) -> None:
    day = date(2026, 11, 12)
    fill(sql, day)

    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(lambda _: send(stack, "cloud", day), range(2)):
            raise_if_failed(done)

    assert opened(stack, "cloud", day, tmp_path) == WANTED.format(day=day)


@pytest.mark.parametrize("when", ["start", "end"])
def test_next_run_completes_what_a_killed_run_left(stack: Stack, sql: Sql, tmp_path: Path, when: str) -> None:
    day = date(2026, 11, 13 if when == "start" else 14)
    fill(sql, day)
    kill_run(stack, day, "Extract from Azure SQL", when, feed="cloud")

    raise_if_failed(send(stack, "cloud", day))

    assert opened(stack, "cloud", day, tmp_path) == WANTED.format(day=day)
    assert extracts(stack) == []


def test_table_that_changes_meanwhile_gives_rows_and_totals_of_one_moment(
    stack: Stack, server: Server, sql: Sql, tmp_path: Path
) -> None:
    day = date(2026, 11, 15)
    fill_many(sql, day, 400)
    stop = threading.Event()

    def change() -> None:
        other = Sql(server)
        number = 400
        while not stop.is_set():
            other(
                f"set xact_abort on; begin transaction; insert into t.x (d, Id, Amount) values ('{day}', {number}, 1);"
                f" update t.totals set n = n + 1, total = total + 1 where d = '{day}'; commit"
            )
            number += 1
        other.close()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        raise_if_failed(send(stack, "ground", day))
    finally:
        stop.set()
        thread.join()

    lines = opened(stack, "ground", day, tmp_path).splitlines()
    rows = len(lines) - 2
    assert rows >= 400
    assert lines[-1] == f"T;{rows};{500 + rows - 400}.00;{rows * (rows - 1) // 2}"


def test_demo_delivers_the_worked_example_and_leaves_nothing_behind(
    server: Server, sql: Sql, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEALIFT_SQLSERVER", " ".join(f"{name}={value}" for name, value in server.items()))

    assert main(["--source", "sqlserver", "--rows", "60"]) == 0

    assert "60 rows, SHA-256" in capsys.readouterr().out
    assert sql("select schema_id(N'sealift_demo')") == [[None]]


@pytest.mark.slow
def test_two_hundred_thousand_rows_arrive(stack: Stack, sql: Sql, tmp_path: Path) -> None:
    day = date(2026, 11, 16)
    fill_many(sql, day, 200_000)

    raise_if_failed(send(stack, "many", day))

    lines = opened(stack, "many", day, tmp_path).splitlines()
    assert (len(lines), lines[-1]) == (200_002, "T;200000;250000.00;19999900000")
    assert lines[200_000].startswith("199999;Zoë 😀;1.25")
