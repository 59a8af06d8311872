"""Web and Azure Function calls. A function answers with a JSON object or nothing; errors keep what the answer said.

Certificates are always checked, against the bundle that the environment names (REQUESTS_CA_BUNDLE).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests
import requests.auth

from adf_runner.errors import ActivityFailed
from adf_runner.factory.shapes import json_type, seconds
from adf_runner.stores.http import session

if TYPE_CHECKING:
    from adf_runner.run.engine import Call

ANSWER_LIMIT_BYTES = 4 * 1024 * 1024
FUNCTION_SECONDS = 230
WEB_TIMEOUT = "00:01:00"
BODY_METHODS = {"POST", "PUT", "PATCH"}
POLL_SECONDS = 10


class _Headers(requests.auth.AuthBase):
    """Sets headers last, so that nothing in the environment (.netrc) can replace them."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._headers)
        return request


def web_activity(call: Call) -> dict[str, Any]:
    """Call a URL; on 202 with a Location header, poll there until the work is done, unless turnOffAsync is set."""
    properties = call.properties
    method, url = properties["method"], properties["url"]
    body = _body(method, properties.get("body"))
    secret_headers = _authentication(call, properties.get("authentication"))
    timeout = seconds(properties.get("httpRequestTimeout", WEB_TIMEOUT))
    began = time.monotonic()
    answer = _send(call, method, url, _text_headers(properties), body, secret_headers, timeout)
    if answer.status_code == 202 and "Location" in answer.headers and not properties.get("turnOffAsync", False):
        answer = _poll(call, answer, secret_headers, timeout)
    if not answer.ok:
        raise _failure(answer, f"Error calling the endpoint {url!r}", code="2108")
    output = _response(answer, f"The endpoint {url!r}")
    output["ADFWebActivityResponseHeaders"] = dict(answer.headers)
    output["executionDuration"] = round(time.monotonic() - began)
    return output


def azure_function(call: Call) -> dict[str, Any]:
    """Call a function of a function app with its key; it must answer with a JSON object within 230 seconds."""
    services = call.engine.services
    assert call.activity.linked_service is not None
    service = services.service(call, call.activity.linked_service, call.scope(), "linkedServiceName")
    key = services.secret(call, service.properties.get("functionKey"), "linkedServiceName.functionKey")
    name, method = str(call.properties["functionName"]).lstrip("/"), call.properties["method"]
    url = f"{str(service.properties['functionAppUrl']).rstrip('/')}/api/{name}"
    body = _body(method, call.properties.get("body"))
    began = time.monotonic()
    answer = _send(call, method, url, _text_headers(call.properties), body, {"x-functions-key": key}, FUNCTION_SECONDS)
    if not answer.ok:
        raise _failure(answer, f"Call to provided Azure function {name.partition('?')[0]!r}", code="3608")
    output = _json_object(answer, f"The Azure function {name.partition('?')[0]!r}", code="3603")
    output["executionDuration"] = round(time.monotonic() - began)
    return output


def _text_headers(properties: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in properties.get("headers", {}).items()}


def _body(method: str, body: Any) -> bytes | None:
    if body is None:
        if method in BODY_METHODS:
            raise ActivityFailed(f"{method} needs a body", 'give at least "{}"', code="2108", retriable=False)
        return None
    if method == "GET":
        raise ActivityFailed("GET takes no body", code="2108", retriable=False)
    return (
        body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    )


def _authentication(call: Call, authentication: Mapping[str, Any] | None) -> dict[str, str]:
    if authentication is None:
        return {}
    if authentication["type"] == "MSI":
        return {"Authorization": f"Bearer {call.engine.services.token(authentication['resource'])}"}
    password = call.engine.services.secret(call, authentication["password"], "authentication.password")
    request = requests.Request("GET", "https://localhost", auth=(authentication["username"], password)).prepare()
    return {"Authorization": request.headers["Authorization"]}


