"""An HTTP server as a read-only store: one URL is one file."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import requests

from adf_runner.errors import ActivityFailed
from adf_runner.factory.shapes import seconds
from adf_runner.stores.store import Entry

if TYPE_CHECKING:
    from types import TracebackType

    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Data
    from adf_runner.stores.store import Sink

PIECE_BYTES = 256 * 1024
_sessions = threading.local()
PUBLIC = frozenset({"accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"})


class _Session(requests.Session):
    """Follow redirects, but give headers that may hold a secret to the first host only."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # its stub lacks the annotation
        before, after = urlsplit(response.request.url), urlsplit(prepared_request.url)
        if (before.scheme, before.netloc) != (after.scheme, after.netloc):
            for name in [each for each in prepared_request.headers if each.lower() not in PUBLIC]:
                del prepared_request.headers[name]


def session() -> requests.Session:
    """Return this thread's session: connections are kept, cookies are not."""
    if not hasattr(_sessions, "session"):
        _sessions.session = _Session()
    _sessions.session.cookies.clear()
    return _sessions.session  # type: ignore[no-any-return] # threading.local has no types


class HttpStore:
    """Reads `url` + `relativeUrl` as the source's storeSettings say."""

    def __init__(self, call: Call, data: Data) -> None:
        self._call = call
        self._service = data.service
        relative = str(data.location.get("relativeUrl") or "").lstrip("/")
        base = str(data.service.properties["url"])
        self.url = f"{base.rstrip('/')}/{relative}" if relative else base
        source = call.properties.get("source", {})
        self._settings: Mapping[str, Any] = source.get("storeSettings", {}) if isinstance(source, Mapping) else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass  # connections belong to the thread's session

    def find(self, path: str) -> Entry | None:
        return Entry(path=path or self.url.rsplit("/", 1)[-1].partition("?")[0])

    def list(self, folder: str, *, recursive: bool) -> Iterator[Entry]:  # noqa: ARG002 - the protocol's arguments
        raise ActivityFailed(
            "an HTTP server has no folders to list", "give relativeUrl", code="BadRequest", retriable=False
        )

    def read(self, path: str) -> Iterator[bytes]:  # noqa: ARG002 - the protocol's arguments
        properties = self._service.properties
        headers = {}
        for line in str(self._settings.get("additionalHeaders") or "").splitlines():
            name, _, value = line.partition(":")
            headers[name.strip()] = value.strip()
        auth = None
        if properties["authenticationType"] == "Basic":
            auth = (
                str(properties["userName"]),
                self._call.engine.services.secret(self._call, properties["password"], "password"),
            )
        body = self._settings.get("requestBody")
        where = self.url.partition("?")[0]  # a signature may follow
        try:
            with session().request(
                self._settings.get("requestMethod", "GET"), self.url, headers=headers, data=body.encode() if body else None,
                auth=auth, timeout=seconds(self._settings.get("requestTimeout", "00:01:40")), stream=True,
            ) as answer:  # fmt: skip
                if not answer.ok:
                    raise ActivityFailed(f"{where} answered {answer.status_code} {answer.reason}", code="UserErrorHttp")
                for piece in answer.iter_content(PIECE_BYTES):
                    self._call.check_time()
                    yield piece
        except requests.exceptions.RequestException as error:
            raise ActivityFailed(f"{where} cannot be read: {type(error).__name__}", code="UserErrorHttp") from error

    def write(self, path: str, settings: Mapping[str, Any], run_id: str) -> Sink:  # noqa: ARG002 - the protocol's arguments
        raise ActivityFailed("an HTTP server is a source only", code="BadRequest", retriable=False)

    def delete(self, path: str) -> None:  # noqa: ARG002 - the protocol's arguments
        raise ActivityFailed("an HTTP server is a source only", code="BadRequest", retriable=False)
