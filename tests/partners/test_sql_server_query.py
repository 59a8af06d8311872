"""The staged query in T-SQL on a real server: every value arrives as it is, or is refused with its column and rule."""

# ruff: noqa: E501, DTZ001, RUF001 - a layout reads best on one line; types without a zone and look-alike letters are on purpose

from __future__ import annotations

import csv
import io
import json
import random
import re
import threading
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


@pytest.fixture(scope="module")
def connection(server: Server) -> Iterator[Sql]:
    """One for all tests: the test server takes seconds for the first statement of this kind on a connection."""
    with connected(server) as found:
        yield found


@pytest.fixture
def sql(connection: Sql) -> Sql:
    connection.clear()
    return connection


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
    return moment(datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC), 1)(rng).astimezone(zone)


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
    "money_": ("money", "type: decimal, scale: 4", lambda r: Decimal(f"{whole(-(2**63), 2**63 - 1)(r)}e-4"), "{:.4f}".format),
    "small_money": ("smallmoney", "type: decimal, scale: 4", lambda r: Decimal(f"{whole(-(2**31), 2**31 - 1)(r)}e-4"), "{:.4f}".format),
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
    "nvarchar_max": ("nvarchar(max)", "type: text", lambda r: text_of(NFC, 40)(r) * r.choice([1] * 99 + [500]), str),
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


# What would change is refused, with its column and rule


REFUSED = [
    ("decimal(9,3)", "1.005", "type: decimal, scale: 2", "has more decimals than its column states"),
    ("money", "0.0001", "type: decimal, scale: 2", "has more decimals than its column states"),
    ("decimal(9,3)", "1.5", "type: integer", "has more decimals than its column states"),
    (
        "decimal(38,0)",
        "'99999999999999999999999999999999999999'",
        "type: decimal, scale: 2",
        "is out of the range of 38 digits",
    ),
    (
        "float",
        "cast('0.30000000000000004' as float)",
        "type: decimal, scale: 1, stored: float",
        "or is not an exact decimal",
    ),
    ("real", "0.3e0", "type: decimal, scale: 1, stored: real", None),
    ("float", "1e300", "type: decimal, scale: 1, stored: float", "is out of the range of 38 digits"),
    ("nvarchar(9)", "N'SECRET' + nchar(9)", "type: text", "holds a control character"),
    ("nvarchar(9)", "N'a' + nchar(133)", "type: text", "holds a control character"),
    ("nvarchar(9)", "nchar(8232)", "type: text", "holds a control character"),
]
ALIENS = [
    ("float", "type: decimal, scale: 1", "is of type float in the table: write stored: float"),
    ("real", "type: integer", "is of type real in the table: write stored: real"),
    ("datetime2", "type: timestamp", "is of type datetime2 in the table: it is in no zone"),
    ("datetime", "type: date", "is of type datetime in the table"),
    ("time", "type: text", "is of type time in the table: write type: text, stored: time"),
    ("money", "type: text", "is of type money in the table"),
    ("datetimeoffset", "type: timestamp, zone: UTC", "is of type datetimeoffset in the table"),
    ("int", "type: date", "is of type int in the table"),
    ("xml", "type: text", "is of type xml in the table: convert it in a view"),
    ("sql_variant", "type: text", "is of type sql_variant in the table"),
    ("ntext", "type: text", "is of type ntext in the table"),
]


def test_value_that_no_file_can_hold_is_refused_by_column_and_rule(sql: Sql, tmp_path: Path) -> None:
    sql(f"create table t.x (d date, id int, {', '.join(f'm{n} {kind}' for n, (kind, *_) in enumerate(REFUSED))})")
    for n, (_, value, _, _) in enumerate(REFUSED):
        sql(f"insert into t.x (d, id, m{n}) select '2026-11-27', {n}, {value}")
    columns = ", ".join(f"{{name: m{n}, {column}}}" for n, (_, _, column, _) in enumerate(REFUSED))
    fields = ", ".join(f"{{column: m{n}, optional: true}}" for n in range(len(REFUSED)))
    one = feed(tmp_path, f"[{{name: id, type: integer}}, {columns}]", fields=fields)

    lines = rows(sql, stage_query(one, DAY))
    with pytest.raises(FileRefused) as caught:
        written(one, lines)

    found = str(caught.value)
    for n, (*_, words) in enumerate(REFUSED):
        reasons = [line for line in found.splitlines() if f"'m{n}'" in line]
        if words is None:
            assert not reasons
            continue
        assert any(f"row {n + 1}, record R, field {n + 1} 'm{n}': " in line and words in line for line in reasons), (
            n,
            found,
        )
    assert "SECRET" not in found
    assert "SECRET" not in "".join(lines), "a refused value does not even leave the database"


