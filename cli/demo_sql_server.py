"""`./sealift demo --source sqlserver`: one feed from a table that is in a SQL Server, end to end, without dbt."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from adf_runner import load_factory, run_pipeline
from cli import console
from cli.run import Narrator, raise_if_failed
from local.partner import CannotUse, look_at
from local.sql_server import SqlServer, sql_server
from local.stack import ROOT, Stack
from partners.loading import EXAMPLES
from partners.sources import NAME as SOURCES

BUSINESS_DATE = date(2026, 11, 21)
BATCH = f"harbour.orders.{BUSINESS_DATE}.1"
SCHEMA = "sealift_demo"
_AT_ONCE = 500
_CUSTOMERS = (("Zoë Müller", "NL"), ("山田 太郎", "JP"), ('O\'Neil; "Sons"', "IE"), ("Łukasz", "PL"))
_TABLE = (
    f"create table {SCHEMA}.PartnerOrders (OrderId bigint primary key, OrderDate date not null, Carrier varchar(20) not null,"
    " Customer nvarchar(100), Country char(2), Weight decimal(9,3), Price money, PlacedAt datetime2(0),"
    " OrderKey uniqueidentifier, Express bit)"
)


def run(rows: int) -> int:
    """Fill a table, deliver its rows and open them; return 0 only when the partner holds exactly these rows."""
    began = time.monotonic()
    with sql_server() as server, tempfile.TemporaryDirectory() as folder:
        files = _partner_files(Path(folder))
        console.heading("Starting the cloud and the partner on this machine; the rows are in the SQL Server")
        with Stack(on_ready=console.done, partner_files=files, databases=server.linked_service) as stack:
            _deliver(stack, server, rows)
    console.say(
        f"\nDone in {time.monotonic() - began:.0f} s: the rows are at the partner, whole and signed; dbt did not run."
    )
    console.say("Try next: docs/sql-server.md, for a feed from a table of yours.")
    return 0


def _partner_files(folder: Path) -> Path:
    """Copy the worked example; its table is read in a schema of the demo's own."""
    shutil.copy(EXAMPLES / SOURCES, folder / SOURCES)
    text = (EXAMPLES / "harbour.yaml").read_text("utf-8")
    (folder / "harbour.yaml").write_text(text.replace("sales.PartnerOrders", f"{SCHEMA}.PartnerOrders"), "utf-8")
    return folder


def _deliver(stack: Stack, server: SqlServer, rows: int) -> None:
    console.heading("One feed: adf/pipeline/deliver_batch.json")
    with console.step(f"Fill {SCHEMA}.PartnerOrders with {rows:,} orders"):
        server.run(*_statements(rows))
    start = datetime(BUSINESS_DATE.year, BUSINESS_DATE.month, BUSINESS_DATE.day, tzinfo=UTC)
    window = {"windowStart": start.isoformat(), "windowEnd": (start + timedelta(days=1)).isoformat()}
    parameters = {"partner": "harbour", "feed": "orders", **window}
    overrides = stack.connection().overrides()
    done = run_pipeline(load_factory(ROOT / "adf"), "deliver_batch", parameters, overrides, on_event=Narrator())
    raise_if_failed(done)
    console.heading("The partner's side, with its own key and program")
    with console.step("harbour: verify the manifest, open the file, compare with the table") as told:
        partner = stack.partners["harbour"]
        out = partner.folder / "opened"
        (opened,) = partner.open_batch(BATCH, stack.verification_certificate(), out)
        if (out / opened.name).read_text("utf-8") != _expected(rows):
            raise CannotUse(f"{opened.name} is not the table's content", "this is a defect of Sealift: report it")
        told.note = f"{rows:,} rows, SHA-256 {look_at(out / opened.name).sha256[:16]}..., equal"
    server.run(f"drop table {SCHEMA}.PartnerOrders", f"drop schema {SCHEMA}")


def _orders(rows: int) -> Iterator[tuple[int, str, str, Decimal, Decimal, datetime, str, int]]:
    placed = datetime(2026, 11, 21)  # noqa: DTZ001 - a datetime2 is in no zone
    for n in range(1, rows + 1):
        weight, price = Decimal(n % 90_000) / 1000, Decimal(n % 100_000) / 100
        key = f"00000000-0000-4000-8000-{n:012x}"
        customer, country = _CUSTOMERS[n % len(_CUSTOMERS)]
        yield n, customer, country, weight, price, placed + timedelta(seconds=n % 86_400), key, n % 2


def _statements(rows: int) -> Iterator[str]:
    yield f"if schema_id(N'{SCHEMA}') is null exec(N'create schema {SCHEMA}')"
    yield f"drop table if exists {SCHEMA}.PartnerOrders"
    yield _TABLE
    values: list[str] = []
    for n, customer, country, weight, price, placed, key, express in _orders(rows):
        name = customer.replace("'", "''")
        values.append(
            f"({n}, '{BUSINESS_DATE}', 'HARBOUR', N'{name}', '{country}', {weight}, {price}, '{placed}', '{key}', {express})"
        )
        if len(values) == _AT_ONCE or n == rows:
            yield f"insert into {SCHEMA}.PartnerOrders values {', '.join(values)}"  # noqa: S608 - the demo's own values
            values = []
    yield f"insert into {SCHEMA}.PartnerOrders (OrderId, OrderDate, Carrier) values (0, '{BUSINESS_DATE}', 'OTHER')"  # noqa: S608


def _expected(rows: int) -> str:
    """Return the file that the partner must have, written here without Sealift's writer."""
    lines, weights, prices = [f"H;{BUSINESS_DATE:%Y%m%d};{rows}"], Decimal(0), Decimal(0)
    for n, customer, country, weight, price, placed, key, express in _orders(rows):
        doubled = customer.replace('"', '""')
        shown = f'"{doubled}"' if '"' in customer or ";" in customer else customer
        local = placed + timedelta(hours=1)  # November in Amsterdam
        lines.append(f"O;{n};{shown};{country};{weight:.3f};{price:.2f};{local:%Y-%m-%dT%H:%M:%S};{key};{express}")
        weights, prices = weights + weight, prices + price
    return "\n".join([*lines, f"T;{rows};{weights:.3f};{prices:.2f}", ""])
