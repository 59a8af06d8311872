"""Numbers: one for every batch of a feed, and one for every file; gap-free, taken once, the same on every repeated run."""

from __future__ import annotations

import json
from typing import Any

from batches import blobs
from batches.context import Context
from batches.errors import NumbersFull
from batches.recipe import Recipe
from batches.record import BatchId, Record


def read_sequences(context: Context, batch: BatchId) -> dict[str, int]:
    """Return the sequence number of every batch of the feed, by `{slot}.{revision}`."""
    taken: dict[str, int] = json.loads(blobs.read(context.stores.batches, _sequence_name(batch)) or b"{}")
    return taken


def take_sequence(context: Context, batch: BatchId) -> int:
    """Number the batch: one more than the feed's last. A batch that was numbered before a crash keeps its number."""
    mine: list[int] = []

    def take(content: bytes | None) -> bytes:
        taken = json.loads(content or b"{}")
        mine[:] = [taken.get(_key(batch)) or max(taken.values(), default=0) + 1]
        return content if content and _key(batch) in taken else _to_bytes(taken | {_key(batch): mine[0]})

    blobs.update(context.stores.batches, _sequence_name(batch), take)
    return mine[0]


def release_sequence(context: Context, batch: BatchId) -> None:
    """Give the number of a batch without files back, when it is the feed's last: manifests are numbered without a gap."""

    def release(content: bytes | None) -> bytes:
        taken = json.loads(content or b"{}")
        if _key(batch) not in taken or taken[_key(batch)] < max(taken.values()):
            return content or b"{}"
        del taken[_key(batch)]
        return _to_bytes(taken)

    blobs.update(context.stores.batches, _sequence_name(batch), release)


def open_book(context: Context, record: Record, recipe: Recipe) -> None:
    """Begin the book of numbers with the feed's first batch: files that were numbered by batch before are not numbered again."""
    if recipe.numbers_batches:
        return
    rule = recipe.numbering
    first = max(rule.first, record.sequence) if rule.scope == "feed" else rule.first
    blobs.write_once(
        context.stores.batches, _book_name(record.batch, recipe), json.dumps({"next": first, "taken": {}}).encode()
    )


def take_numbers(context: Context, record: Record, recipe: Recipe, count: int) -> list[int]:
    """Return the numbers of the batch's files, reserved before any of them is written. Raises NumbersFull.

    A batch that took numbers before keeps them, and takes more only when it has more files now.
    """
    if recipe.numbers_batches:
        return [record.sequence] * count
    mine: list[int] = []

    def take(content: bytes | None) -> bytes:
        book: dict[str, Any] = json.loads(content or b'{"next": 1, "taken": {}}')
        key = f"{record.batch.feed}/{_key(record.batch)}"
        mine[:] = book["taken"].get(key, [])
        if content and len(mine) >= count:
            return content
        mine.extend([_next_number(book, recipe, record.batch, left) for left in range(count - len(mine), 0, -1)])
        book["taken"][key] = mine
        return json.dumps(book).encode()

    blobs.update(context.stores.batches, _book_name(record.batch, recipe), take)
    return mine[:count]


def _next_number(book: dict[str, Any], recipe: Recipe, batch: BatchId, left: int) -> int:
    rule, number = recipe.numbering, int(book["next"])
    if number > rule.last and rule.when_full == "refuse":
        raise NumbersFull(
            f"the numbers of {batch.partner} {batch.feed} end with {rule.last}, and {left} more are needed",
            "agree on a new range with the partner and write it as sequence: {from: ..., to: ...}",
        )
    if not rule.first <= number <= rule.last:
        number = rule.first
    book["next"] = number + 1
    return number


def _key(batch: BatchId) -> str:
    return f"{batch.slot}.{batch.revision}"


def _sequence_name(batch: BatchId) -> str:
    return f"{batch.partner}/{batch.feed}/sequence.json"


def _book_name(batch: BatchId, recipe: Recipe) -> str:
    """Return where the numbers of a feed are written down, or those that all feeds of a partner share."""
    place = batch.partner if recipe.numbering.scope == "partner" else f"{batch.partner}/{batch.feed}"
    return f"{place}/numbers.json"


def _to_bytes(taken: dict[str, int]) -> bytes:
    return json.dumps(taken, indent=1).encode()