def test_type_that_the_feed_does_not_state_is_refused_by_name(sql: Sql, tmp_path: Path) -> None:
    sql(
        f"create table t.x (d date, id int, k date, {', '.join(f'm{n} {kind}' for n, (kind, *_) in enumerate(ALIENS))})"
    )
    sql("insert into t.x (d, id) values ('2026-11-27', 1)")
    columns = ", ".join(f"{{name: m{n}, {column}}}" for n, (_, column, _) in enumerate(ALIENS))
    one = feed(tmp_path, f"[{{name: id, type: integer}}, {columns}]", fields="{column: id}")

    with pytest.raises(FileRefused) as caught:
        written(one, rows(sql, stage_query(one, DAY)))

    for n, (*_, words) in enumerate(ALIENS):
        assert f"column m{n} {words}" in str(caught.value)
    assert "column id" not in str(caught.value)


def test_nul_half_a_pair_and_hundred_nanoseconds_are_refused(sql: Sql, tmp_path: Path) -> None:
    sql.skip_on_the_test_server("it keeps neither NUL, nor half a surrogate pair, nor the seventh digit of a second")
    sql("create table t.x (d date, id int, m nvarchar(9), at datetime2(7))")
    sql("insert into t.x values ('2026-11-27', 1, nchar(0) + N'a', '2026-11-27'), ('2026-11-27', 2, N'a' + nchar(55357), '2026-11-27'),"
        " ('2026-11-27', 3, nchar(56832) + nchar(55357), '2026-11-27'), ('2026-11-27', 4, N'😀', '2026-11-27 10:00:00.0000001')")  # fmt: skip
    one = feed(
        tmp_path,
        "[{name: id, type: integer}, m, {name: at, type: timestamp, zone: UTC}]",
        fields="{column: m}, {column: at}",
    )

    with pytest.raises(FileRefused) as caught:
        written(one, rows(sql, stage_query(one, DAY)))

    found = str(caught.value)
    assert found.count("holds half of a surrogate pair") == 2
    assert "row 1, record R, field 1 'm': holds a control character" in found
    assert "row 4, record R, field 2 'at': has more than 6 digits of a second" in found


def test_bytes_leave_as_hexadecimal_digits(sql: Sql, tmp_path: Path) -> None:
    sql.skip_on_the_test_server("convert(.., 2) of binary")
    sql("create table t.x (d date, id int, b binary(4), v varbinary(max))")
    sql("insert into t.x values ('2026-11-27', 1, 0x00ff, 0x00ff), ('2026-11-27', 2, null, 0x)")
    one = feed(
        tmp_path,
        "[{name: id, type: integer}, {name: b, stored: binary}, {name: v, stored: binary}]",
        fields="{column: b, optional: true}, {column: v, optional: true}",
    )

    assert written(one, rows(sql, stage_query(one, DAY))) == b'"00FF0000";"00FF"\n;""\n'


# Which rows, in which order, with which totals


def test_texts_sort_by_their_code_units_and_null_comes_last(sql: Sql, tmp_path: Path) -> None:
    texts = ["a", "B", "_", "ä", "10", "9", "a ", "A", "b-c", "bc"]
    sql("create table t.x (d date, id nvarchar(9), n int)")
    sql(
        f"insert into t.x values {', '.join(f'''('2026-11-27', N'{text}', 1)''' for text in texts)}, ('2026-11-27', null, 1)"
    )

    lines = rows(sql, stage_query(feed(tmp_path, "[id]"), DAY))

    assert [json.loads(line)[1] for line in lines[:-1]] == [*sorted(texts), None]
    assert json.loads(lines[-1])["ties"] == 0


