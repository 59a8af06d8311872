"""What a person sees while something long runs: one line per step, with a moving one only on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fault import Fault

_WIDTH: Final = 46  # of a step's text


class CommandFailed(Fault):
    """Root of the errors of the commands themselves."""


# No word is coloured for its looks alone, and a pipe gets plain text of a width that holds its lines.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@dataclass(slots=True)
class Step:
    """What the step did, reported while it runs; it closes the step's line."""

    note: str = ""


@contextmanager
def step(text: str) -> Iterator[Step]:
    """Show a step while it runs, and one line when it is done. A step that raises leaves a line with a cross."""
    began = time.monotonic()
    told = Step()
    try:
        with console.status(Text(text)):
            yield told
    except BaseException:
        _line("x", text, time.monotonic() - began, "")
        raise
    _line("+", text, time.monotonic() - began, told.note)


def done(text: str, seconds: float, note: str = "", mark: str = "+") -> None:
    """Show a step that was timed elsewhere; `mark` is + for done and x for failed."""
    _line(mark, text, seconds, note)


def begun(text: str) -> None:
    """Show that something began which has lines of its own."""
    console.print(Text(f"  > {text}"), soft_wrap=True)


def say(text: str) -> None:
    """Print a line as it is; a long one is left to the terminal to wrap, and no control character reaches it."""
    plain = "".join(character if character.isprintable() or character in "\n\t" else " " for character in text)
    console.print(Text(plain), soft_wrap=True)


def heading(text: str) -> None:
    """Begin a group of steps."""
    console.print(Text(f"\n{text}", style="bold"))


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; a column is its title and `left` or `right`. Where it is narrow, the last column folds."""
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, (title, justify) in enumerate(columns, 1):
        last = number == len(columns)
        shown.add_column(title, justify="right" if justify == "right" else "left", no_wrap=not last, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    console.print(shown)


def size(count: int | None) -> str:
    """Return a size in bytes for people: 1.4 MB."""
    if count is None:
        return ""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def _line(mark: str, text: str, seconds: float, note: str) -> None:
    shown = text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
    console.print(Text(f"  {mark} {shown:<{_WIDTH}} {seconds:6.1f} s   {note}".rstrip()), soft_wrap=True)
