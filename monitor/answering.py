"""From an address to a page: which page, its values, HTML or JSON, and the headers that keep a browser from anything else.

An address that is not known is a 404 that repeats nothing of it. `?format=json` is the page's JSON twin, `?at=` fixes the clock
for tests, `?fresh=1` reads again what the last seconds have read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from pydantic import BaseModel

from batches import BatchId, Context, InvalidRequest, UnknownBatch
from fault import Fault
from monitor.batch import read_batch
from monitor.listing import SORTS, Filter, read_listing
from monitor.nights import read_night
from monitor.overview import read_overview
from monitor.partner import read_partner_page
from monitor.reading import forget, recently
from monitor.rendering import Links, policy, render
from partners import UnknownPartner

HTML, JSON = "text/html", "application/json"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")
_STATE = re.compile(r"[a-z][a-z ]{0,29}")
_Query = Mapping[str, str]
_Reader = Callable[[Context, tuple[str, ...], _Query], tuple[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is answered."""

    status: int
    mimetype: str
    body: str
    headers: dict[str, str] = field(default_factory=dict)


class _NoPage(Fault):
    """There is no such page."""

    status = 404


def is_on() -> bool:
    """Return whether the app's settings switch the pages on: MONITOR=on."""
    return os.environ.get("MONITOR") == "on"


def answer(context: Context, *, path: str, query: _Query, key: str | None, etag: str = "") -> Page:
    """Return the page of an address. `key` is the function key of the address, if it was there; only links get it."""
    as_json = query.get("format") == "json"
    carried = {name: value for name, value in (("at", query.get("at")), ("code", key)) if value}
    try:
        status, (template, values) = 200, _read(context, path, query)
    except Fault as fault:
        status, template, carried = (
            fault.status,
            "problem.html",
            {name: carried[name] for name in carried if name == "code"},
        )
        values = {"error": fault.message, "hint": fault.hint}
    if as_json:
        body = json.dumps(_plain(values), default=_text, indent=1)
    else:
        body = render(template, Links(carried), page=values, query=_shown(query, carried))
    page = Page(status=status, mimetype=JSON if as_json else HTML, body=body, headers=_headers(body))
    return replace(page, status=304, body="") if status == 200 and etag == page.headers["ETag"] else page


def failed() -> Page:
    """Return the page for a defect of ours: it says nothing of what happened, the app's log does."""
    values = {"error": "the app failed", "hint": "see the app's log for request.crashed"}
    body = render("problem.html", Links(), page=values, query={})
    return Page(status=500, mimetype=HTML, body=body, headers=_headers(body))


def not_signed_in() -> Page:
    """Return the page for a request that no sign-in stands behind."""
    values = {
        "error": "you are not signed in",
        "hint": "sign in at /.auth/login/aad of this app, then open the page again",
    }
    body = render("problem.html", Links(), page=values, query={})
    return Page(status=401, mimetype=HTML, body=body, headers=_headers(body))


def _read(context: Context, path: str, query: _Query) -> tuple[str, Any]:
    if not is_on():
        raise _NoPage("there is no such page", "set MONITOR=on in the app's settings to switch the pages on")
    parts = tuple(part for part in path.split("/") if part)
    name, length = _PAGES.get(parts[0] if parts else "", ("", 0))
    if not name or len(parts) != length:
        raise _NoPage("there is no such page", "begin at the overview")
    if query.get("fresh"):
        forget()
    return name, _READERS[name](_at(context, query), parts, query)


def _at(context: Context, query: _Query) -> Context:
    """Return the context with the clock that the address asks for."""
    if not query.get("at"):
        return context
    try:
        fixed = datetime.fromisoformat(query["at"])
    except ValueError:
        fixed = datetime.min  # noqa: DTZ901 - has no zone, so it is refused below
    if fixed.tzinfo is None or not 1970 <= fixed.year <= 2199:
        raise InvalidRequest("?at= is not an instant", "write it as 2026-11-21T00:00:00Z")
    return replace(context, clock=lambda: fixed.astimezone(UTC))


def _overview(context: Context, _parts: tuple[str, ...], query: _Query) -> object:
    if query.get("at"):
        return read_overview(context)
    return recently(("overview", context.stores.batches.url), lambda: read_overview(context))


def _batches(context: Context, _parts: tuple[str, ...], query: _Query) -> object:
    page = query.get("page", "1")
    sort = query.get("sort") or "date"
    if not (page.isascii() and page.isdigit() and len(page) < 6 and int(page)) or sort not in SORTS:
        raise InvalidRequest("?page= or ?sort= is not known", f"a page from 1 on; sort by {', '.join(SORTS)}")
    asked = Filter(
        partner=_word(query, "partner", _NAME),
        feed=_word(query, "feed", _NAME),
        state=_word(query, "state", _STATE),
        first=_day(query, "from"),
        last=_day(query, "to"),
        sort=sort,
        page=int(page),
    )
    return read_listing(context, asked)


def _batch(context: Context, parts: tuple[str, ...], _query: _Query) -> object:
    try:
        return read_batch(context, BatchId.parse(parts[1]))
    except (InvalidRequest, UnknownBatch):
        raise _NoPage("there is no such batch", "look for it in the list of batches") from None


def _partner(context: Context, parts: tuple[str, ...], _query: _Query) -> object:
    try:
        return read_partner_page(context, parts[1])
    except UnknownPartner:
        raise _NoPage("there is no such partner", "begin at the overview") from None


def _nights(context: Context, _parts: tuple[str, ...], query: _Query) -> object:
    return read_night(context, _day(query, "date") or context.now().date())


_PAGES = {
    "": ("overview.html", 0),
    "batches": ("batches.html", 1),
    "batch": ("batch.html", 2),
    "partner": ("partner.html", 2),
    "nights": ("nights.html", 1),
}
_READERS: dict[str, Callable[[Context, tuple[str, ...], _Query], object]] = {
    "overview.html": _overview,
    "batches.html": _batches,
    "batch.html": _batch,
    "partner.html": _partner,
    "nights.html": _nights,
}


def _word(query: _Query, name: str, pattern: re.Pattern[str]) -> str | None:
    value = query.get(name) or None
    if value and not pattern.fullmatch(value):
        raise InvalidRequest(f"?{name}= is not one that can be listed", "choose one of the page's own")
    return value


def _day(query: _Query, name: str) -> date | None:
    if not query.get(name):
        return None
    try:
        day = date.fromisoformat(query[name])
    except ValueError:
        day = date.min
    if not 1970 <= day.year <= 2199:
        raise InvalidRequest(f"?{name}= is not a date", "write it as 2026-11-21")
    return day


def _shown(query: _Query, carried: Mapping[str, str]) -> dict[str, str]:
    """Return what the page's own links keep of the query."""
    return {name: value for name, value in query.items() if name not in (*carried, "format", "fresh", "at", "code")}


def _headers(body: str) -> dict[str, str]:
    digest = hashlib.sha256(body.encode()).hexdigest()[:32]
    return {
        "Content-Security-Policy": policy(),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "private, no-cache",
        "ETag": f'"{digest}"',
    }


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _text(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value.isoformat() if isinstance(value, date) else str(value)
