"""A REST source: pages of a JSON API as objects, one page in memory at a time.

Pagination rules as documented: AbsoluteUrl, QueryParameters.* and Headers.* taken from the answer ($.path or Headers.name)
or counted (RANGE:start:end:offset), EndCondition:$.path with Empty, NonEmpty, Exist, NonExist or Const:value,
MaxRequestNumber, and supportRFC5988 (a Link header with rel="next"). A rule of another kind is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import requests

from adf_runner.errors import ActivityFailed
from adf_runner.factory.shapes import seconds
from adf_runner.stores.http import session
from adf_runner.stores.json_path import MISSING, look

if TYPE_CHECKING:
    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Data

PAGE_BYTES = 64 * 1024 * 1024
MOST_REQUESTS = 10_000
RANGE = re.compile(r"RANGE:(-?\d+):(-?\d*):(\d+)", re.IGNORECASE)
TARGET = re.compile(r"(QueryParameters|Headers)[.\[]['\"]?([^'\"\]]+)['\"]?\]?", re.IGNORECASE)


@dataclass(slots=True)
class _Request:
    url: str
    headers: dict[str, str]


def pages(call: Call, data: Data) -> Iterator[Any]:
    """Yield the JSON of each page. Raises ActivityFailed for what the API or a rule of pagination does wrong."""
    source = call.properties["source"]
    rules = Rules.of(source.get("paginationRules") or data.properties.get("paginationRules") or {})
    base = str(data.service.properties["url"])
    relative = str(data.properties.get("relativeUrl") or "")
    asked = _Request(urljoin(base.rstrip("/") + "/", relative.lstrip("/")) if relative else base, _headers(call, data))
    rules.begin(asked)
    interval = source.get("requestInterval")
    for number in range(1, rules.most + 1):
        if number > 1 and interval:
            call.pause(float(seconds(interval)))
        answer = _send(call, data, asked)
        page = _json(answer)
        yield page
        if not rules.advance(asked, answer, page):
            return
    if rules.most == MOST_REQUESTS:
        raise ActivityFailed(f"the API has more than {MOST_REQUESTS} pages", "set MaxRequestNumber", code="BadRequest")


class Rules:
    """Pagination rules of one copy."""

    def __init__(self, rules: Mapping[str, str]) -> None:
        self.most = MOST_REQUESTS
        self._links = False
        self._absolute = ""
        self._taken: list[tuple[str, str, str]] = []
        self._ranges: list[tuple[str, str, Iterator[int]]] = []
        self._ends: list[tuple[str, str]] = []
        for key, value in rules.items():
            self._add(key, str(value))

    @classmethod
    def of(cls, value: Any) -> Rules:
        """Read the rules, which Studio writes as an object and the documentation as JSON text."""
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                value = None
        if not isinstance(value, Mapping):
            raise ActivityFailed("paginationRules must be an object", code="BadRequest", retriable=False)
        return cls(value)

    def _add(self, key: str, value: str) -> None:
        lower = key.lower()
        target = TARGET.fullmatch(key)
        if lower == "maxrequestnumber":
            self.most = int(value)
        elif lower == "supportrfc5988":
            self._links = value.lower() == "true"
        elif lower == "absoluteurl":
            self._absolute = value
        elif lower.startswith("endcondition:"):
            self._ends.append((key.partition(":")[2], value))
        elif target and (found := RANGE.fullmatch(value)):
            start, end, step = int(found[1]), int(found[2]) if found[2] else None, int(found[3])
            numbers = iter(range(start, end + 1, step)) if end is not None else _from(start, step)
            self._ranges.append((target[1].lower(), target[2], numbers))
        elif target and value.startswith(("$", "Headers")):
            self._taken.append((target[1].lower(), target[2], value))
        else:
            raise ActivityFailed(
                f"the pagination rule {key!r}: {value!r} is not run here", "see docs/adf-subset.md", code="BadRequest",
                retriable=False,
            )  # fmt: skip

    def begin(self, asked: _Request) -> None:
        """Set the first values of counted parameters."""
        for kind, name, numbers in self._ranges:
            _set(asked, kind, name, str(next(numbers)))

    def advance(self, asked: _Request, answer: requests.Response, page: Any) -> bool:
        """Change the request to that of the next page; False when there is none."""
        if any(_is_end(page, path, wanted) for path, wanted in self._ends):
            return False
        moved = False
        for kind, name, numbers in self._ranges:
            number = next(numbers, None)
            if number is None:
                return False
            _set(asked, kind, name, str(number))
            moved = True
        for kind, name, where in self._taken:
            value = _value(answer, page, where)
            if value in (None, "", MISSING):
                return False
            _set(asked, kind, name, str(value))
            moved = True
        if self._absolute:
            value = _value(answer, page, self._absolute)
            if value in (None, "", MISSING):
                return False
            asked.url, moved = urljoin(asked.url, str(value)), True
        elif self._links and "next" in answer.links:
            asked.url, moved = urljoin(asked.url, answer.links["next"]["url"]), True
        return moved


def _from(start: int, step: int) -> Iterator[int]:
    while True:
        yield start
        start += step


def _value(answer: requests.Response, page: Any, where: str) -> Any:
    if where.startswith("Headers"):
        return answer.headers.get(re.sub(r"^Headers[.\[]['\"]?|['\"]?\]$", "", where))
    return look(page, where)


def _is_end(page: Any, path: str, wanted: str) -> bool:
    value = look(page, path)
    kind, _, constant = wanted.partition(":")
    match kind.lower():
        case "empty":
            return value is MISSING or value in (None, "", [], {})
        case "nonempty":
            return value is not MISSING and value not in (None, "", [], {})
        case "exist":
            return value is not MISSING
        case "nonexist":
            return value is MISSING
        case "const":
            return value is not MISSING and (str(value).lower() if isinstance(value, bool) else str(value)) == constant
    raise ActivityFailed(f"the end condition {wanted!r} is not run here", code="BadRequest", retriable=False)


def _set(asked: _Request, kind: str, name: str, value: str) -> None:
    if kind == "headers":
        asked.headers[name] = value
        return
    parts = urlsplit(asked.url)
    query = [(key, item) for key, item in parse_qsl(parts.query, keep_blank_values=True) if key != name]
    asked.url = urlunsplit(parts._replace(query=urlencode([*query, (name, value)])))


def _headers(call: Call, data: Data) -> dict[str, str]:
    """Return what the source, else the dataset, says, and the linked service's secret headers."""
    written = call.properties["source"].get("additionalHeaders") or data.properties.get("additionalHeaders") or {}
    if isinstance(written, str):
        lines = [line.partition(":") for line in written.splitlines() if ":" in line]
        written = {name.strip(): value.strip() for name, _, value in lines}
    services = call.engine.services
    secrets = data.service.properties.get("authHeaders", {})
    headers = {str(name): str(value) for name, value in written.items()}
    headers |= {name: services.secret(call, value, f"authHeaders.{name}") for name, value in secrets.items()}
    if data.service.properties["authenticationType"] == "ManagedServiceIdentity":
        headers["Authorization"] = f"Bearer {services.token(str(data.service.properties['aadResourceId']))}"
    return headers


