"""docs/architecture.svg from docs/architecture.picture: boxes on a grid and arrows between their sides.

It knows straight arrows and arrows with one bend, and wraps nothing: a text that is too long for its box is an error, so
the picture cannot quietly become ugly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from fault import Fault

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "docs" / "architecture.picture"
PAGE = ROOT / "docs" / "architecture.svg"

CELL_WIDTH, CELL_HEIGHT = 272, 150
BOX_WIDTH, BOX_HEIGHT = 206, 96
MARGIN, TITLE_HEIGHT = 24, 40
CHARACTER = 6.4  # width of one at 12 px, generously
COLOURS = {
    "run": ("#e8f0fe", "#1a56b0"),
    "store": ("#eef7ee", "#2b7a3d"),
    "key": ("#fff4e0", "#a35f00"),
    "watch": ("#f3f3f5", "#5a5f6b"),
    "partner": ("#fdecef", "#a3264a"),
}
BOX = re.compile(r"box (\w+) +(\d) (\d) (?:(\d) )?(\w+): +(.+)")
ARROW = re.compile(r"arrow (\w+) (\w+)(?: (-?\d+))? -> (\w+) (\w+)(?: (-?\d+))?: (.+)")
TITLE = re.compile(r"title: (.+)")


class InvalidPicture(Fault):
    """A line of the source that cannot be drawn."""

    status = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    column: int
    row: int
    span: int
    kind: str
    lines: tuple[str, ...]

    @property
    def left(self) -> int:
        return MARGIN + self.column * CELL_WIDTH

    @property
    def top(self) -> int:
        return MARGIN + TITLE_HEIGHT + self.row * CELL_HEIGHT

    @property
    def width(self) -> int:
        return BOX_WIDTH + (self.span - 1) * CELL_WIDTH

    def point(self, side: str, offset: int) -> tuple[int, int]:
        """The place on a side, `offset` pixels from its middle."""
        x, y = self.left + self.width // 2, self.top + BOX_HEIGHT // 2
        return {
            "left": (self.left, y + offset),
            "right": (self.left + self.width, y + offset),
            "top": (x + offset, self.top),
            "bottom": (x + offset, self.top + BOX_HEIGHT),
        }[side]


def render() -> str:
    """Return the picture as its source is now."""
    return draw(SOURCE.read_text(encoding="utf-8"))


def draw(source: str) -> str:
    """The SVG of a picture; raises InvalidPicture for a line that it does not understand."""
    boxes: dict[str, Box] = {}
    arrows: list[str] = []
    title = ""
    for number, line in enumerate(source.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if found := TITLE.fullmatch(line):
            title = found[1]
        elif found := BOX.fullmatch(line):
            boxes[found[1]] = _box(found, number)
        elif found := ARROW.fullmatch(line):
            arrows.append(_arrow(found, boxes, number))
        else:
            raise InvalidPicture(
                f"line {number}: {line!r} is neither title, box nor arrow", "see the file's first lines"
            )
    width = max(box.left + box.width for box in boxes.values()) + MARGIN
    height = max(box.top for box in boxes.values()) + BOX_HEIGHT + MARGIN
    return "\n".join([*_head(width, height, title), *arrows, *map(_shape, boxes.values()), "</svg>", ""])


def _box(found: re.Match[str], number: int) -> Box:
    lines = tuple(part.strip() for part in found[6].split("|"))
    box = Box(column=int(found[2]), row=int(found[3]), span=int(found[4] or 1), kind=found[5], lines=lines)
    if box.kind not in COLOURS:
        raise InvalidPicture(f"line {number}: unknown kind {box.kind!r}", f"the kinds are {', '.join(COLOURS)}")
    for text in lines:
        if len(text) * CHARACTER > box.width - 12:
            raise InvalidPicture(f"line {number}: {text!r} is wider than its box", "shorten it, or break it with |")
    return box


def _head(width: int, height: int, title: str) -> list[str]:
    font = "font-family='Segoe UI, Helvetica, Arial, sans-serif' font-size='12'"
    return [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' {font}>",
        f"<title>{escape(title)}</title>",
        "<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='8' markerHeight='8' orient='auto'>",
        "<path d='M0 0 L8 4 L0 8 z' fill='#3c4250'/></marker></defs>",
        f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
        f"<text x='{MARGIN}' y='{MARGIN + 16}' font-size='17' font-weight='600' fill='#1c2230'>{escape(title)}</text>",
    ]


def _shape(box: Box) -> str:
    fill, stroke = COLOURS[box.kind]
    middle = box.left + box.width // 2
    first = box.top + BOX_HEIGHT // 2 - (len(box.lines) - 1) * 9 + 4
    frame = f"x='{box.left}' y='{box.top}' width='{box.width}' height='{BOX_HEIGHT}' rx='8'"
    parts = [f"<rect {frame} fill='{fill}' stroke='{stroke}' stroke-width='1.5'/>"]
    for index, text in enumerate(box.lines):
        weight = "font-weight='600' fill='#1c2230'" if index == 0 else "fill='#3c4250'"
        parts.append(f"<text x='{middle}' y='{first + 18 * index}' text-anchor='middle' {weight}>{escape(text)}</text>")
    return "\n".join(parts)


def _arrow(found: re.Match[str], boxes: dict[str, Box], number: int) -> str:
    if unknown := {found[1], found[4]} - set(boxes):
        raise InvalidPicture(f"line {number}: there is no box {min(unknown)!r}", "boxes come before their arrows")
    x1, y1 = boxes[found[1]].point(found[2], int(found[3] or 0))
    x2, y2 = boxes[found[4]].point(found[5], int(found[6] or 0))
    label = escape(found[7])
    if x1 == x2:
        gap = (CELL_HEIGHT - BOX_HEIGHT) // 2  # a long arrow is labelled in the last gap that it crosses, beside no box
        middle = max(y1, y2) - gap
        path, text = f"M{x1} {y1} V{y2}", (x1 + 6, middle + 4, "start")
    elif y1 == y2:
        path, text = f"M{x1} {y1} H{x2}", ((x1 + x2) // 2, y1 - 6, "middle")
    elif found[2] in ("left", "right"):
        path, text = f"M{x1} {y1} H{x2} V{y2}", ((x1 + x2) // 2, y1 - 6, "middle")
    else:
        path, text = f"M{x1} {y1} V{y2} H{x2}", ((x1 + x2) // 2, y2 - 6, "middle")
    return (
        f"<path d='{path}' fill='none' stroke='#3c4250' stroke-width='1.4' marker-end='url(#tip)'/>\n"
        f"<text x='{text[0]}' y='{text[1]}' text-anchor='{text[2]}' font-size='11' fill='#1c2230'>{label}</text>"
    )
