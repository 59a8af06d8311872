"""The numbers that files carry: gap-free per feed or per partner, taken once for a batch, and the same on every repeated run."""

from __future__ import annotations

import json
from contextlib import suppress

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError
from azure.storage.blob import BlobClient

from batches.errors import NumbersFull
from batches.recipe import Recipe
from batches.record import Record
from batches.stores import Stores


def open_book(stores: Stores, record: Record, recipe: Recipe) -> None:
    """Begin the book of numbers with the feed's first batch: files that were numbered by batch before are not numbered again."""
    if recipe.numbers_batches:
        return
    rule = recipe.numbering
    first = max(rule.first, record.sequence) if rule.scope == "feed" else rule.first
    with suppress(ResourceExistsError, ResourceModifiedError):
        _book(stores, record, recipe).upload_blob(
            json.dumps({"next": first, "taken": {}}).encode(), match_condition=MatchConditions.IfMissing
        )


def take_numbers(stores: Stores, record: Record, recipe: Recipe, count: int) -> list[int]:
    """Return the numbers of the batch's files, reserved before any of them is written. Raises NumbersFull.

    A batch that took numbers before keeps them, and takes more only when it has more files now.
    """
    if recipe.numbers_batches:
        return [record.sequence] * count
    batch, rule, blob = record.id, recipe.numbering, _book(stores, record, recipe)
    key = f"{batch.feed}/{batch.business_date}.{batch.revision}"
    while True:
        download = blob.download_blob()
        book, etag = json.loads(download.readall()), download.properties.etag
        mine: list[int] = list(book["taken"].get(key, []))
        if len(mine) >= count:
            return mine[:count]
        for _ in range(count - len(mine)):
            number = int(book["next"])
            if number > rule.last and rule.when_full == "refuse":
                raise NumbersFull(
                    f"the numbers of {batch.partner} {batch.feed} end with {rule.last}, and {count - len(mine)} more are needed",
                    "agree on a new range with the partner and write it as sequence: {from: ..., to: ...}",
                )
            number = rule.first if number > rule.last or number < rule.first else number
            mine.append(number)
            book["next"] = number + 1
        book["taken"][key] = mine
        body = json.dumps(book).encode()
        try:
            blob.upload_blob(body, overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified)
        except ResourceModifiedError:
            continue
        return mine


def _book(stores: Stores, record: Record, recipe: Recipe) -> BlobClient:
    """Return where the numbers of a feed are written down, or those that all feeds of a partner share."""
    batch = record.id
    place = batch.partner if recipe.numbering.scope == "partner" else f"{batch.partner}/{batch.feed}"
    return stores.batches.get_blob_client(f"{place}/numbers.json")
