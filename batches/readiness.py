"""Wait: is what a feed reads built and tested since the day that it covers has ended? A red model holds back only its readers.

dbt's container group keeps the last status of every node in `state/verdicts.json` (dbt_runner/verdicts.py). A feed is mapped to
nodes by its exposure, named `<partner>_<feed>` unless the feed names another, else by its table and that of its control totals.
A feed whose table the project does not build waits for nothing, nor does one of another source unless it names an exposure.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from azure.core.exceptions import ResourceNotFoundError
from pydantic import BaseModel, ConfigDict

from batches import blobs
from batches.stores import Stores
from partners import Feed
from partners.sources import WAREHOUSE

VERDICTS = "state/verdicts.json"
_GOOD = frozenset({"success", "pass", "no-op", "warn", "reused"})


class _Verdict(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    status: str = ""
    at: str = ""
    parents: tuple[str, ...] = ()
    of: tuple[str, ...] = ()

    @property
    def began(self) -> datetime | None:
        return datetime.fromisoformat(self.at).astimezone(UTC) if self.at else None


class Verdicts(BaseModel):
    """What dbt says of its nodes. Fields that this app does not know are left alone: another image may have written it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    nodes: dict[str, _Verdict] = {}
    tests: dict[str, _Verdict] = {}
    exposures: dict[str, tuple[str, ...]] = {}
    tables: dict[str, str] = {}

    def nodes_of(self, partner: str, name: str, feed: Feed) -> frozenset[str]:
        """Return the nodes below which the feed is; none when the project does not build its table."""
        exposure = feed.exposure or f"{partner}_{name}".replace("-", "_")
        if exposure in self.exposures:
            return self._with_ancestors(self.exposures[exposure])
        tables = [feed.table, *([feed.control.table] if feed.control else [])]
        return self._with_ancestors(self.tables[table] for table in tables if table in self.tables)

    def red(self, nodes: frozenset[str]) -> str:
        """Return the name of the first node or test that did not pass, "" when all did."""
        found = [*self._judged(nodes)]
        failed = [name for name, verdict in found if verdict.status not in _GOOD and verdict.status != "skipped"]
        skipped = [name for name, verdict in found if verdict.status == "skipped"]
        return _short((failed or skipped or [""])[0])

    def built_since(self, nodes: frozenset[str]) -> datetime | None:
        """Return when the oldest of the runs began that gave the nodes their verdicts; None if one has none."""
        instants = [verdict.began for _, verdict in self._judged(nodes)]
        known = [instant for instant in instants if instant]
        return min(known) if known and len(known) == len(instants) else None

    def _judged(self, nodes: frozenset[str]) -> Iterable[tuple[str, _Verdict]]:
        yield from ((name, self.nodes[name]) for name in sorted(nodes))
        yield from ((name, test) for name, test in sorted(self.tests.items()) if test.of and nodes.issuperset(test.of))

    def _with_ancestors(self, names: Iterable[str]) -> frozenset[str]:
        found: set[str] = set()
        ahead = [name for name in names if name in self.nodes]
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                ahead += [parent for parent in self.nodes[name].parents if parent in self.nodes]
        return frozenset(found)


class Readiness:
    """What dbt has said, read once for all feeds of a call."""

    def __init__(self, stores: Stores) -> None:
        self.verdicts = _read(stores)
        self._nodes: dict[tuple[str, str], frozenset[str]] = {}
        self._judged: dict[frozenset[str], tuple[str, datetime | None]] = {}

    def why_waiting(self, partner: str, name: str, feed: Feed, needed: datetime) -> str:
        """Return the model that the feed waits for, and why; "" when all of its data was built after `needed` and is green."""
        if not waits_for_dbt(feed):
            return ""
        if self.verdicts is None:
            return "dbt has left no verdict yet"
        nodes = self._nodes_of(partner, name, feed)
        if not nodes:
            return ""
        if self.needs_build(partner, name, feed, needed):
            return f"dbt has not built {feed.table} since {needed:%Y-%m-%d %H:%M} UTC"
        red, _ = self._judge(nodes)
        return f"{red} did not pass" if red else ""

    def needs_build(self, partner: str, name: str, feed: Feed, needed: datetime) -> bool:
        """Whether a run of dbt is due for the feed: what it reads was built before `needed`, or never."""
        if not waits_for_dbt(feed):
            return False
        if self.verdicts is None:
            return True
        nodes = self._nodes_of(partner, name, feed)
        _, since = self._judge(nodes)
        return bool(nodes) and (since is None or since < needed)

    def _judge(self, nodes: frozenset[str]) -> tuple[str, datetime | None]:
        assert self.verdicts is not None, "asked only with verdicts"
        if nodes not in self._judged:
            self._judged[nodes] = (self.verdicts.red(nodes), self.verdicts.built_since(nodes))
        return self._judged[nodes]

    def _nodes_of(self, partner: str, name: str, feed: Feed) -> frozenset[str]:
        assert self.verdicts is not None, "asked only with verdicts"
        if (partner, name) not in self._nodes:
            self._nodes[partner, name] = self.verdicts.nodes_of(partner, name, feed)
        return self._nodes[partner, name]


def waits_for_dbt(feed: Feed) -> bool:
    """Whether dbt may build what a feed reads: it does so in the warehouse alone, unless the feed names an exposure."""
    return feed.source == WAREHOUSE or feed.exposure is not None


def _read(stores: Stores) -> Verdicts | None:
    if stores.dbt is None:
        return Verdicts()
    try:
        return blobs.read_model(stores.dbt, VERDICTS, Verdicts)
    except ResourceNotFoundError:  # no container yet
        return None


def _short(node: str) -> str:
    """Return the readable part of dbt's unique id: model.sealift.x is x, a generic test loses its hash."""
    kind, _, rest = node.partition(".")
    parts = rest.split(".")
    return parts[1] if kind == "test" and len(parts) > 2 else ".".join(parts[1:]) or node
