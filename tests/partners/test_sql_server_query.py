"""The staged query in T-SQL on a real server: every value arrives as it is, or is refused with its column and rule."""

# ruff: noqa: E501, S608 - a layout reads best on one line; the tests write their own tables

from __future__ import annotations

import csv
import io
import json
import random
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layout_support import reread, write

pytest.importorskip("pytds", reason="the driver is an extra: pip install -r requirements-sqlserver.txt")

from sql_server import Server, Sql, connected, running_server

from partners import stage_query
from partners.calendars import Calendar
from partners.figures import Control
from partners.late import Loaded
from partners.loading import FOLDER, read_partner
from partners.model import Feed
from partners.refusals import FileRefused
from partners.schedule import Timetable
from partners.tsql import identifier, literal

HEAD = (FOLDER / "cedarway.yaml").read_text().split("feeds:")[0]
DAY = date(2026, 11, 27)
SATURDAY, MONDAY = date(2026, 11, 28), date(2026, 11, 30)
LONDON = Timetable(time_zone="Europe/London", calendar=Calendar())
VALUES = 3000


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as found:
        yield found


@pytest.fixture
def sql(server: Server) -> Iterator[Sql]:
    with connected(server) as connection:
        yield connection


def feed(folder: Path, columns: str, order_by: str = "[id]", more: str = "", fields: str = "") -> Feed:
    (folder / "sources.yaml").write_text("shop: {kind: azure-sql, server: shop.example, database: shop}\n")
    layout = f"    layout: {{delimited: ';', quote: always, line_end: lf, empty: send, records: [{{record: R, fields: [{fields}]}}]}}\n"
    (folder / "any.yaml").write_text(
        f"{HEAD}feeds:\n  one:\n    title: x\n    source: shop\n    table: t.x\n    business_date: d\n    order_by: {order_by}\n"
        f"    columns: {columns}\n    file_name: '{{date}}{{sequence}}.csv'\n    route: function\n{layout if fields else ''}{more}"
    )
    return read_partner(folder / "any.yaml").feeds["one"]


def rows(sql: Sql, query: str) -> list[str]:
    return [str(row[0]) for row in sql(query)]


def written(feed: Feed, lines: list[str]) -> bytes:
    done = write(feed.full_layout, feed.columns, lines, has_totals=feed.control is not None)
    reread(feed.full_layout, feed.columns, done)
    return done.files[0]


# Golden text: what Python's decimal, datetime and uuid say of the same values

Make = Callable[[random.Random], object]


def text_of(alphabet: str, most: int) -> Make:
    def make(rng: random.Random) -> str:
        return "".join(rng.choices(alphabet, k=rng.randint(1, most))).rstrip() or "x"

    return make


def whole(low: int, high: int) -> Make:
    return lambda rng: rng.choice([low, high, 0, 1, rng.randint(low, high), rng.randint(max(low, -9), min(high, 9))])


def exact(digits: int, scale: int) -> Make:
    def make(rng: random.Random) -> Decimal:
        most = 10**digits - 1
        units = rng.choice([most, -most, 0, 1, -1, rng.randint(-most, most), rng.randint(-999, 999)])
        return Decimal(f"{units}e-{scale}")  # exact: arithmetic would round to 28 digits

    return make


def moment(first: datetime, last: datetime, step_microseconds: int) -> Make:
    steps = (last - first) // timedelta(microseconds=step_microseconds)

    def make(rng: random.Random) -> datetime:
        return first + timedelta(microseconds=step_microseconds) * rng.choice([0, steps, rng.randint(0, steps)])

    return make


def with_offset(rng: random.Random) -> datetime:
    zone = timezone(timedelta(minutes=rng.choice([-840, 840, 0, 330, rng.randint(-840, 840)])))
    return moment(datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC), 1)(rng).astimezone(zone)  # type: ignore[attr-defined]


def thirds(rng: random.Random) -> datetime:
    """A datetime of SQL Server ends with 0, 3 or 7 milliseconds."""
    whole = moment(datetime(1753, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 990000), 10_000)(rng)
    assert isinstance(whole, datetime)
    return whole + timedelta(milliseconds=rng.choice([0, 3, 7]))


def utc(value: datetime) -> str:
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    fraction = f".{aware.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{aware.year:04d}-{aware:%m-%dT%H:%M:%S}{fraction}Z"


def clock(value: datetime) -> str:
    return f"{value:%H:%M:%S}" + (f".{value.microsecond:06d}".rstrip("0") if value.microsecond else "")


