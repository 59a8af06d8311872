"""Will a feed's files be there in time, and does every day leave? The next 400 days of each feed, computed beforehand.

A fault is what would go wrong on every day: no run at all, or a deadline before each run. What goes wrong on some days is a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from batches.expecting import expectation
from partners import Feed, Partner
from partners.schedule import NIGHTLY, Hours, Run, Timetable

PROJECT = Path(__file__).resolve().parent.parent / "dbt_runner" / "project" / "dbt_project.yml"
AHEAD = timedelta(days=400)
# What the column with the time of a row's load is called by the usual loaders.
_LOAD_COLUMNS = frozenset(
    {
        *("loaded_at", "load_time", "load_timestamp", "load_ts", "inserted_at", "ingested_at", "ingestion_time"),
        *("etl_loaded_at", "dbt_loaded_at", "_loaded_at", "_ingested_at", "_fivetran_synced", "_airbyte_extracted_at"),
    }
)


def calendar_faults(partner: Partner, now: datetime) -> list[str]:
    """Return what makes a feed useless on every one of the next days, with the feed's name."""
    found = []
    for name, feed in partner.feeds.items():
        runs = partner.timetable(name).due(now, now + AHEAD)
        if not runs and not (feed.paused and feed.paused.until > (now + AHEAD).date()):
            found.append(f"{name}: is never due in the next 400 days: correct schedule, days or since")
        late = [run for run in runs if _is_late(partner, name, feed, run)]
        if runs and len(late) == len(runs):
            run = late[0]
            due = expectation(partner, name, feed).due_by(run.cover.last)
            found.append(
                f"{name}: every batch is late: that of {run.cover.last} is due by {due:%Y-%m-%d %H:%M} UTC and runs at "
                f"{run.at:%Y-%m-%d %H:%M} UTC; correct schedule.at, expected.by or expected.days_after"
            )
    return found


def calendar_notes(partner: Partner, now: datetime, project: Path = PROJECT) -> Iterator[str]:
    """Yield what is worth knowing about each feed's next days, with the feed's name."""
    dbt_zone = str(yaml.safe_load(project.read_text("utf-8")).get("vars", {}).get("business_time_zone", "UTC"))
    for name, feed in partner.feeds.items():
        table = partner.timetable(name)
        runs = table.due(now, now + AHEAD)
        for note in (
            _late_days(partner, name, feed, runs),
            _lost_days(feed, table, runs),
            _other_zone(partner, feed, dbt_zone),
            _clock_changes(table, runs),
            _numbers(feed, runs),
            _short_numbers(feed, runs),
            _letters(feed),
            _late_rows(feed, project),
            _minutes(feed),
        ):
            if note:
                yield f"{name}: {note}"


def _is_late(partner: Partner, name: str, feed: Feed, run: Run) -> bool:
    return feed.expected is not None and run.at >= expectation(partner, name, feed).due_by(run.cover.last)


def _late_days(partner: Partner, name: str, feed: Feed, runs: list[Run]) -> str:
    late = [run for run in runs if _is_late(partner, name, feed, run)]
    if not late or len(late) == len(runs):
        return ""
    return f"{len(late)} of {len(runs)} batches of the next 400 days cannot be in time; the first is that of {late[0].cover.last}"


def _lost_days(feed: Feed, table: Timetable, runs: list[Run]) -> str:
    """Say which days no batch covers. Only `since_last` has none by its nature."""
    if feed.covers == "since_last" or not runs:
        return ""
    covered = {
        run.cover.first + timedelta(days=n) for run in runs for n in range((run.cover.last - run.cover.first).days + 1)
    }
    first, last = min(covered), max(covered)
    lost = [day for n in range((last - first).days) if (day := first + timedelta(days=n)) not in covered]
    if not lost:
        return ""
    shown = ", ".join(f"{day} {table.calendar.why_closed(day)}".rstrip() for day in lost[:2])
    return f"{len(lost)} of the next 400 days are in no batch ({shown}): their rows never leave; covers: since_last takes them"


def _other_zone(partner: Partner, feed: Feed, dbt_zone: str) -> str:
    if isinstance(feed.covers, Hours) or not feed.table.startswith("marts.") or dbt_zone == partner.time_zone:
        return ""
    return f"its days are those of {partner.time_zone}, the business dates of the table those of {dbt_zone} (dbt_project.yml)"


def _clock_changes(table: Timetable, runs: list[Run]) -> str:
    """Say on which days a clock change skips or repeats the time at which the feed runs."""
    schedule = table.schedule or NIGHTLY
    zone = ZoneInfo(schedule.time_zone or table.time_zone)
    odd = sorted({run.day for run in runs for clock in schedule.times if _is_odd(run.day, clock, zone)})
    return f"the clocks change while it runs on {', '.join(map(str, odd[:4]))}" if odd else ""


def _is_odd(day: date, clock: time, zone: ZoneInfo) -> bool:
    first, second = (datetime.combine(day, clock.replace(fold=fold), tzinfo=zone) for fold in (0, 1))
    return first.utcoffset() != second.utcoffset()


def _numbers(feed: Feed, runs: list[Run]) -> str:
    rule = feed.sequence
    room = rule.last - rule.first + 1
    if rule.when_full != "refuse" or room >= len(runs):
        return ""
    return f"its numbers end with {rule.last}: they are used up by the batch of {runs[room].cover.last} at the latest"


def _short_numbers(feed: Feed, runs: list[Run]) -> str:
    """Say when a number outgrows its place in the name: names then have another length, and sort wrongly."""
    found = re.search(r"\{sequence:0(\d+)d\}", feed.file_name)
    room = 10 ** int(found[1]) - feed.sequence.first if found else 0
    if not found or feed.sequence.last < 10 ** int(found[1]) or room >= len(runs):
        return ""
    return (
        f"{{sequence:0{found[1]}d}} has room for {room} numbers: the batch of {runs[room].cover.last} has a longer name at the "
        f"latest; write more digits, or sequence: {{to: {10 ** int(found[1]) - 1}, when_full: restart}}"
    )


def _letters(feed: Feed) -> str:
    if "{letter" not in feed.file_name:
        return ""
    return "its letters end with Z: a batch can be corrected 25 times"


def _late_rows(feed: Feed, project: Path) -> str:
    """Say that the table knows when its rows were loaded, and the feed nothing about late ones."""
    column = next((each for each in _columns(project.parent, feed.table) if each in _LOAD_COLUMNS), None)
    if column is None or feed.late is not None:
        return ""
    return (
        f"{feed.table} has {column}, and the feed does not state what becomes of rows that are loaded after their batch: "
        f"late: {{column: {column}, rows: next}}, or refuse, or ignore"
    )


def _columns(project: Path, table: str) -> list[str]:
    """Return the columns that dbt's project names for a table; none when it does not build it."""
    name = table.rpartition(".")[2]
    for path in sorted(project.glob(f"models/**/{name}.yml")):
        models = (yaml.safe_load(path.read_text("utf-8")) or {}).get("models") or []
        found = [model for model in models if (model.get("config") or {}).get("alias", model.get("name")) == name]
        if found:
            return [str(column.get("name")) for column in found[0].get("columns") or []]
    return []


def _minutes(feed: Feed) -> str:
    odd = [each for each in (feed.schedule or NIGHTLY).times if each.minute]
    return f"at {odd[0]:%H:%M} it starts with the next window: at the full hour where windows are hours" if odd else ""