def test_filter_takes_texts_that_are_the_same_letter_by_letter(sql: Sql, tmp_path: Path) -> None:
    sql("create table t.x (d date, id int, k nvarchar(20))")
    same = ["NORTH", "north", "NORTH ", "NÖRTH", "ＮＯＲＴＨ", "NORTHX", ""]
    sql(f"insert into t.x values {', '.join(f'''('2026-11-27', {n}, N'{text}')''' for n, text in enumerate(same))}")
    one = feed(
        tmp_path,
        "[{name: id, type: integer}]",
        more="    where: {k: NORTH}\n    layout: {header: false, line_end: lf}\n",
    )

    assert written(one, rows(sql, stage_query(one, DAY))) == b"0\n2\n"


@pytest.mark.parametrize(
    ("kind", "column", "value", "is_found"),
    [
        ("bit", "type: integer", "1", True),
        ("bit", "type: integer", "true", False),
        ("int", "type: integer", "01", False),
        ("decimal(9,2)", "type: decimal, scale: 2", "1", False),
        ("varchar(9)", "type: text", "1", True),
    ],
)
@pytest.mark.parametrize("leaves", [True, False])
def test_filter_that_no_text_of_its_column_can_meet_is_refused_and_not_an_empty_batch(
    sql: Sql, tmp_path: Path, kind: str, column: str, value: str, is_found: bool, leaves: bool
) -> None:
    sql(f"create table t.x (d date, id int, k {kind}); insert into t.x values ('2026-11-27', 1, 1)")
    columns = f"[{{name: id, type: integer}}{f', {{name: k, {column}}}' if leaves else ''}]"
    one = feed(tmp_path, columns, fields="{column: id}", more=f"    where: {{k: '{value}'}}\n")

    lines = rows(sql, stage_query(one, DAY))

    if not is_found:
        with pytest.raises(FileRefused, match="column k is of type"):
            written(one, lines)
    else:
        assert written(one, lines) == b'"1"\n'


def test_business_date_that_is_an_instant_is_refused_with_what_to_do(sql: Sql, tmp_path: Path) -> None:
    sql("create table t.x (d datetimeoffset(0), id int); insert into t.x values ('2026-11-27 23:30 -02:00', 1)")
    one = feed(tmp_path, "[{name: id, type: integer}]", fields="{column: id}")

    with pytest.raises(FileRefused, match=r"column d is of type datetimeoffset.*business_date must be a date"):
        written(one, rows(sql, stage_query(one, DAY)))


def test_ties_and_repeated_values_are_counted_by_the_database(sql: Sql, tmp_path: Path) -> None:
    sql("create table t.x (d date, id nvarchar(9), g int)")
    sql(
        "insert into t.x values ('2026-11-27', 'a', 1), ('2026-11-27', 'a', 1), ('2026-11-27', 'A', 2), ('2026-11-27', NULL, 3), ('2026-11-27', 'a ', 4)"
    )
    one = feed(
        tmp_path,
        "[id, {name: g, type: integer}]",
        "[g]",
        fields="{column: id, unique: true, optional: true}, {column: g}",
    )

    with pytest.raises(FileRefused) as caught:
        written(one, rows(sql, stage_query(one, DAY)))

    assert "order_by does not decide the order of 2 or more rows" in str(caught.value)
    assert "column id must be unique, and 1 of its values occur again" in str(caught.value)


CHANGES = [
    ("update t.totals set total = NULL where d = '2026-11-30'", "the mart's control total of m differs"),
    ("delete from t.totals where d = '2026-11-29'", "the mart's control totals count 2 rows, the extract 3"),
    ("delete from t.totals", "the mart's control totals count 0 rows, the extract 3"),
]


def test_mart_s_totals_are_read_in_the_same_statement(sql: Sql, tmp_path: Path) -> None:
    sql("create table t.x (d date, id int, m money); create table t.totals (d date, n bigint, total decimal(16,3))")
    sql(
        "insert into t.x values ('2026-11-27', 1, 1.5), ('2026-11-28', 2, 28.05), ('2026-11-29', 3, 29.05), ('2026-11-30', 4, 30.05)"
    )
    sql("insert into t.totals select d, count(*), sum(m) from t.x group by d")
    one = feed(
        tmp_path, "[{name: id, type: integer}, {name: m, type: decimal, scale: 2}]", fields="{column: id}, {column: m}",
        more="    control: {table: t.totals, rows: n, sums: {m: total}}\n",
    )  # fmt: skip

    assert written(one, rows(sql, stage_query(one, DAY))) == b'"1";"1.50"\n'
    days = stage_query(one, LONDON.days(SATURDAY, MONDAY))
    assert written(one, rows(sql, days)).count(b"\n") == 3
    for change, words in CHANGES:
        sql(change)
        with pytest.raises(FileRefused, match=words):
            written(one, rows(sql, days))