LATIN = "".join(chr(n) for n in (*range(0x20, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)))
UNICODE = (
    LATIN
    + "αβγЖ漢字\uff02\uff3c\uff07ʼ‘’“”´`ﬃ€"
    + "".join(chr(n) for n in (0x1F600, 0x10000, 0x10FFFD, 0x20000, 0xE000, 0xFFFD))
)
NFC = "".join(letter for letter in UNICODE if unicodedata.normalize("NFC", letter) == letter)
# type in the table, column of the feed, how a value is made, its text in the file
TYPES: dict[str, tuple[str, str, Make, Callable[..., str]]] = {
    "bit_": ("bit", "type: integer", whole(0, 1), str),
    "tiny_": ("tinyint", "type: integer", whole(0, 255), str),
    "small_": ("smallint", "type: integer", whole(-(2**15), 2**15 - 1), str),
    "int_": ("int", "type: integer", whole(-(2**31), 2**31 - 1), str),
    "big_": ("bigint", "type: integer", whole(-(2**63), 2**63 - 1), str),
    "big_text": ("bigint", "type: text", whole(-(2**63), 2**63 - 1), str),
    "number_": ("numeric(30,0)", "type: integer", exact(30, 0), "{:.0f}".format),
    "decimal_": ("decimal(34,10)", "type: decimal, scale: 10", exact(34, 10), "{:.10f}".format),
    "amount": ("decimal(9,2)", "type: decimal, scale: 2", exact(9, 2), "{:.2f}".format),
    "wider": ("decimal(9,2)", "type: decimal, scale: 4", exact(9, 2), "{:.4f}".format),
    "money_": ("money", "type: decimal, scale: 4", lambda r: Decimal(f"{whole(-(2**63), 2**63 - 1)(r)}e-4"), "{:.4f}".format),  # type: ignore[arg-type]
    "small_money": ("smallmoney", "type: decimal, scale: 4", lambda r: Decimal(f"{whole(-(2**31), 2**31 - 1)(r)}e-4"), "{:.4f}".format),  # type: ignore[arg-type]
    "float_": ("float", "type: decimal, scale: 4, stored: float", exact(14, 4), "{:.4f}".format),
    "date_": ("date", "type: date", moment(datetime(1, 1, 1), datetime(9999, 12, 31), 86_400_000_000), lambda v: f"{v.year:04d}-{v:%m-%d}"),
    "time_": ("time(7)", "stored: time", moment(datetime(2000, 1, 1), datetime(2000, 1, 1, 23, 59, 59, 999999), 1), clock),
    "time_0": ("time(0)", "stored: time", moment(datetime(2000, 1, 1), datetime(2000, 1, 1, 23, 59, 59), 1_000_000), clock),
    "datetime_": ("datetime", "type: timestamp, zone: UTC", thirds, utc),
    "small_datetime": ("smalldatetime", "type: timestamp, zone: UTC", moment(datetime(1900, 1, 1), datetime(2079, 6, 6), 60_000_000), utc),
    "datetime_2": ("datetime2(7)", "type: timestamp, zone: UTC", moment(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), 1), utc),
    "datetime_2_3": ("datetime2(3)", 'type: timestamp, zone: "-05:30"', moment(datetime(1, 1, 2), datetime(9999, 12, 30), 1000), lambda v: utc(v + timedelta(hours=5, minutes=30))),
    "offset_": ("datetimeoffset(7)", "type: timestamp", with_offset, utc),
    "char_": ("char(8)", "type: text", text_of(LATIN, 8), str),
    "nchar_": ("nchar(8)", "type: text", text_of(NFC[:-7], 8), str),
    "varchar_": ("varchar(40)", "type: text", text_of(LATIN, 40), str),
    "nvarchar_": ("nvarchar(80)", "type: text", text_of(NFC, 40), str),
    "nvarchar_max": ("nvarchar(max)", "type: text", lambda r: text_of(NFC, 40)(r) * r.choice([1] * 99 + [500]), str),  # type: ignore[operator]
    "guid_": ("uniqueidentifier", "type: text", lambda r: uuid.UUID(int=r.getrandbits(128)), str),
}  # fmt: skip


def as_literal(value: object) -> str:
    if isinstance(value, datetime):
        day = f"{value.year:04d}-{value:%m-%d %H:%M:%S}"
        fraction = f".{value.microsecond:06d}".rstrip("0").rstrip(".")
        offset = f"{value:%z}"
        return f"'{day}{fraction}{f' {offset[:3]}:{offset[3:]}' if offset else ''}'"
    if isinstance(value, (int, Decimal)):
        return f"'{value:f}'" if isinstance(value, Decimal) else f"'{value}'"
    return "N'" + str(value).replace("'", "''") + "'"


def test_three_thousand_values_of_each_type_are_what_python_says(sql: Sql, tmp_path: Path) -> None:
    rng = random.Random(23)
    made = {name: [None, *(make(rng) for _ in range(VALUES))] for name, (_, _, make, _) in TYPES.items()}
    sql(
        f"create table t.x (d date, id int, {', '.join(f'{identifier(name)} {kind}' for name, (kind, *_) in TYPES.items())})"
    )
    for start in range(0, VALUES + 1, 100):
        lines = [
            f"('2026-11-27', {n}, {', '.join('null' if made[name][n] is None else as_literal(made[name][n]) for name in TYPES)})"
            for n in range(start, min(start + 100, VALUES + 1))
        ]
        sql(f"insert into t.x values {', '.join(lines)}")
    columns = f"[{{name: id, type: integer}}, {', '.join(f'{{name: {name}, {form}}}' for name, (_, form, *_) in TYPES.items())}]"
    fields = ", ".join(f"{{column: {name}, optional: true}}" for name in TYPES)

    one = feed(tmp_path, columns, fields=fields)
    lines = rows(sql, stage_query(one, DAY))
    found = list(csv.reader(io.StringIO(written(one, lines).decode(), newline=""), delimiter=";"))

    assert len(found) == VALUES + 1
    for index, (name, (_, _, _, shown)) in enumerate(TYPES.items()):
        for n, value in enumerate(made[name]):
            assert found[n][index] == ("" if value is None else shown(value)), (name, n)
