"""docs/decisions/README.md: the decisions by number, each with its first line."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "decisions" / "README.md"

INTRODUCTION = """# Decisions

Choices that have a price, each with what was considered and why, listed by `./sealift docs`. A decision that no longer holds
names what replaced it.

| number | decision |
|---|---|
"""


def render() -> str:
    """Return the page."""
    return INTRODUCTION + "".join(map(_row, sorted(PAGE.parent.glob("0*.md"))))


def _row(decision: Path) -> str:
    title = decision.read_text("utf-8").partition("\n")[0].partition(". ")[2]
    return f"| [{decision.name[:4]}]({decision.name}) | {title} |\n"
