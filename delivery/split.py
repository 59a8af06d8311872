"""One big file over several connections: far servers move a window a round trip, so more windows move more."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from delivery.errors import DeliveryError, Outcome
from delivery.progress import Span
from delivery.session import Session
from delivery.source import AHEAD, Prefetch
from delivery.upload import Job, Plan, prepare, publish, write

if TYPE_CHECKING:
    from delivery.connection import Connection

_GOING_ON = Plan([], create=False)  # the file is there: created by the main connection
_MEMORY_BYTES = 6 << 20  # for what all connections together have read ahead: storage is nearer than the partner
_PIECE_BYTES = 512 << 10  # at least: smaller ranges cost a storage account more than they save


def send_split(
    job: Job, connection: Connection, pool: ThreadPoolExecutor, record: Callable[[list[str]], None] | None
) -> Outcome:
    """Deliver one file; further connections that fail to come up, or break, only make it slower."""
    session = connection.session
    plan = session.run(prepare(job, session))
    if isinstance(plan, Outcome):
        return plan
    session.run(write(job, session, [], plan, whole=False))  # creates or cuts the file, once
    piece_bytes = max(_PIECE_BYTES, _MEMORY_BYTES // (AHEAD + 1) // job.policy.connections)
    pieces = _Pieces(plan.spans, piece_bytes)
    helpers = [
        threading.Thread(target=_help, args=(job, connection, pieces, pool), name=f"split {number}", daemon=True)
        for number in range(1, min(job.policy.connections, len(pieces)))
    ]
    for helper in helpers:
        helper.start()
    try:
        _write_pieces(job, session, pieces, pool, record)
    finally:
        pieces.stop()
        for helper in helpers:
            helper.join()
    if left := job.acknowledged.missing(job.source.size):  # what broken helpers had taken
        _write_pieces(job, session, _Pieces(left, piece_bytes), pool, record)
    session.run(write(job, session, [], _GOING_ON, whole=True))  # proves the size
    return session.run(publish(job, session), record=record)


def _help(job: Job, main: Connection, pieces: _Pieces, pool: ThreadPoolExecutor) -> None:
    from delivery.connection import connect  # loads paramiko, as the main connection has

    try:
        with connect(main.settings, deadline=main.watchdog.deadline) as connection:
            _write_pieces(job, connection.session, pieces, pool, None)
    except DeliveryError:
        return  # the main connection writes what is left, and meets a fault of the server itself


def _write_pieces(
    job: Job, session: Session, pieces: _Pieces, pool: ThreadPoolExecutor, record: Callable[[list[str]], None] | None
) -> None:
    with Prefetch(job.source, pieces, pool) as coming:
        session.run(write(job, session, coming, _GOING_ON, whole=False), record=record)


class _Pieces:
    """Spans to write, taken one by one by whichever connection is free."""

    def __init__(self, spans: Sequence[Span], piece_bytes: int) -> None:
        self._left: deque[Span] = deque(
            (at, min(at + piece_bytes, end)) for start, end in spans for at in range(start, end, piece_bytes)
        )

    def __len__(self) -> int:
        return len(self._left)

    def __iter__(self) -> Iterator[Span]:
        while True:
            try:
                span = self._left.popleft()
            except IndexError:
                return
            yield span

    def stop(self) -> None:
        self._left.clear()