def _send(call: Call, data: Data, asked: _Request) -> requests.Response:
    call.check_time()
    source, properties = call.properties["source"], data.service.properties
    method = source.get("requestMethod") or data.properties.get("requestMethod") or "GET"
    body = source.get("requestBody") or data.properties.get("requestBody")
    auth = None
    if properties["authenticationType"] == "Basic":
        password = call.engine.services.secret(call, properties.get("password"), "password")
        auth = (str(properties["userName"]), password)
    same_host = urlsplit(asked.url).netloc == urlsplit(str(properties["url"])).netloc
    headers = dict(asked.headers) if same_host else {}  # a secret goes to the API's own host only
    if body and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    where = asked.url.partition("?")[0]
    try:
        answer = session().request(
            method, asked.url, headers=headers, data=body.encode() if body else None, auth=auth if same_host else None,
            timeout=seconds(source.get("httpRequestTimeout", "00:01:40")),
        )  # fmt: skip
    except requests.exceptions.RequestException as error:
        raise ActivityFailed(f"{where} cannot be read: {type(error).__name__}", code="UserErrorHttp") from error
    if not answer.ok:
        raise ActivityFailed(f"{where} answered {answer.status_code} {answer.reason}", code="UserErrorHttp")
    return answer


def _json(answer: requests.Response) -> Any:
    if len(answer.content) > PAGE_BYTES:
        raise ActivityFailed(f"a page is larger than {PAGE_BYTES >> 20} MiB", code="UserErrorHttp")
    try:
        return json.loads(answer.content)
    except ValueError as error:
        raise ActivityFailed("the API answered with something that is not JSON", code="UserErrorHttp") from error


def objects_of(page: Any, collection: str) -> Iterator[dict[str, Any]]:
    """Yield a page's rows: the items at `collection`, else those of a list, else the page itself."""
    found = look(page, collection) if collection else page
    items = found if isinstance(found, list) else [] if found in (None, MISSING) else [found]
    for item in items:
        if not isinstance(item, dict):
            raise ActivityFailed(
                "a row of the API is not an object", "name the list in collectionReference", code="UserErrorHttp"
            )
        yield item
