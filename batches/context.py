"""What one invocation works with: storage, vault, partners, the clock and the run that asked. Built once, then passed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from batches.stores import Stores
from encryption.vault import Vault
from partners import Partner, load_partner
from partners.errors import UnknownSource
from partners.loading import FOLDER
from partners.sources import Source, Stages, load_sources, source_names

# Longer than the steps between two signs of life of a run that sends: a test adds up their timeouts.
CLAIM_EXPIRES = timedelta(hours=3)

SftpAddresses = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """`clock` gives aware UTC; `run_id` is Data Factory's run, if one asked; `sftp` and `sources` are the
    stage's addresses by partner and by source.

    `claim_expires` is how long a run that sends may be silent before another takes its place.

    A partner's file is read once per invocation, however many files a message names.
    """

    stores: Stores
    vault: Vault
    clock: Callable[[], datetime]
    sftp: SftpAddresses = field(default_factory=dict)
    sources: Stages = field(default_factory=dict)
    run_id: str | None = None
    claim_expires: timedelta = CLAIM_EXPIRES
    _partners: dict[str, Partner] = field(default_factory=dict, repr=False, compare=False)

    def now(self) -> datetime:
        return self.clock()

    def partner(self, name: str) -> Partner:
        """Return one partner as its file says. Raises UnknownPartner, PartnerInvalid."""
        if name not in self._partners:
            self._partners[name] = load_partner(name, self.sftp)
        return self._partners[name]

    def source(self, name: str) -> Source:
        """Return one of the databases beside the warehouse. Raises UnknownSource, PartnerInvalid."""
        found = load_sources(FOLDER, self.sources, names={name})
        if name not in found:
            names = ", ".join(source_names(FOLDER))
            raise UnknownSource(f"there is no source {name!r} in sources.yaml", f"its sources are: {names}")
        return found[name]

    def for_run(self, run_id: str | None) -> Context:
        """Return the same context on behalf of the run that a message names."""
        return replace(self, run_id=run_id)
