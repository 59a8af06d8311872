"""What is known about a file under way: no byte is trusted that was not acknowledged, and no file comes twice."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The durable part: survives a crash when the caller's journal does.

    `acknowledged`: spans the server confirmed. `intended`: the final name was about to be given, so that if neither
    name is found later, the partner has taken the file. `sent`: done.
    """

    sha256: str
    acknowledged: tuple[Span, ...] = ()
    intended: bool = False
    sent: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "sha256": self.sha256,
            "acknowledged": [list(span) for span in self.acknowledged],
            "intended": self.intended,
            "sent": self.sent,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the record that `to_json` made this of."""
        return cls(
            sha256=value["sha256"],
            acknowledged=tuple((start, end) for start, end in value["acknowledged"]),
            intended=value["intended"],
            sent=value["sent"],
        )


class Journal(Protocol):
    """Kept by the caller for one delivery of one batch. `keep` gets several files at once: one write for all."""

    def recall(self, name: str) -> Record | None: ...
    def keep(self, records: dict[str, Record]) -> None: ...


class MemoryJournal:
    """A journal for as long as the process lives: enough to survive a broken connection, not a killed worker."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}

    def recall(self, name: str) -> Record | None:
        return self.records.get(name)

    def keep(self, records: dict[str, Record]) -> None:
        self.records.update(records)


class Acknowledged:
    """The spans of one file that the server has confirmed; several connections may add."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = sorted(spans)

    def add(self, start: int, end: int) -> None:
        with self._lock:
            spans = self._spans
            if spans and spans[-1][1] == start:  # the usual case: the next piece of a stream
                spans[-1] = (spans[-1][0], end)
                return
            self._spans = merge([*spans, (start, end)])

    def clear(self) -> None:
        with self._lock:
            self._spans = []

    @property
    def spans(self) -> tuple[Span, ...]:
        with self._lock:
            return tuple(self._spans)

    @property
    def total(self) -> int:
        return sum(end - start for start, end in self.spans)

    def missing(self, size: int) -> list[Span]:
        gaps, at = [], 0
        for start, end in self.spans:
            if min(start, size) > at:
                gaps.append((at, min(start, size)))
            at = max(at, end)
        if at < size:
            gaps.append((at, size))
        return gaps


def merge(spans: Sequence[Span]) -> list[Span]:
    """Join spans that touch or overlap."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined
