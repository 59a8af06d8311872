"""`./sealift bench shape`: rows into a partner's file and back, for three layouts, and what the staged query costs the database.

CPU seconds per million rows, which a shared machine distorts least; the file is counted and dropped. Bars: writer 8.5, reader
6, 80 MiB beside Python with its imports, the staged query 2.5 times the query of columns that it replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median

import psycopg
import yaml

from local.postgres import Postgres
from partners.figures import FileFigures
from partners.layout import Column, Layout
from partners.naming import BatchFacts
from partners.rereading import Place, Rereader
from partners.shaping import Shaper

ROOT = Path(__file__).resolve().parent.parent
WRITER_SECONDS, READER_SECONDS, MEMORY_MIB, QUERY_RATIO, STATEMENT_BYTES = 8.5, 6.0, 80, 2.5, 2000
_RUNS = 2  # the better one counts: other work on the machine only ever adds
_BLOCK = 1 << 18  # characters, as the worker reads staged rows
DAY = date(2026, 11, 27)
FACTS = BatchFacts(
    batch="bench.rows.2026-11-27.1",
    partner="bench",
    business_date=DAY,
    made=datetime(2026, 11, 28, 3, tzinfo=UTC),
    time_zone="Europe/Athens",
)
COLUMNS = """
[{name: id}, {name: member}, {name: merchant}, {name: at, type: timestamp}, {name: day, type: date},
 {name: amount, type: decimal, scale: 2}, {name: currency}, {name: points, type: integer}]
"""
_ROW = "{record: R, at: row, fields: [{constant: R}, {column: id}, {column: member}, {column: merchant}, {column: at, format: '%Y%m%d%H%M%S'}, {column: amount}, {column: currency}, {column: points}]}"  # noqa: E501
LAYOUTS = {
    "8 fields, totals last": f"{{delimited: ';', line_end: lf, quote: never, records: [{_ROW}, {{record: T, at: end, fields: [{{constant: T}}, {{count: rows}}, {{sum: amount}}]}}]}}",  # noqa: E501
    "250 bytes, totals first": """
{fixed: 250, line_end: lf, encoding: ascii, records: [
  {record: H, at: start, fields: [{constant: H, length: 1}, {count: rows, length: 9}, {sum: amount, implied: true, sign: overpunch, length: 17}, {blank: true, length: 223}]},
  {record: R, at: row, fields: [{constant: R, length: 1}, {column: id, length: 20}, {column: member, length: 30}, {column: merchant, length: 40},
    {column: at, format: '%Y%m%d%H%M%S', length: 14}, {column: amount, implied: true, sign: overpunch, length: 15}, {column: currency, length: 3}, {column: points, length: 9}, {blank: true, length: 118}]}]}
""",  # noqa: E501
    "25 rows a file": f"{{delimited: ',', line_end: crlf, quote: never, rows_per_file: 25, records: [{{record: H, at: start, fields: [{{constant: H}}, {{number: sequence}}, {{count: rows}}, {{sum: amount}}]}}, {_ROW}]}}",  # noqa: E501
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one layout cost, in CPU seconds per million rows."""

    writer: float
    reader: float
    megabytes: float
    files: int
    memory_mib: float


class _Counted:
    """A file that is read back as it is written, or only counted."""

    def __init__(self, reader: Rereader | None, place: Place) -> None:
        self._reader = reader.file(place) if reader else None
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self._reader:
            self._reader.feed(data)

    def close(self, figures: FileFigures) -> None:
        if self._reader:
            self._reader.check(figures)


def main(argv: list[str]) -> int:
    """Print the tables; exit 1 when one of the bars is missed."""
    parser = argparse.ArgumentParser("sealift bench shape", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--child", nargs=2, metavar=("LAYOUT", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--no-database", action="store_true", help="leave the query out")
    arguments = parser.parse_args(argv)
    if arguments.child:
        print(json.dumps(_measure(arguments.child[0], Path(arguments.child[1]), arguments.rows)))
        return 0
    with tempfile.TemporaryDirectory(prefix="sealift-bench-") as folder:
        staged = Path(folder) / "rows.jsonl"
        _stage(staged, arguments.rows)
        figures = {name: _child(name, staged, arguments.rows) for name in LAYOUTS}
        ok = _show(figures)
        if not arguments.no_database:
            ok = _query(Path(folder), arguments.rows) and ok
    return 0 if ok else 1


def _stage(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        total = points = 0
        for n in range(1, rows + 1):
            cents = 100 + n * 7919 % 2_000_000
            total, points = total + cents, points + n % 500
            values = [
                f"T{n:011d}",
                f"M{n * 31 % 10**9:09d}",
                f"S{n % 400:06d}",
                f"2026-11-27T{n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}+00:00",
                "2026-11-27",
                f"{cents // 100}.{cents % 100:02d}",
                "EUR",
                str(n % 500),
            ]
            file.write(json.dumps([n, *values]) + "\n")
        sums = {"amount": f"{total // 100}.{total % 100:02d}", "points": str(points)}
        file.write(json.dumps({"rows": rows, "sums": sums}) + "\n")


def _child(layout: str, staged: Path, rows: int) -> Figure:
    command = [sys.executable, "-m", "benchmarks.shape", "--rows", str(rows), "--child", layout, str(staged)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
        for _ in range(_RUNS)
    ]
    return Figure(**{name: min(run[name] for run in runs) for name in runs[0]})


def _measure(name: str, staged: Path, rows: int) -> dict[str, float]:
    layout = Layout.model_validate(yaml.safe_load(LAYOUTS[name]))
    columns = [Column.model_validate(each) for each in yaml.safe_load(COLUMNS)]
    before_mib = _peak_mib()
    seconds, sizes = {}, []
    for reads in (False, True):
        reader = Rereader(layout, columns, FACTS) if reads else None
        done: list[int] = []

        def open_file(part: int, reader: Rereader | None = reader) -> _Counted:
            return _Counted(reader, Place(part=part, sequence=part, rows_before=(part - 1) * 25))

        def lines() -> Iterator[str]:
            rest = ""
            with staged.open(encoding="utf-8", newline="") as file:
                while block := file.read(_BLOCK):
                    *whole, rest = (rest + block).split("\n")
                    yield from whole

        began = time.process_time()
        shaped = Shaper(layout, columns, FACTS).shape(lines, open_file, lambda part: part)
        seconds[reads] = time.process_time() - began
        sizes = [len(shaped.files), *done]
    per_million = 1_000_000 / rows
    return {
        "writer": seconds[False] * per_million,
        "reader": (seconds[True] - seconds[False]) * per_million,
        "megabytes": staged.stat().st_size / 1e6,
        "files": sizes[0],
        "memory_mib": _peak_mib() - before_mib,
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _show(figures: dict[str, Figure]) -> bool:
    print(f"{'layout':<28} {'files':>7} {'writer CPU s':>13} {'reader CPU s':>13} {'MiB more':>9}")
    for name, each in figures.items():
        print(f"{name:<28} {each.files:>7,} {each.writer:>13.1f} {each.reader:>13.1f} {each.memory_mib:>9.0f}")
    worst = [
        max(each.writer for each in figures.values()) <= WRITER_SECONDS,
        max(each.reader for each in figures.values()) <= READER_SECONDS,
        max(each.memory_mib for each in figures.values()) <= MEMORY_MIB,
    ]
    print(f"per million rows; bars: writer {WRITER_SECONDS}, reader {READER_SECONDS}, {MEMORY_MIB} MiB")
    return all(worst)


def _query(folder: Path, rows: int) -> bool:
    """Compare the CPU of the database's process for the staged query and for the columns alone."""
    from partners.query import Dates, Extract, _postgresql

    columns = [Column.model_validate(each) for each in yaml.safe_load(COLUMNS)]
    extract = Extract(
        table="b.rows",
        columns=tuple(columns),
        where=(),
        period=Dates("day", DAY, DAY),
        order=(("id", True),),
        unique=(),
        control=None,
    )
    staged = _postgresql(extract)
    names = ", ".join(_final_text(column) for column in columns)
    plain = f'SELECT {names} FROM b.rows WHERE "day" = DATE \'{DAY}\' ORDER BY b.rows."id"'
    with Postgres(folder / "postgres") as server, psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA b")
        connection.execute(
            "CREATE TABLE b.rows AS SELECT 'T' || lpad(n::text, 11, '0') AS id, 'M' || n AS member, 'S' || n % 400 AS merchant,"
            " timestamptz '2026-11-27' + n % 86400 * interval '1 s' AS at, date '2026-11-27' AS day,"
            " (n % 2000000 / 100.0)::numeric(12, 2) AS amount, 'EUR' AS currency, (n % 500)::int AS points"
            f" FROM generate_series(1, {rows}) AS n"
        )
        connection.execute("ANALYZE b.rows")
        # One process does all of a query, so that its CPU is all that the query costs.
        connection.execute("SET max_parallel_workers_per_gather = 0")
        pid = connection.info.backend_pid
        rounds: dict[str, list[float]] = {"plain": [], "staged": []}
        for _ in range(3):
            for name, query in (("plain", plain), ("staged", staged)):
                rounds[name].append(_cpu(connection, pid, query))
        seconds = {name: median(found) for name, found in rounds.items()}
    ratio = seconds["staged"] / seconds["plain"]
    print(
        f"database: columns {seconds['plain']:.1f} CPU s, staged {seconds['staged']:.1f}: {ratio:.2f} times (bar {QUERY_RATIO});"
        f" statement {len(staged):,} bytes (bar {STATEMENT_BYTES:,})"
    )
    return ratio <= QUERY_RATIO and len(staged) < STATEMENT_BYTES


def _final_text(column: Column) -> str:
    """Return a column as the query had it when the database wrote the values' final text (before layouts)."""
    name = f'"{column.name}"'
    match column.type:
        case "decimal" | "integer":
            scale = column.scale or 0
            return f"round(({name} / CASE WHEN {name} = round({name}, {scale}) THEN 1 ELSE 0 END), {scale})::text"
        case "date":
            return f"to_char({name}, 'YYYY-MM-DD')"
        case "timestamp":
            return f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
        case _:
            return f"{name}::text"


def _cpu(connection: psycopg.Connection[tuple[object, ...]], pid: int, query: str) -> float:
    """Run a query to its end and return the CPU seconds of its server process."""
    before = _ticks(pid)
    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
        for _ in copy:
            pass
    return (_ticks(pid) - before) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
