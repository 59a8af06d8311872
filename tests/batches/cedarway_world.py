"""What the tests of Cedarway's batches share: its batch, sealed, and one message of the queue that delivers it."""

from __future__ import annotations

import json
from typing import Any

from batch_world import DAY, START, World

import batches
from batches import Record


def sealed(world: World, day: int = 0) -> Record:
    """Return a batch of Cedarway's that waits for its delivery, `day` days after the first."""
    start = START.replace(hour=12) + day * DAY
    record = world.plan(partner="cedarway", feed="purchases", window_start=start, window_end=start + DAY)
    world.stage(record)
    world.request(record)
    world.work()
    return record


def send(world: World, record: Record, sftp: Any) -> None:
    """Deliver a batch as the worker does for one message."""
    delivery = batches.read(world.stores.batches, record.batch).delivery
    body = {"version": 1, "batch": record.batch, "delivery": delivery, "run_id": None}
    batches.deliver_batch(world.at(sftp=sftp), json.dumps(body))
