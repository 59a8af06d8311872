"""The staged query on a real PostgreSQL: rows in the bytes' order with their number, and what the database counts about them."""

# ruff: noqa: E501 - a layout reads best on one line

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from late_rows import is_late, is_taken
from layout_support import FACTS, reread, write

from local.postgres import Postgres
from partners import stage_query
from partners.calendars import Calendar
from partners.figures import Control
from partners.late import Loaded
from partners.loading import FOLDER, read_partner
from partners.model import Feed
from partners.refusals import FileRefused
from partners.schedule import Timetable

HEAD = (FOLDER / "cedarway.yaml").read_text().split("feeds:")[0]
DAY = date(2026, 11, 27)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def table(postgres: Postgres) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS t CASCADE; CREATE SCHEMA t")
        yield connection


def feed(folder: Path, columns: str, order_by: str = "[id]", more: str = "", fields: str = "") -> Feed:
    layout = f"    layout: {{delimited: ',', quote: minimal, line_end: lf, empty: send, records: [{{record: R, fields: [{fields}]}}]}}\n"
    (folder / "any.yaml").write_text(
        f"{HEAD}feeds:\n  one:\n    title: x\n    table: t.x\n    business_date: d\n    order_by: {order_by}\n    columns: {columns}\n"
        f"    file_name: '{{date}}{{sequence}}.csv'\n    route: function\n{layout if fields else ''}{more}"
    )
    return read_partner(folder / "any.yaml").feeds["one"]


def rows(connection: psycopg.Connection[Any], query: str) -> list[str]:
    return [row[0] for row in connection.execute(query)]  # type: ignore[call-overload]


def written(feed: Feed, lines: list[str]) -> bytes:
    done = write(feed.full_layout, feed.columns, lines, has_totals=feed.control is not None)
    reread(feed.full_layout, feed.columns, done)
    return done.files[0]


def test_every_type_arrives_exactly_and_a_number_sorts_by_size(table: Any, tmp_path: Path) -> None:
    table.execute(
        "CREATE TABLE t.x (d date, id bigint, name text, code char(5), amount numeric, day date, at timestamptz);"
        "INSERT INTO t.x VALUES ('2026-11-27', 10, 'Zoë, \"x\"', 'AB', 12.50, '2024-02-29', '2026-11-27 10:00:00.25+02'),"
        " ('2026-11-27', -3, NULL, 'ABCDE', -0.05, NULL, NULL), ('2026-11-27', 2, 'tail ', '', 0, '9999-12-31', '0001-01-01 00:00+00'),"
        " ('2026-11-26', 1, 'other day', '', 0, NULL, NULL)"
    )
    columns = "[{name: id, type: integer}, name, code, {name: amount, type: decimal, scale: 2}, {name: day, type: date}, {name: at, type: timestamp}]"

    lines = rows(table, stage_query(feed(tmp_path, columns), DAY))

    short = feed(tmp_path, columns, more="    layout: {header: false, line_end: lf}\n")
    assert written(short, lines).decode() == (
        "-3,,ABCDE,-0.05,,\n"
        "2,tail ,,0.00,9999-12-31,0001-01-01T00:00:00Z\n"
        '10,"Zoë, ""x""",AB,12.50,2024-02-29,2026-11-27T08:00:00.25Z\n'
    )
    control = json.loads(lines[-1])
    assert control["sums"] == {"id": "9", "amount": "12.45"}
    assert (control["rows"], control["ties"]) == (3, 0)


