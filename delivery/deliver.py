"""Deliver the files of a batch: many at once, the last ones in order, again after a fault, never one twice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from delivery.errors import DeadlinePassed, DeliveryError, LoginBroken, OpenRefused, Outcome, Unusable
from delivery.policy import Policy
from delivery.progress import Journal
from delivery.session import Story
from delivery.settings import ConnectionSettings
from delivery.source import AHEAD, RANGE_BYTES, Source, range_bytes, readers
from delivery.split import send_split
from delivery.upload import Job, send

if TYPE_CHECKING:
    from delivery.connection import Connection

_BUDGET_BYTES = 2 * (AHEAD + 1) * RANGE_BYTES  # of sources held in memory by all the files in flight
_LONGEST_WAIT = 60.0
_MOST_LOGINS = 2


def deliver(
    files: Sequence[Source],
    last_files: Sequence[Source] = (),
    *,
    settings: ConnectionSettings,
    policy: Policy,
    journal: Journal | None = None,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Outcome]:
    """Bring every file to the partner under its final name, `last_files` after all others and one after the other.

    Running it again is safe at any time: what has arrived is recognised, what was begun is continued. Transient faults
    are retried with back-off until `policy.attempts` tries brought no progress or the deadline has passed. When a connection
    breaks before one file was finished, or a file is not opened, half as many files are under way at once from then on: some
    servers cut or refuse what they call too much, and say so nowhere. A file that
    cannot be delivered stops the delivery before the last files; the DeliveryError carries the outcomes so far.
    """
    run = _Delivery(files, last_files, settings, policy, journal, on_outcome)
    try:
        with readers() as pool:
            run.until_done(pool, sleep)
    except DeliveryError as error:
        error.outcomes = run.outcomes
        raise
    finally:
        run.keep([])
    return run.outcomes


class _Delivery:
    def __init__(
        self,
        files: Sequence[Source],
        last_files: Sequence[Source],
        settings: ConnectionSettings,
        policy: Policy,
        journal: Journal | None,
        on_outcome: Callable[[Outcome], None],
    ) -> None:
        check_names([*files, *last_files])
        self._settings = settings
        self._policy = policy
        self._journal = journal
        self._on_outcome = on_outcome
        self._arrived: list[str] = []
        self._depth = policy.depth
        self._under_way = 0  # files that the present connection was given at once
        self._record = self.keep if journal is not None else None
        self._deadline = time.monotonic() + policy.deadline_seconds if policy.deadline_seconds is not None else None
        self._jobs = {source.name: Job(source=source, policy=policy) for source in [*files, *last_files]}
        self._first = [source.name for source in files]
        self._last = [source.name for source in last_files]
        for name, job in self._jobs.items():
            record = journal.recall(name) if journal is not None else None
            if record is not None:
                job.recall(record)

    @property
    def outcomes(self) -> list[Outcome]:
        return [job.outcome for job in self._jobs.values() if job.outcome is not None]

    def until_done(self, pool: ThreadPoolExecutor, sleep: Callable[[float], None]) -> None:
        from delivery.connection import connect  # loads paramiko

        failures, logins, before = 0, 0, self._moved()
        while any(job.outcome is None for job in self._jobs.values()):
            self._under_way, finished = 0, len(self.outcomes)
            try:
                with connect(self._settings, deadline=self._deadline) as connection:
                    self._send_all(connection, pool)
            except DeliveryError as error:
                self.keep([])
                # Trying a login again and again gets an account locked.
                logins = logins + 1 if isinstance(error, LoginBroken) else 0
                is_less = self._goes_on_with_less(error, finished)
                if not is_less and (not error.transient or isinstance(error, DeadlinePassed) or logins == _MOST_LOGINS):
                    raise
                moved = self._moved()  # against the furthest so far: a file begun anew makes the same way again
                if not is_less:  # a smaller depth is another try, not the same once more; there are eight at most
                    failures = 1 if moved > before else failures + 1
                before = max(before, moved)
                wait = self._wait(failures)
                if failures >= self._policy.attempts or (self._deadline and time.monotonic() + wait > self._deadline):
                    self._name_depth(error)
                    raise
                sleep(wait)

    def _wait(self, failures: int) -> float:
        longest = min(_LONGEST_WAIT, self._policy.backoff_seconds * (1 << max(0, failures - 1)))
        return longest * random.uniform(0.5, 1)  # noqa: S311 - spreads load

    def _goes_on_with_less(self, error: DeliveryError, finished: int) -> bool:
        """Halve the depth when it may be what the server does not bear; return whether it could be halved."""
        broke = error.transient and not isinstance(error, DeadlinePassed) and len(self.outcomes) == finished
        if self._under_way < 2 or not (broke or isinstance(error, OpenRefused)):
            return False
        self._depth = self._under_way // 2
        return True

    def _name_depth(self, error: DeliveryError) -> None:
        if self._depth < self._policy.depth:
            error.hint += f" (also with {self._depth} of `depth` {self._policy.depth} files at once)"

    def _send_all(self, connection: Connection, pool: ThreadPoolExecutor) -> None:
        waiting = [job for job in (self._jobs[name] for name in self._first) if job.outcome is None]
        split = [job for job in waiting if self._is_split(job)]
        self._send_many([job for job in waiting if not self._is_split(job)], connection, pool, self._depth)
        for job in split:
            send_split(job, connection, pool, self._record)
            self._done(job)
        for name in self._last:
            if self._jobs[name].outcome is None:
                self._send_many([self._jobs[name]], connection, pool, 1)

    def _send_many(self, jobs: list[Job], connection: Connection, pool: ThreadPoolExecutor, depth: int) -> None:
        failed: list[DeliveryError] = []
        session = connection.session
        if session.limits.open_handles:
            depth = max(1, min(depth, session.limits.open_handles - 8))
        self._under_way = min(depth, len(jobs))

        def stories() -> Iterator[tuple[int, Story[Outcome], Callable[[Outcome | DeliveryError], None]]]:
            for job in jobs:
                if failed:  # those under way end; no new one begins
                    return
                yield min(job.source.size, (AHEAD + 1) * range_bytes(job.source)), send(job, session, pool), ended(job)

        def ended(job: Job) -> Callable[[Outcome | DeliveryError], None]:
            return lambda result: failed.append(result) if isinstance(result, DeliveryError) else self._done(job)

        session.run_all(stories(), depth=depth, budget_bytes=_BUDGET_BYTES, record=self._record)
        if failed:
            fatal = [error for error in failed if not error.transient]
            raise next((error for error in fatal if not isinstance(error, OpenRefused)), (fatal or failed)[0])

    def _is_split(self, job: Job) -> bool:
        return self._policy.connections > 1 and job.source.size >= self._policy.split_bytes

    def _done(self, job: Job) -> None:
        assert job.outcome is not None
        self._arrived.append(job.source.name)
        self._on_outcome(job.outcome)

    def _moved(self) -> int:
        return sum(job.acknowledged.total for job in self._jobs.values()) + len(self.outcomes)

    def keep(self, names: list[str]) -> None:
        """Put on record what is known about these files and which others have arrived since: one write."""
        if self._journal is not None:
            begun = [
                name for name, job in self._jobs.items() if job.outcome is None and job.acknowledged.total and not names
            ]
            records = {name: self._jobs[name].record() for name in [*names, *self._arrived, *begun]}
            self._arrived.clear()
            if records:
                self._journal.keep(records)


def check_names(files: Sequence[Source]) -> None:
    """Refuse names that are not file names, or come twice."""
    seen: set[str] = set()
    for source in files:
        name = source.name
        if not name or "/" in name or "\0" in name or name in {".", ".."}:
            raise Unusable(f"{name!r} is not a file name", hint="a name without '/', in the feed's folder")
        if name in seen:
            raise Unusable(f"two files are called {name}", hint="each file of a batch has its own name")
        seen.add(name)