def _send(
    call: Call,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    secret_headers: Mapping[str, str],
    timeout: float,
) -> requests.Response:
    """Send one request; a body without a content type is JSON, as ADF sends it."""
    call.check_time()
    sent = dict(headers)
    if body is not None and not any(key.lower() == "content-type" for key in sent):
        sent["Content-Type"] = "application/json"
    timeout = min(timeout, max(0.1, call.deadline - time.monotonic()))
    where = url.partition("?")[0]  # a signature or code may follow
    try:
        return session().request(method, url, headers=sent, data=body, auth=_Headers(secret_headers), timeout=timeout)
    except requests.exceptions.Timeout as error:
        raise ActivityFailed(
            f"{where} gave no answer within {timeout:g} s", code="Timeout", failure_type="SystemError"
        ) from error
    except requests.exceptions.SSLError as error:
        raise ActivityFailed(
            f"the certificate of {where} is not trusted",
            "is REQUESTS_CA_BUNDLE set to the bundle?",
            code="2108",
            failure_type="SystemError",
        ) from error
    except requests.exceptions.RequestException as error:
        raise ActivityFailed(
            f"{where} cannot be called: {_reason(error)}", code="2108", failure_type="SystemError"
        ) from error


def _reason(error: Exception) -> str:
    text = str(error)
    return text.rsplit("] ", 1)[-1].rstrip("')\"") if "] " in text else type(error).__name__


def _poll(
    call: Call, answer: requests.Response, secret_headers: Mapping[str, str], timeout: float
) -> requests.Response:
    """Follow Location until it no longer answers 202. The token goes along only to the same host."""
    first_host = urlsplit(answer.url).netloc
    while answer.status_code == 202 and "Location" in answer.headers:
        url = urljoin(answer.url, answer.headers["Location"])
        wait = answer.headers.get("Retry-After", "")
        call.pause(float(wait) if wait.isdigit() else POLL_SECONDS)
        call.check_time()
        same_host = urlsplit(url).netloc == first_host
        answer = _send(call, "GET", url, {}, None, secret_headers if same_host else {}, timeout)
    return answer


def _json_object(answer: requests.Response, who: str, *, code: str) -> dict[str, Any]:
    if len(answer.content) > ANSWER_LIMIT_BYTES:
        raise ActivityFailed(f"{who} answered with more than 4 MB", code=code)
    if not answer.content.strip():
        return {}
    try:
        value = json.loads(answer.content)
    except ValueError as error:
        raise ActivityFailed(
            f"{who} answered with something that is not JSON", "ADF takes a JSON object only", code=code
        ) from error
    if not isinstance(value, dict):
        raise ActivityFailed(f"{who} answered with {json_type(value)}", "ADF takes a JSON object only", code=code)
    return value


def _response(answer: requests.Response, who: str) -> dict[str, Any]:
    """Return the answer's object, or anything else as text in `Response`: as Data Factory gives lists, texts and XML."""
    if len(answer.content) > ANSWER_LIMIT_BYTES:
        raise ActivityFailed(f"{who} answered with more than 4 MB", code="2108")
    try:
        value = json.loads(answer.content)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"Response": answer.text}


def _failure(answer: requests.Response, what: str, *, code: str) -> ActivityFailed:
    """Make the error of an HTTP status; {"error", "hint"} in the answer become its message and hint."""
    try:
        details = json.loads(answer.content[:ANSWER_LIMIT_BYTES])
    except ValueError:
        details = None
    said, hint = "", ""
    if isinstance(details, dict):
        error = details.get("error")
        said = str(error.get("message", error)) if isinstance(error, dict) else str(error or "")
        hint = str(details.get("hint") or "")
    message = f"{what} failed with status-'{answer.status_code} {answer.reason}'" + (
        f" and message - '{said}'" if said else ""
    )
    return ActivityFailed(message, hint, code=code, details=[details] if details is not None else None)
