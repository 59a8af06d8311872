"""HTML from values: Jinja2 with autoescape, so that text from outside stays text. Links carry the key, and nothing else does."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from monitor.overview import Row
from monitor.states import look

FOLDER = Path(__file__).parent / "templates"
BASE = "/api/monitor"
SUNDAY = 6


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses of pages. `carried` goes with every link: the key that the caller gave in the address, and the fixed clock."""

    carried: Mapping[str, str] = field(default_factory=dict, repr=False)

    def to(self, *path: str, **query: object) -> str:
        """Return the address of a page; empty values of the query are left out."""
        given = {name: str(value) for name, value in query.items() if value not in (None, "")}
        text = urlencode({**given, **self.carried})
        place = "/".join([BASE, *(quote(part, safe="") for part in path if part)])
        return f"{place}?{text}" if text else place


def render(template: str, links: Links, **values: object) -> str:
    """Return a page."""
    return _environment().get_template(template).render(links=links, **values)


def cells(links: Links, row: Row) -> Markup:
    """Return a feed's cells. They are thousands on a page, so they are put together here and not by the template."""
    prefix, _, query = links.to("batch", "-").partition("?")
    place, query = escape(prefix.removesuffix("-")), escape(f"?{query}" if query else "")
    pieces: list[str] = []
    for cell in row.cells:
        shown = look(cell.state)
        title = escape(f"{cell.day}: {cell.state}{', ' if cell.reason else ''}{cell.reason}")
        side = ' class="sunday"' if cell.day.weekday() == SUNDAY else ""
        if cell.batch:
            label = f"{shown.glyph} {cell.day}: {escape(cell.state)}"
            link = f'href="{place}{escape(cell.batch)}{query}" aria-label="{label}"'
            pieces.append(f'<td{side}><a class="{shown.tone}" {link} title="{title}">{shown.glyph}</a></td>')
        else:
            pieces.append(f'<td{side}><span class="{shown.tone}" title="{title}">{shown.glyph}</span></td>')
    return Markup("\n".join(pieces))  # noqa: S704 - every text from outside is escaped above


def policy() -> str:
    """Return the Content-Security-Policy: the one style element by its hash, forms to this app, and nothing else at all."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


@cache
def style() -> str:
    """Return the style sheet, as it is in the style element."""
    return (FOLDER / "style.css").read_text("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "moment": moment, "span": span, "count": count, "rate": rate}
    # Our own file, no caller's text: the only markup that is not escaped.
    environment.globals |= {"cells": cells, "look": look, "style": Markup(style())}  # noqa: S704
    return environment


def size(size_bytes: int | None) -> str:
    """Return a size with its unit."""
    if size_bytes is None:
        return ""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def rate(bytes_per_second: float | None) -> str:
    """Return a speed with its unit."""
    return "" if bytes_per_second is None else f"{bytes_per_second / 1_000_000:.1f} MB/s"


def moment(value: datetime | None, zone: str = "") -> str:
    """Return a time in UTC, with the partner's own in front where its zone is another."""
    if value is None:
        return ""
    universal = f"{value:%Y-%m-%d %H:%M} UTC"
    if not zone or zone == "UTC":
        return universal
    local = value.astimezone(ZoneInfo(zone))
    return universal if not local.utcoffset() else f"{local:%Y-%m-%d %H:%M %Z} ({value:%H:%M} UTC)"


def span(seconds: float | None) -> str:
    """Return a duration for people."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60):02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 2880 else f"{minutes // 1440} days"


def count(value: int | None) -> str:
    """Return a number with its thousands apart, nothing for None."""
    return "" if value is None else f"{value:,}"
