"""Requests made from docs/openapi.json, and requests that break it in one place: no answer is a 500."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from app_world import DOCUMENT, App
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BATCHES = ["northwind.accruals.2025-03-03.1", "northwind.accruals.1999-01-01.1", "cedarway.purchases.2024-02-29.9999"]
ANY_TEXT = st.text(max_size=40) | st.sampled_from(["\x00", "\x1b[31m", "%00", "٣", "a" * 5000, "../..", "\ud7ff"])
INSTANTS = ["2025-03-03T00:00:00Z", "2025-03-04T00:00:00+00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
            "2027-01-01T00:00:00Z", "1052-01-01T00:00:00-23:59", "2025-02-30T00:00:00Z", "now", "2025-03-03"]  # fmt: skip
# What no schema of ours allows; one such value takes the place of a part of a request.
ALIEN = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats()
    | ANY_TEXT
    | st.recursive(
        st.just({}), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ANY_TEXT, inner, max_size=2)
    )
)
KNOWN = {
    "partner": st.sampled_from(["northwind", "cedarway", "nobody"]) | ANY_TEXT,
    "feed": st.sampled_from(["accruals", "purchases", "nothing"]) | ANY_TEXT,
}


def operations() -> list[tuple[str, str]]:
    return [
        (method, path) for path, methods in DOCUMENT["paths"].items() for method in methods if method != "parameters"
    ]


def of_schema(schema: dict[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """Return values that a schema of the document allows, and some at its edges."""
    if "$ref" in schema:
        return of_schema(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return st.one_of([of_schema(each, name) for each in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind == "object":
        return of_object(schema)
    if kind == "array":
        return st.lists(of_schema(schema["items"]), max_size=3)
    if kind == "integer":
        low, high = schema.get("minimum", -(2**64)), schema.get("maximum", 2**64)
        return st.sampled_from([low - 1, low, high, high + 1]) | st.integers(low, high)
    return of_text(schema, name) if kind == "string" else st.none() | st.booleans()


def of_object(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    members = schema.get("properties", {})
    if not members:
        return st.dictionaries(ANY_TEXT, of_schema(schema.get("additionalProperties") or {}), max_size=3)
    values = {name: of_schema(each, name) for name, each in members.items()}
    required = {name: values[name] for name in schema.get("required", ())}
    optional = {name: value for name, value in values.items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


def of_text(schema: dict[str, Any], name: str) -> st.SearchStrategy[str]:
    if name in KNOWN:
        return KNOWN[name]
    if schema.get("format") == "date-time":
        return st.sampled_from(INSTANTS) | st.datetimes().map(lambda moment: moment.isoformat() + "Z")
    most = min(schema.get("maxLength", 60), 600)
    return st.text(min_size=schema.get("minLength", 0), max_size=most) | st.just(
        "x" * (schema.get("maxLength", 60) + 1)
    )


@st.composite
def requests(draw: st.DrawFn, method: str, path: str) -> tuple[str, Any]:
    """Return a path with its query, and a body, of which one part may be broken."""
    operation = DOCUMENT["paths"][path][method]
    target = path.strip("/")
    for name in re.findall(r"{(\w+)}", path):
        values = KNOWN.get(name, st.sampled_from(BATCHES)) | ANY_TEXT
        target = target.replace(f"{{{name}}}", quote(draw(values.filter(_is_one_part)), safe=""))
    query = [each for each in operation["parameters"] if each["in"] == "query" and draw(st.booleans())]
    texts = [f"{each['name']}={quote(str(draw(of_schema(each['schema'], each['name']) | ANY_TEXT)))}" for each in query]
    body = None
    if "requestBody" in operation:
        body = draw(of_schema(operation["requestBody"]["content"]["application/json"]["schema"]))
        if draw(st.booleans()):
            body = break_one(draw, body)
    return "?".join([target, *(["&".join(texts)] if texts else [])]), body


def break_one(draw: st.DrawFn, body: Any) -> Any:
    """Return the body with an alien value in the place of one member, as one more member, or of all of it."""
    name = draw(st.sampled_from([*body, "unknown", ""])) if isinstance(body, dict) else ""
    return {**body, name: draw(ALIEN)} if name else draw(ALIEN)


def _is_one_part(text: str) -> bool:
    """An id that is empty or only dots is another path, and the host answers for it."""
    return bool(re.sub(r"[.\s/\\]", "", text)) and "/" not in text and "\\" not in text


@pytest.mark.parametrize(("method", "path"), operations(), ids=[f"{method} {path}" for method, path in operations()])
def test_no_request_makes_the_app_fail(app: App, method: str, path: str) -> None:
    @settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck), deadline=None)
    @given(request=requests(method, path))
    def check(request: tuple[str, Any]) -> None:
        target, body = request
        data = None if body is None else json.dumps(body).encode("utf-8", "surrogatepass")
        headers = {"x-functions-key": app.host.key, "content-type": "application/json"}
        url = f"{app.host.url}/api/{target}"

        answer = app.session.request(method.upper(), url, data=data, headers=headers, timeout=60)

        assert answer.status_code < 500, f"{method} {target} {data!r}: {answer.status_code} {answer.text[:300]}"
        documented = DOCUMENT["paths"][path][method]["responses"]
        assert str(answer.status_code) in documented or answer.status_code in (400, 404, 414), answer.text[:300]
        if answer.content:
            assert isinstance(answer.json(), dict)

    check()