def test_texts_sort_by_their_bytes_whatever_the_servers_language(table: Any, tmp_path: Path) -> None:
    table.execute(
        "CREATE TABLE t.x (d date, id text);"
        "INSERT INTO t.x SELECT '2026-11-27', unnest(array['a', 'B', '_', 'ä', '10', '9'])"
    )

    query = stage_query(feed(tmp_path, "[id]"), DAY)

    assert 'ORDER BY "id" COLLATE "C"' in query
    lines = rows(table, query)
    assert [json.loads(line)[1] for line in lines[:-1]] == ["10", "9", "B", "_", "a", "ä"]


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("numeric", "'NaN'", "is not a number"),
        ("numeric", "'Infinity'", "is not a number"),
        ("numeric", "1.005", "has more than 2 decimals"),
        ("double precision", "1.5", "is a floating-point number in the table"),
    ],
)
def test_numbers_that_cannot_be_written_exactly_are_refused(
    table: Any, tmp_path: Path, kind: str, value: str, words: str
) -> None:
    table.execute(f"CREATE TABLE t.x (d date, id text, m {kind}); INSERT INTO t.x VALUES ('2026-11-27', 'a', {value})")
    one = feed(tmp_path, "[id, {name: m, type: decimal, scale: 2}]", fields="{column: id}, {column: m}")

    with pytest.raises(FileRefused, match=words):
        written(one, rows(table, stage_query(one, DAY)))


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("date", "'infinity'", "is not a date"),
        ("date", "'0044-03-15 BC'", "is not a date"),
        ("date", "'10000-01-01'", "is not a date"),
        ("timestamptz", "'-infinity'", "is not a date and time"),
        ("timestamp", "'2026-11-27 10:00'", "is a time without a zone"),
    ],
)
def test_dates_that_no_file_can_hold_are_refused(table: Any, tmp_path: Path, kind: str, value: str, words: str) -> None:
    table.execute(f"CREATE TABLE t.x (d date, id text, m {kind}); INSERT INTO t.x VALUES ('2026-11-27', 'a', {value})")
    name = "date" if kind == "date" else "timestamp"
    one = feed(tmp_path, f"[id, {{name: m, type: {name}}}]", fields="{column: id}, {column: m}")

    with pytest.raises(FileRefused, match=words):
        written(one, rows(table, stage_query(one, DAY)))


def test_ties_and_repeated_values_are_counted_by_the_database(table: Any, tmp_path: Path) -> None:
    table.execute(
        "CREATE TABLE t.x (d date, id text, g text);"
        "INSERT INTO t.x VALUES ('2026-11-27', 'a', '1'), ('2026-11-27', 'a', '1'), ('2026-11-27', NULL, '2'), ('2026-11-27', 'b', '3')"
    )
    one = feed(tmp_path, "[id, g]", "[g]", fields="{column: id, unique: true, optional: true}, {column: g}")

    lines = rows(table, stage_query(one, DAY))

    with pytest.raises(FileRefused) as caught:
        written(one, lines)
    assert "order_by does not decide the order of 2 or more rows" in str(caught.value)
    assert "column id must be unique, and 1 of its values occur again" in str(caught.value)


def test_the_mart_s_totals_are_read_in_the_same_statement(table: Any, tmp_path: Path) -> None:
    table.execute(
        "CREATE TABLE t.x (d date, id text, m numeric(12, 2)); INSERT INTO t.x VALUES ('2026-11-27', 'a', 1.50), ('2026-11-27', 'b', 2.00);"
        "CREATE TABLE t.totals (d date, n bigint, total numeric(16, 2)); INSERT INTO t.totals VALUES ('2026-11-27', 2, 3.50)"
    )
    more = "    control: {table: t.totals, rows: n, sums: {m: total}}\n"
    one = feed(tmp_path, "[id, {name: m, type: decimal, scale: 2}]", fields="{column: id}, {column: m}", more=more)

    assert written(one, rows(table, stage_query(one, DAY))) == b"a,1.50\nb,2.00\n"

    table.execute("UPDATE t.totals SET total = 3.51")
    with pytest.raises(FileRefused, match="the mart's control total of m differs"):
        written(one, rows(table, stage_query(one, DAY)))


def test_no_rows_are_a_control_object_alone(table: Any, tmp_path: Path) -> None:
    table.execute("CREATE TABLE t.x (d date, id text, m numeric)")
    one = feed(tmp_path, "[id, {name: m, type: decimal, scale: 2}]", fields="{column: id}, {column: m}")

    lines = rows(table, stage_query(one, DAY))

    assert len(lines) == 1
    assert written(one, lines) == b""


