"""A proxy before Azure Storage (or any HTTP service) that lets requests through unchanged and spoils those a test names.

It ends TLS with our authority and speaks TLS or plain HTTP to the service behind it. Paths, queries and headers pass as
they are, so that both managed identity and account keys go on working through it. Bodies are held in memory.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from typing import Self
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from local.wire.certificates import CertificateAuthority
from local.wire.faults import CODES, Fault, Faults, retry_after
from local.wire.service import Service
from local.wire.web import DropConnection, Request, Response, WebServer

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}
UPSTREAM_SECONDS = 600


class FaultProxy(Service):
    """Stand before `target` (scheme, host and port of a service); a context manager."""

    def __init__(self, target: str, ca: CertificateAuthority | None = None) -> None:
        self._target = urlsplit(target)
        self._ca = ca
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self.faults = Faults()
        self._server = WebServer("fault-proxy", self._answer, ca=ca)

    def start(self) -> Self:
        self._server.start()
        return self

    def stop(self) -> None:
        self.faults.clear()
        self._server.stop()
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    @property
    def url(self) -> str:
        return self._server.url

    def before(self, url: str) -> str:
        """Return a URL of the service as it is reached through this proxy."""
        return url.replace(f"{self._target.scheme}://{self._target.netloc}", self.url, 1)

    def _answer(self, request: Request) -> Response:
        return self.faults.guard(request, self._forward, _refuse_as_storage)

    def _forward(self, request: Request) -> Response:
        """Send the request on, over a connection that was used before; over a new one if that had ended."""
        while True:
            with self._lock:
                used = self._idle.pop() if self._idle else None
            connection = used or self._connect()
            try:
                response = self._exchange(connection, request)
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                if used is None or not isinstance(error, ConnectionError):
                    raise DropConnection from None
            else:
                with self._lock:
                    self._idle.append(connection)
                return response

    def _exchange(self, connection: http.client.HTTPConnection, request: Request) -> Response:
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            if name.lower() not in HOP_BY_HOP:
                connection.putheader(name, value)
        if not request.has_length and request.body:
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body or None)
        answer = connection.getresponse()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
        return Response(status=answer.status, body=answer.read(), headers=kept)

    def _connect(self) -> http.client.HTTPConnection:
        assert self._target.hostname
        if self._target.scheme == "http":
            return http.client.HTTPConnection(self._target.hostname, self._target.port, timeout=UPSTREAM_SECONDS)
        context = ssl.create_default_context(cafile=str(self._ca.bundle) if self._ca else None)
        return http.client.HTTPSConnection(
            self._target.hostname, self._target.port, timeout=UPSTREAM_SECONDS, context=context
        )


def _refuse_as_storage(fault: Fault) -> Response:
    """The error shape of Azure Storage."""
    assert fault.status is not None
    code = fault.code or CODES.get(fault.status, "Error")
    message = escape(f"fault injected by a test: {fault.status}")
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    headers = [("Content-Type", "application/xml"), ("x-ms-error-code", code), *retry_after(fault)]
    return Response(status=fault.status, body=body.encode(), headers=headers)
