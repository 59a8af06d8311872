"""`./sealift feeds` on a terminal: a line for each feed, a column for each business date, a sign for each state."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from rich.table import Table
from rich.text import Text

from cli.console import console
from monitor.states import LOOKS, look

_STYLES = {"good": "green", "soon": "yellow", "bad": "bold red", "calm": "cyan", "none": "dim"}


def show_grid(answer: dict[str, Any], today: date) -> None:
    """Print the states, and below them what the signs mean that occur. Feeds without a deadline have none."""
    found = {(each["partner"], each["feed"], each["businessDate"]): each["state"] for each in answer["standings"]}
    days = sorted({day for _, _, day in found})
    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    grid.add_column("feed", no_wrap=True)
    for day in days:
        grid.add_column(_title(date.fromisoformat(day), today), justify="center", no_wrap=True)
    for feed in answer["feeds"]:
        states = [found.get((feed["partner"], feed["feed"], day)) for day in days]
        grid.add_row(f"{feed['partner']} {feed['feed']}", *(_sign(state) for state in states))
    console.print(grid)
    console.print(_legend(found.values()))


def _title(day: date, today: date) -> Text:
    return Text(
        f"{day:%a}"[:2] + f"\n{day:%d}", style="bold underline" if day == today else "dim" if day > today else ""
    )


def _sign(state: str | None) -> Text:
    shown = look(state) if state else None
    return Text(shown.glyph, style=_STYLES[shown.tone]) if shown else Text("")


def _legend(states: Iterable[str]) -> Text:
    occurring = set(states)
    text = Text()
    for state in [*(each for each in LOOKS if each in occurring), *sorted(occurring - LOOKS.keys())]:
        text.append_text(_sign(state))
        text.append(f" {state}   ")
    return text