def test_a_hundred_and_fifty_columns_are_joined_from_several_arrays(table: Any, tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(150)]
    table.execute(f"CREATE TABLE t.x (d date, id text, {', '.join(f'{name} text' for name in names)})")
    table.execute(f"INSERT INTO t.x VALUES ('2026-11-27', 'a', {', '.join(repr(name) for name in names)})")
    one = feed(tmp_path, f"[id, {', '.join(names)}]", more="    layout: {header: false, line_end: lf}\n")

    assert written(one, rows(table, stage_query(one, DAY))).decode() == ",".join(["a", *names]) + "\n"


def test_the_statement_of_a_usual_feed_is_shorter_than_two_kilobytes() -> None:
    from partners import load_partners

    for partner in load_partners():
        for each in partner.feeds.values():
            assert len(stage_query(each, DAY)) < 2000
    assert FACTS.business_date == DAY


SATURDAY, MONDAY = date(2026, 11, 28), date(2026, 11, 30)
TOTALS = "    control: {table: t.totals, rows: n, sums: {m: total}}\n"
AMOUNTS = "[id, {name: m, type: decimal, scale: 2}]"
LONDON = Timetable(time_zone="Europe/London", calendar=Calendar())


@pytest.fixture
def days(table: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """The rows of five days around the turn of a month, one a day, and the totals of each."""
    table.execute(
        "CREATE TABLE t.x (d date, id text, m numeric(12, 2), at timestamptz);"
        "INSERT INTO t.x SELECT d, to_char(d, 'DD'), extract(day FROM d) + 0.05, d + interval '6 hours'"
        " FROM generate_series(timestamptz '2026-11-27', '2026-12-01', '1 day') AS d;"
        "CREATE TABLE t.totals AS SELECT d, count(*) AS n, sum(m) AS total FROM t.x GROUP BY d"
    )
    return table


def test_rows_of_several_days_are_one_extract_with_the_sum_of_their_totals(days: Any, tmp_path: Path) -> None:
    one = feed(tmp_path, AMOUNTS, fields="{column: id}, {column: m}", more=TOTALS)

    lines = rows(days, stage_query(one, LONDON.days(SATURDAY, MONDAY)))

    assert written(one, lines) == b"28,28.05\n29,29.05\n30,30.05\n"
    assert json.loads(lines[-1])["totals"] == [{"rows": "3", "sums": {"m": "87.15"}}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DELETE FROM t.totals WHERE d = '2026-11-29'", "the mart's control totals count 2 rows, the extract 3"),
        ("UPDATE t.totals SET total = 0 WHERE d = '2026-11-30'", "the mart's control total of m differs"),
        ("UPDATE t.totals SET total = NULL WHERE d = '2026-11-30'", "the mart's control total of m differs"),
        ("TRUNCATE t.totals", "the mart's control totals count 0 rows, the extract 3"),
        ("DELETE FROM t.x WHERE d = '2026-11-28'", "the mart's control totals count 3 rows, the extract 2"),
    ],
)
def test_day_whose_totals_do_not_fit_refuses_the_whole_extract(
    days: Any, tmp_path: Path, change: str, words: str
) -> None:
    one = feed(tmp_path, AMOUNTS, fields="{column: id}, {column: m}", more=TOTALS)
    days.execute(change)

    with pytest.raises(FileRefused, match=words):
        written(one, rows(days, stage_query(one, LONDON.days(SATURDAY, MONDAY))))


def test_several_days_without_rows_agree_with_totals_without_rows(days: Any, tmp_path: Path) -> None:
    one = feed(tmp_path, AMOUNTS, fields="{column: id}, {column: m}", more=TOTALS)

    lines = rows(days, stage_query(one, LONDON.days(date(2026, 12, 5), date(2026, 12, 7))))

    assert written(one, lines) == b""


