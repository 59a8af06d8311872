"""Faults that a test asks a stand-in for: a status instead of an answer, a delay, a dropped connection."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from local.wire.web import DropConnection, Handler, Request, Response, json_response


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with matching requests, and how often. `path` is a shell pattern over the unescaped path."""

    path: str = "*"
    method: str | None = None
    query: str | None = None  # a shell pattern over the raw query, e.g. "*comp=block&*"
    status: int | None = None  # answered instead of the real answer; None lets the real one through (for a mere delay)
    code: str | None = None  # the error code beside the status, where the service has several for it
    retry_after_seconds: int | None = None
    delay_seconds: float = 0.0
    drop: bool = False  # close the connection without an answer
    after: bool = False  # the request is carried out first and only its answer is lost or replaced
    cut_after_bytes: int | None = None  # the real answer breaks off after so many bytes of its body
    skip: int = 0  # so many matching requests pass first
    times: int | None = 1  # so many requests suffer; None is for ever

    def matches(self, request: Request) -> bool:
        return (
            fnmatch.fnmatchcase(request.path, self.path)
            and self.method in (None, request.method)
            and (self.query is None or fnmatch.fnmatchcase(request.target.partition("?")[2], self.query))
        )


class Faults:
    """The faults in force, in the order in which they were added; safe to change while requests are served."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._cleared = threading.Event()
        self.injected = 0

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)
            self._cleared.clear()

    def clear(self) -> None:
        """Forget all faults; requests that are being delayed go on at once."""
        with self._lock:
            self._faults.clear()
            self._cleared.set()

    def take(self, request: Request) -> Fault | None:
        """Return the fault that this request suffers, counting it."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if not fault.matches(request):
                    continue
                if fault.skip:
                    self._faults[index] = replace(fault, skip=fault.skip - 1)
                    continue
                if fault.times is not None:
                    if fault.times <= 1:
                        del self._faults[index]
                    else:
                        self._faults[index] = replace(fault, times=fault.times - 1)
                self.injected += 1
                return fault
        return None

    def guard(self, request: Request, answer: Handler, refuse: Callable[[Fault], Response] | None = None) -> Response:
        """Answer the request with `answer`, unless it suffers a fault; `refuse` words the answer of a fault's status."""
        fault = self.take(request)
        if fault is None:
            return answer(request)
        if fault.delay_seconds:
            self._cleared.wait(fault.delay_seconds)
        spoils = fault.drop or fault.status is not None
        real = answer(request) if fault.after or not spoils else None
        if fault.drop:
            raise DropConnection
        if fault.status is not None:
            return (refuse or refuse_as_json)(fault)
        assert real is not None
        return replace(real, cut_after_bytes=fault.cut_after_bytes)


CODES = {408: "RequestTimeout", 409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 503: "ServerBusy"}


def refuse_as_json(fault: Fault) -> Response:
    """The error shape of Key Vault and of the resource manager."""
    assert fault.status is not None
    error = {
        "code": fault.code or CODES.get(fault.status, "Error"),
        "message": f"fault injected by a test: {fault.status}",
    }
    return json_response(fault.status, {"error": error}, retry_after(fault))


def retry_after(fault: Fault) -> list[tuple[str, str]]:
    return [] if fault.retry_after_seconds is None else [("Retry-After", str(fault.retry_after_seconds))]
