"""The story of a batch, step by step: plan, seal, deliver, confirm. All state lives in blobs; no process keeps any.

Imports partners, delivery and encryption. Knows Azure Storage and Key Vault, but not how it is called: `function_app.py` reads
a request, calls one function of this package and answers JSON. Does not extract: Data Factory does.
"""

from __future__ import annotations

from batches.accepting import request_sealing
from batches.answering import fetch_answers
from batches.checks import Need, find_causes, storage_needs
from batches.confirming import confirm, confirm_empty
from batches.context import CLAIM_EXPIRES, Context
from batches.copying import Written, begin_copy, confirm_copied, note_copied, note_looked
from batches.delivering import deliver_batch, give_up_delivery, request_delivery
from batches.due import feeds_due
from batches.errors import (
    BatchError,
    ContentChanged,
    ForeignContent,
    InvalidRequest,
    NotDelivered,
    NotRepeatable,
    NotStaged,
    OtherWindow,
    PlaintextRemains,
    SealedMissing,
    Superseded,
    UnderWay,
    UnknownBatch,
    Unreadable,
    WorkedOn,
)
from batches.expecting import BACK_DAYS, alert, read_standings, usable_partners
from batches.explaining import MOST_DAYS, explain, overview
from batches.failing import record_failure, record_run_failure
from batches.joined import complete as complete_recent
from batches.joined import reindex
from batches.log import log_failure, step
from batches.manifest import signing_key
from batches.operating import Wanted, history, list_batches, replay, resend
from batches.outgoing import remote_files
from batches.planning import Window, describe, plan
from batches.poison import put_off
from batches.purging import Sweep, sweep
from batches.receipts import Receipt
from batches.record import BatchId, Record, read
from batches.sealing import give_up, seal_files
from batches.status import read_status, state_of
from batches.stores import Stores, credential, open_stores
from batches.verifying import verify, verify_file
from batches.waiting import look

__all__ = [
    "BACK_DAYS",
    "CLAIM_EXPIRES",
    "MOST_DAYS",
    "BatchError",
    "BatchId",
    "ContentChanged",
    "Context",
    "ForeignContent",
    "InvalidRequest",
    "Need",
    "NotDelivered",
    "NotRepeatable",
    "NotStaged",
    "OtherWindow",
    "PlaintextRemains",
    "Receipt",
    "Record",
    "SealedMissing",
    "Stores",
    "Superseded",
    "Sweep",
    "UnderWay",
    "UnknownBatch",
    "Unreadable",
    "Wanted",
    "Window",
    "WorkedOn",
    "Written",
    "alert",
    "begin_copy",
    "complete_recent",
    "confirm",
    "confirm_copied",
    "confirm_empty",
    "credential",
    "deliver_batch",
    "describe",
    "explain",
    "feeds_due",
    "fetch_answers",
    "find_causes",
    "give_up",
    "give_up_delivery",
    "history",
    "list_batches",
    "log_failure",
    "look",
    "note_copied",
    "note_looked",
    "open_stores",
    "overview",
    "plan",
    "put_off",
    "read",
    "read_standings",
    "read_status",
    "record_failure",
    "record_run_failure",
    "reindex",
    "remote_files",
    "replay",
    "request_delivery",
    "request_sealing",
    "resend",
    "seal_files",
    "signing_key",
    "state_of",
    "step",
    "storage_needs",
    "sweep",
    "usable_partners",
    "verify",
    "verify_file",
]
