"""The recipe of a batch's files, as the partner file stated it when the batch was planned: `layout.json`, written once.

A partner file that changes later never changes a batch that is under way. It is a blob of its own beside batch.json, which names
every file of a batch: workers read this small one instead.
"""

from __future__ import annotations

from datetime import datetime

from batches import blobs
from batches.context import Context
from batches.errors import UnknownBatch
from batches.record import BatchId, Stored
from partners import Column, Layout, Partner
from partners.model import Numbering
from partners.naming import BatchFacts, name_file

NAME = "layout.json"


class Recipe(Stored):
    """What is needed to make a batch's files from its rows, and to read them back."""

    version: int = 1
    layout: Layout
    columns: list[Column]
    file_name: str
    numbering: Numbering
    has_totals: bool
    time_zone: str

    @classmethod
    def of(cls, partner: Partner, feed: str) -> Recipe:
        """Return the recipe of a feed as its partner file is now."""
        found = partner.feeds[feed]
        return cls(
            layout=found.full_layout,
            columns=found.columns,
            file_name=found.file_name,
            numbering=found.sequence,
            has_totals=found.control is not None,
            time_zone=partner.time_zone,
        )

    @property
    def numbers_batches(self) -> bool:
        """Whether a batch is one file for certain, whose number is the batch's own: then its name is known at Plan."""
        always_one = not self.layout.rows_per_file and self.layout.empty in ("send", "header-only", "fail")
        return always_one and self.numbering == Numbering()

    def facts(self, batch: BatchId, made: datetime) -> BatchFacts:
        """Return what the files know besides their rows; `made` is the instant of planning."""
        return BatchFacts(
            batch=str(batch),
            partner=batch.partner,
            business_date=batch.business_date,
            made=made,
            time_zone=self.time_zone,
            revision=batch.revision,
        )

    def name_file(self, batch: BatchId, made: datetime, sequence: int, part: int = 1) -> str:
        """Return the name of one file. Raises ValueError."""
        return name_file(self.file_name, self.facts(batch, made), sequence, part)


def write(context: Context, batch: BatchId, recipe: Recipe) -> Recipe:
    """Write a batch's recipe, or return the one that was written first. Raises Unreadable."""
    name = f"{batch.folder}/{NAME}"
    body = recipe.model_dump_json(exclude_defaults=True, by_alias=True).encode()
    return blobs.parse(blobs.write_once(context.stores.batches, name, body), name, Recipe)


def read(context: Context, batch: BatchId) -> Recipe:
    """Raises UnknownBatch, Unreadable."""
    found = blobs.read_model(context.stores.batches, f"{batch.folder}/{NAME}", Recipe)
    if found is None:
        raise UnknownBatch(f"batch {batch} has no {NAME}", "plan it again: POST /api/batches")
    return found