@pytest.mark.parametrize(
    ("covers", "wanted"),
    [("month", b"27,27.05\n28,28.05\n29,29.05\n30,30.05\n"), ("week", b"27,27.05\n28,28.05\n29,29.05\n")],
)
def test_month_and_week_take_their_days_and_no_other(days: Any, tmp_path: Path, covers: str, wanted: bytes) -> None:
    more = f"{TOTALS}    covers: {covers}\n"
    one = feed(tmp_path, AMOUNTS, fields="{column: id}, {column: m}", more=more)
    table = Timetable(time_zone="Europe/London", calendar=Calendar(), covers=one.covers)

    cover = table.cover_at(datetime(2026, 12, 1, 3, tzinfo=UTC))

    assert written(one, rows(days, stage_query(one, cover))) == wanted


def test_blocks_of_hours_take_each_instant_once_through_both_clock_changes(table: Any, tmp_path: Path) -> None:
    table.execute(
        "CREATE TABLE t.x (d date, id text, at timestamptz);"
        "INSERT INTO t.x SELECT at::date, to_char(at AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), at FROM"
        " (SELECT generate_series(timestamptz '2026-03-28 00:00+00', '2026-03-30 00:00+00', '15 min') AS at"
        " UNION ALL SELECT generate_series(timestamptz '2026-10-24 00:00+00', '2026-10-26 12:00+00', '15 min')) AS s"
    )
    more = "    schedule: {every_hours: 1}\n    covers: {hours: 1, column: at}\n    layout: {header: false, line_end: lf}\n"
    one = feed(tmp_path, "[id]", more=more)
    zone = Timetable(time_zone="Europe/London", calendar=Calendar(), schedule=one.schedule, covers=one.covers)
    found: list[str] = []
    wanted: list[str] = []
    for first, last in ((date(2026, 3, 28), date(2026, 3, 30)), (date(2026, 10, 24), date(2026, 10, 26))):
        start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, last))
        runs = zone.runs(start, end)
        for run in runs:
            found += [json.loads(line)[1] for line in rows(table, stage_query(one, run.cover))[:-1]]
        between = table.execute(
            "SELECT id FROM t.x WHERE at >= %s AND at < %s ORDER BY 1", [runs[0].cover.start, runs[-1].cover.end]
        )
        wanted += [row[0] for row in between]

    assert found == wanted
    assert len(wanted) == 2 * 48 * 4


def test_totals_are_read_from_their_own_table_only(table: Any, tmp_path: Path) -> None:
    """A column that the totals lack, and the extract has, must not be compared with itself."""
    table.execute(
        "CREATE TABLE t.x (d date, id text, m numeric(12, 2)); INSERT INTO t.x VALUES ('2026-11-28', 'a', 1.50);"
        "CREATE TABLE t.totals (d date, n bigint); INSERT INTO t.totals VALUES ('2026-11-28', 1)"
    )
    more = "    control: {table: t.totals, rows: n, sums: {m: m}}\n"
    one = feed(tmp_path, AMOUNTS, fields="{column: id}, {column: m}", more=more)

    for cover in (LONDON.days(SATURDAY, SATURDAY), LONDON.days(SATURDAY, MONDAY)):
        with pytest.raises(psycopg.errors.UndefinedColumn):
            rows(table, stage_query(one, cover))


