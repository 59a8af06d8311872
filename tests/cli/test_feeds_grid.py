"""`./sealift feeds` on a terminal: feeds by days, a sign and a word for each state."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from cli.console import console
from cli.feeds_grid import show_grid

DAY = date(2026, 11, 21)


def standing(day: str, state: str, feed: str = "accruals") -> dict[str, Any]:
    return {"partner": "northwind", "feed": feed, "businessDate": day, "state": state}


def test_each_feed_is_a_line_and_each_day_a_column_with_its_sign() -> None:
    answer = {
        "feeds": [{"partner": "northwind", "feed": name} for name in ("accruals", "returns", "quiet")],
        "standings": [
            standing("2026-11-20", "delivered"),
            standing("2026-11-21", "missing"),
            standing("2026-11-22", "closed"),
            standing("2026-11-21", "waiting", "returns"),
        ],
    }

    with console.capture() as shown:
        show_grid(answer, DAY)

    lines = [line.split() for line in shown.get().splitlines()]
    assert lines[:5] == [
        ["Fr", "Sa", "Su"],
        ["feed", "20", "21", "22"],
        ["northwind", "accruals", "✓", "M", "H"],
        ["northwind", "returns", "W"],
        ["northwind", "quiet"],
    ]
    assert lines[5] == ["✓", "delivered", "W", "waiting", "M", "missing", "H", "closed"]


def test_state_of_a_newer_app_is_a_question_with_its_word() -> None:
    answer = {
        "feeds": [{"partner": "northwind", "feed": "accruals"}],
        "standings": [standing("2026-11-21", "sleeping")],
    }

    with console.capture() as shown:
        show_grid(answer, DAY)

    assert "? sleeping" in shown.get()


@pytest.mark.parametrize("count", [1, 35])
def test_grid_of_many_days_keeps_a_line_for_each_feed(count: int) -> None:
    days = [f"2026-10-{day:02d}" if day < 32 else f"2026-11-{day - 31:02d}" for day in range(1, count + 1)]
    answer = {
        "feeds": [{"partner": "northwind", "feed": "accruals"}],
        "standings": [standing(day, "delivered") for day in days],
    }

    with console.capture() as shown:
        show_grid(answer, DAY)

    (line,) = [line for line in shown.get().splitlines() if line.startswith("northwind")]
    assert line.count("✓") == count