def test_blocks_of_hours_take_each_instant_once(sql: Sql, tmp_path: Path) -> None:
    sql("create table t.x (d date, id int, at datetimeoffset(3))")
    instants = [datetime(2026, 10, 25, tzinfo=UTC) + timedelta(minutes=15) * n for n in range(16)]
    sql(
        f"insert into t.x values {', '.join(f'''('2026-10-25', {n}, '{at:%Y-%m-%d %H:%M:%S} +00:00')''' for n, at in enumerate(instants))}"
    )
    more = "    schedule: {every_hours: 1}\n    covers: {hours: 1, column: at}\n    layout: {header: false, line_end: lf}\n"
    one = feed(tmp_path, "[{name: id, type: integer}]", more=more)
    zone = Timetable(time_zone="Europe/London", calendar=Calendar(), schedule=one.schedule, covers=one.covers)

    found = [
        int(json.loads(line)[1])
        for run in zone.runs(instants[0], instants[0] + timedelta(hours=5))
        for line in rows(sql, stage_query(one, run.cover))[:-1]
    ]

    assert found == list(range(16))


def test_rows_leave_by_the_time_of_their_load_and_late_ones_are_counted(sql: Sql, tmp_path: Path) -> None:
    sql("create table t.x (d date, id int, at datetimeoffset(3))")
    sql("insert into t.x values ('2026-11-26', 1, '2026-11-29 05:00 +00:00'), ('2026-11-26', 2, '2026-11-27 05:00 +00:00'),"
        " ('2026-11-28', 3, '2026-11-28 22:00 +00:00'), ('2026-11-28', 4, '2026-11-30 06:00 +00:00'), ('2026-11-28', 5, null)")  # fmt: skip
    one = feed(
        tmp_path,
        "[{name: id, type: integer}]",
        more="    covers: since_last\n    since: 2026-11-25\n    late: {column: at, rows: next}\n    layout: {header: false}\n",
    )
    loaded = Loaded(
        column="at", since=date(2026, 11, 25), before=DAY, seen=datetime(2026, 11, 28, 5, tzinfo=UTC),
        until=datetime(2026, 11, 30, 5, tzinfo=UTC), takes_late=True,
    )  # fmt: skip

    lines = rows(sql, stage_query(one, LONDON.days(SATURDAY, date(2026, 11, 29)), loaded))

    assert [json.loads(line)[1] for line in lines[:-1]] == ["1", "3"]
    control = Control.parse(lines[-1])
    assert control is not None
    assert (control.rows, control.late, control.undated) == (2, 1, 1)


@pytest.mark.parametrize("covers", ["day", "{hours: 6, column: at}"])
def test_no_rows_come_with_the_first_and_last_day_of_the_table(sql: Sql, tmp_path: Path, covers: str) -> None:
    sql("create table t.x (d date, id int, at datetimeoffset(3))")
    one = feed(
        tmp_path,
        "[{name: id, type: integer}]",
        more=f"    covers: {covers}\n    schedule: {{every_hours: 6}}\n    layout: {{header: false}}\n",
    )
    zone = Timetable(time_zone="Europe/London", calendar=Calendar(), schedule=one.schedule, covers=one.covers)
    query = stage_query(one, zone.cover_at(datetime(2024, 11, 27, tzinfo=UTC)))

    assert json.loads(rows(sql, query)[0])["range"] == [None, None]
    sql("insert into t.x values ('2026-11-27', 1, '2026-11-27 23:30 -02:00')")

    (line,) = rows(sql, query)

    day = "2026-11-27" if covers == "day" else "2026-11-28"
    assert json.loads(line)["range"] == [day, day]


