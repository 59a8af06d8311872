"""The ten examples of docs/calendars.md give the runs that the page shows."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from partners import Feed, Partner, load_partner
from partners.schedule import Timetable

PAGE = Path(__file__).resolve().parents[2] / "docs" / "calendars.md"
EXAMPLES = re.findall(r"### (\d+\. .+?)\n\n```yaml\n(.*?)```\n\n```text\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
START = datetime(2026, 11, 20, tzinfo=UTC)


def lines(table: Timetable, count: int) -> list[str]:
    """Return runs as the page shows them; `since_last` as if every batch before had left."""
    found: list[str] = []
    left: date | None = None
    for run in table.due(START, START + timedelta(days=200))[:count]:
        cover = table.extended(run.cover, left) if table.covers == "since_last" else run.cover
        assert cover is not None
        left = cover.last
        days = str(cover.first) if cover.first == cover.last else f"{cover.first} to {cover.last}"
        found.append(f"{run.at:%Y-%m-%d %H:%M}  {cover.slot if cover.is_block else days}")
    return found


def test_there_are_ten() -> None:
    assert len(EXAMPLES) == 10


@pytest.mark.parametrize(("title", "text", "shown"), EXAMPLES, ids=[each[0] for each in EXAMPLES])
def test_example_gives_the_runs_that_the_page_shows(title: str, text: str, shown: str) -> None:
    stated: dict[str, Any] = yaml.safe_load(text)
    whole = load_partner("northwind").model_dump(by_alias=True)
    zone = stated.pop("time_zone", "Europe/London")
    feed = whole["feeds"]["accruals"] | {"holidays": {}, "expected": None, "control": None} | stated
    partner = Partner.model_validate({**whole, "time_zone": zone, "feeds": {"accruals": Feed.model_validate(feed)}})

    expected = shown.strip().splitlines()

    assert lines(partner.timetable("accruals"), len(expected)) == expected, title