@pytest.mark.parametrize("takes_late", [True, False])
def test_rows_leave_by_the_time_of_their_load_and_late_ones_are_counted(
    table: Any, tmp_path: Path, takes_late: bool
) -> None:
    """Each day has a row for each hour of a week of loads; the rule in Python and the query agree about every one."""
    table.execute(
        "CREATE TABLE t.x (d date, id text, k text, at timestamptz);"
        "INSERT INTO t.x SELECT d, to_char(d, 'MM-DD') || to_char(at AT TIME ZONE 'UTC', ' MM-DD HH24'), k, at"
        " FROM generate_series(timestamp '2026-11-24', '2026-11-30', '1 day') AS d,"
        " generate_series(timestamptz '2026-11-24 00:00+00', '2026-12-01 00:00+00', '1 hour') AS at,"
        " unnest(array['ours', 'theirs']) AS k"
    )
    more = "    where: {k: ours}\n    covers: since_last\n    since: 2026-11-25\n    layout: {header: false, line_end: lf}\n"
    more += f"    late: {{column: at, rows: {'next' if takes_late else 'refuse'}}}\n"
    one = feed(tmp_path, "[id]", more=more)
    loaded = Loaded(
        column="at",
        since=date(2026, 11, 25),
        before=date(2026, 11, 27),
        seen=datetime(2026, 11, 28, 5, tzinfo=UTC),
        until=datetime(2026, 11, 30, 5, tzinfo=UTC),
        takes_late=takes_late,
    )

    lines = rows(table, stage_query(one, LONDON.days(SATURDAY, date(2026, 11, 29)), loaded))

    everything = table.execute("SELECT id, d, at FROM t.x WHERE k = 'ours'").fetchall()
    wanted = [i for i, day, at in everything if is_taken(loaded, SATURDAY, date(2026, 11, 29), day, at)]
    late = [i for i, day, at in everything if is_late(loaded, day, at)]
    assert [json.loads(line)[1] for line in lines[:-1]] == sorted(wanted)
    control = json.loads(lines[-1])
    assert (control["rows"], control["late"], control["undated"]) == (len(wanted), len(late), 0)
    assert len(late) == 3 * 48


def test_rows_without_a_time_of_their_load_are_counted(table: Any, tmp_path: Path) -> None:
    table.execute(
        "CREATE TABLE t.x (d date, id text, at timestamptz);"
        "INSERT INTO t.x VALUES ('2026-11-26', 'a', NULL), ('2026-11-28', 'b', NULL), ('2026-11-30', 'c', NULL)"
    )
    more = "    covers: since_last\n    since: 2026-11-25\n    late: {column: at, rows: next}\n"
    one = feed(tmp_path, "[id]", more=more)
    loaded = Loaded(column="at", since=date(2026, 11, 25), until=datetime(2026, 11, 30, tzinfo=UTC), takes_late=True)

    lines = rows(table, stage_query(one, LONDON.days(SATURDAY, date(2026, 11, 29)), loaded))

    assert json.loads(lines[-1])["undated"] == 2


@pytest.mark.parametrize(
    ("covers", "content", "known"),
    [
        (
            "day",
            "('2025-01-03', 'x', '2025-01-03 10:00+00'), ('2026-11-27', 'y', '2026-11-27 23:00+00')",
            ["2025-01-03", "2026-11-27"],
        ),
        ("{hours: 6, column: at}", "('2026-11-27', 'y', '2026-11-27 23:30-02')", ["2026-11-28", "2026-11-28"]),
        ("day", "('infinity', 'x', NULL)", ["infinity", "infinity"]),
        ("day", "", [None, None]),
    ],
)
def test_no_rows_come_with_the_first_and_last_day_of_the_table(
    table: Any, tmp_path: Path, covers: str, content: str, known: list[str | None]
) -> None:
    table.execute("CREATE TABLE t.x (d date, id text, at timestamptz)")
    if content:
        table.execute(f"INSERT INTO t.x VALUES {content}")
    one = feed(
        tmp_path, "[id]", more=f"    covers: {covers}\n    schedule: {{every_hours: 6}}\n    where: {{id: none}}\n"
    )
    zone = Timetable(time_zone="Europe/London", calendar=Calendar(), schedule=one.schedule, covers=one.covers)

    (line,) = rows(table, stage_query(one, zone.cover_at(datetime(2024, 11, 27, tzinfo=UTC))))

    assert json.loads(line)["range"] == known
    control = Control.parse(line)
    assert control is not None
    assert (control.range is None) == ("infinity" in known)


def test_range_is_not_asked_for_where_there_are_rows(table: Any, tmp_path: Path) -> None:
    table.execute("CREATE TABLE t.x (d date, id text); INSERT INTO t.x VALUES ('2026-11-27', 'a')")

    query = stage_query(feed(tmp_path, "[id]"), DAY)

    assert json.loads(rows(table, query)[-1])["range"] is None
    explained = table.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}").fetchone()[0]
    assert "'Actual Loops': 0" in str(explained), "the table is not read a second time"