def test_three_hundred_columns_are_one_row(sql: Sql, tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(300)]
    sql(f"create table t.x (d date, id int, {', '.join(f'{name} nvarchar(9)' for name in names)})")
    sql(f"insert into t.x values ('2026-11-27', 1, {', '.join(repr(name) for name in names)})")
    one = feed(tmp_path, f"[{', '.join(names)}]", more="    layout: {header: false, line_end: lf}\n")

    assert written(one, rows(sql, stage_query(one, DAY))).decode() == ",".join(names) + "\n"


def test_rows_and_totals_are_of_one_state_while_the_table_changes(server: Server, sql: Sql, tmp_path: Path) -> None:
    sql("create table t.x (d date, id int identity, m int)")
    sql("insert into t.x (d, m) values ('2026-11-27', 1)")
    for _ in range(9):
        sql("insert into t.x (d, m) select d, m from t.x")
    one = feed(tmp_path, "[{name: id, type: integer}, {name: m, type: integer}]", fields="{column: id}, {column: m}")
    stop, failures = threading.Event(), []

    def change() -> None:
        other = Sql(server)
        while not stop.is_set():
            try:
                other("insert into t.x (d, m) values ('2026-11-27', 7), ('2026-11-27', -3)")
                other("update t.x set m = m + 1 where id % 3 = 0")
            except Exception as error:  # noqa: BLE001 - any fails the test
                failures.append(error)
                break
        other.close()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        sizes = [written(one, rows(sql, stage_query(one, DAY))).count(b"\n") for _ in range(3)]
    finally:
        stop.set()
        thread.join()

    assert not failures
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0], "the table changed meanwhile"


# Names and texts are never SQL

HOSTILE = st.text(
    st.sampled_from("'\"[]`;-/*\\%_ \n\r\t\x00ʼ’＇﹐ﬀ］［a1😀") | st.characters(codec="utf-8"), max_size=12
)


@given(HOSTILE)
def test_text_is_one_literal_that_ends_where_it_should(text: str) -> None:
    """Read back by the lexical rules of T-SQL, with no rule of the writer: N'..', '' for a quote, and NCHAR(n)."""
    found = literal(text)
    pieces = re.fullmatch(r"\(?((?:N'(?:[^']|'')*'|NCHAR\(\d+\)|(?: \+ ))+)\)?", found)
    assert pieces is not None
    letters = re.findall(r"N'((?:[^']|'')*)'|NCHAR\((\d+)\)", pieces[1])
    assert "".join(chr(int(code)) if code else plain.replace("''", "'") for plain, code in letters) == text
    assert not re.search(r"\\[\r\n]", found)


@given(st.text(st.sampled_from("[]'\";-. a😀") | st.characters(codec="utf-8"), min_size=1, max_size=12))
def test_name_is_one_name_in_brackets(name: str) -> None:
    found = identifier(name)
    assert re.fullmatch(r"\[(?:[^\]]|\]\])*\]", found, re.DOTALL)
    assert found[1:-1].replace("]]", "]") == name


def test_hostile_texts_and_names_select_nothing_else(sql: Sql, tmp_path: Path) -> None:
    @settings(max_examples=60)
    @given(st.text(st.sampled_from("'\"[];-/*\\%_ ʼ’＇］［a1"), max_size=12))
    def check(text: str) -> None:
        assert sql(f"select {literal(text)} as {identifier('x' + text.replace(']', ''))}") == [
            [text]
        ]  # the test server knows no ]] in a name

    check()
    sql("create table t.x (d date, id int, k nvarchar(90)); insert into t.x values ('2026-11-27', 1, N'a')")
    for text in ("a' OR 1=1 --", "aʼ; drop table t.x;--"):
        one = feed(tmp_path, "[{name: id, type: integer}]").model_copy(update={"where": {"k": text}})
        assert len(rows(sql, stage_query(one, DAY))) == 1
    assert sql("select count(*) from t.x") == [[1]]


@pytest.mark.parametrize("name", ["a]b", "a'b", 'a"b', "a;--", "a b", "aʼ", "ａ", "a\u0000"])
def test_partner_file_takes_plain_names_only(tmp_path: Path, name: str) -> None:
    from partners import PartnerInvalid

    with pytest.raises(PartnerInvalid):
        feed(tmp_path, f"[{{name: {json.dumps(name)}}}]")
