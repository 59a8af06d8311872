"""A small threaded HTTP server for the stand-ins: a function from Request to Response, over TLS or in the clear.

HTTP/1.1 with keep-alive, loopback only, port chosen by the system. It is not a general web server: bodies are held in
memory and there is no streaming, because none of the protocols spoken here needs it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from local.wire.certificates import CertificateAuthority
from local.wire.service import Service

MAX_BODY_BYTES = 128 * 1024 * 1024


class DropConnection(Exception):
    """Raised by a handler: the connection is closed without an answer, as a broken network would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    target: str  # as sent: path and query, still escaped
    path: str  # unescaped, without the query
    query: dict[str, str]  # the last value of a repeated name
    headers: Message[str, str]
    body: bytes = field(repr=False)
    has_length: bool  # Content-Length was sent; a chunked body has none

    def json(self) -> Any:
        """Return the body as JSON; an empty one is an empty object."""
        return json.loads(self.body or b"{}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    status: int
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    cut_after_bytes: int | None = None  # announce the whole body, send so many bytes of it, and hang up


def json_response(status: int, content: Any, headers: Sequence[tuple[str, str]] = ()) -> Response:
    return Response(
        status=status,
        body=json.dumps(content).encode(),
        headers=[("Content-Type", "application/json; charset=utf-8"), *headers],
    )


Handler = Callable[[Request], Response]


class WebServer(Service):
    """Serve `handler` on 127.0.0.1; a context manager. The address is known after start()."""

    def __init__(
        self,
        name: str,
        handler: Handler,
        *,
        ca: CertificateAuthority | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.name = name
        self.handler = handler
        self._ca = ca
        self._host = host
        self._port = port
        self._server: _Server | None = None

    def start(self) -> Self:
        context = None
        if self._ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._ca.issue(self.name))
        self._server = _Server((self._host, self._port), self.handler, context)
        self._port = self._server.server_port
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name=f"{self.name} server", daemon=True
        ).start()
        return self

    def stop(self, grace_seconds: float = 1.0) -> None:
        """Close the port, let answers that are being given end, close every connection. Works any number of times."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.wait_until_idle(grace_seconds)
            server.close_connections()

    @property
    def port(self) -> int:
        assert self._port, f"{self.name} has no address before start()"
        return self._port

    @property
    def url(self) -> str:
        return f"{'https' if self._ca else 'http'}://{self._host}:{self.port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: Handler, context: ssl.SSLContext | None) -> None:
        self.handler = handler
        self.context = context
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._answering = 0
        self._idle = threading.Condition()
        super().__init__(address, _Connection)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Count one request as being answered."""
        with self._idle:
            self._answering += 1
        try:
            yield
        finally:
            with self._idle:
                self._answering -= 1
                self._idle.notify_all()

    def wait_until_idle(self, seconds: float) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._answering == 0, seconds)

    def finish_request(self, request: Any, client_address: Any) -> None:
        # Here and not at accept(): a client that never speaks must not keep the others out.
        connection: socket.socket = request
        if self.context is not None:
            connection = self.context.wrap_socket(request, server_side=True)
        with self._lock:
            self._open.add(connection)
        try:
            super().finish_request(connection, client_address)
        finally:
            with self._lock:
                self._open.discard(connection)
            self.shutdown_request(connection)

    def close_connections(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        if not isinstance(sys.exception(), OSError):  # a client that went away, or did not trust us, is its own affair
            traceback.print_exc()


class _Connection(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024

    def _answer(self) -> None:
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        length = self.headers.get("Content-Length")
        if any(len(self.headers.get_all(name, [])) > 1 for name in ("Host", "Content-Length")):
            self._refuse(400)
            return
        if length is not None and (not length.isascii() or not length.isdigit()):
            self._refuse(400)
            return
        if int(length or 0) > MAX_BODY_BYTES:
            self._refuse(413)
            return
        body = self._read_chunks() if chunked else self.rfile.read(int(length or 0))
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            target=self.requestline.split()[1],  # not self.path, in which Python folds leading slashes
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=self.headers,
            body=body,
            has_length=length is not None,
        )
        with self.server.answering():
            try:
                self._send(self.server.handler(request))
            except DropConnection:
                self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _answer  # noqa: N815 - the base class's names

    def _refuse(self, status: int) -> None:
        """Answer without reading the body, which ends the connection."""
        self.close_connection = True
        self._send(Response(status=status))

    def _read_chunks(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while (length := int(self.rfile.readline(64).split(b";")[0], 16)) > 0:
            size += length
            if size > MAX_BODY_BYTES:
                raise ConnectionError("chunked body over the limit")
            pieces.append(self.rfile.read(length))
            self.rfile.readline(8)
        while self.rfile.readline(8192).strip():
            pass
        return b"".join(pieces)

    def _send(self, response: Response) -> None:
        self.send_response_only(response.status)
        self.send_header("Date", self.date_time_string())
        sends_length = False
        for name, value in response.headers:
            sends_length = sends_length or name.lower() == "content-length"
            self.send_header(name, value)
        if not sends_length and response.status not in (204, 304):
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body[: response.cut_after_bytes])
        self.wfile.flush()
        if response.cut_after_bytes is not None:
            raise DropConnection

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - each service keeps its own log
        pass
