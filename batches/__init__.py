"""The story of a batch, step by step: plan, seal, deliver, confirm. All state lives in blobs; no process keeps any.

Imports partners, delivery and encryption. Knows Azure Storage and Key Vault, but not how it is called: `function_app.py` reads
a request, calls one function of this package and answers JSON. Does not extract: Data Factory does.
"""

from batches.accepting import parse_message, request_sealing
from batches.answering import fetch_answers
from batches.confirming import confirm
from batches.delivering import deliver_batch, fail_delivery, parse_deliver_message, request_delivery
from batches.errors import (
    BatchError,
    ContentChanged,
    InvalidRequest,
    NotDelivered,
    NotRepeatable,
    NotStaged,
    OtherWindow,
    PlaintextRemains,
    UnknownBatch,
)
from batches.expecting import alert, feeds_due, read_standings, usable_partners
from batches.failing import record_failure
from batches.log import log_event, log_failure, step
from batches.manifest import signing_key
from batches.operating import history, list_batches, replay, resend
from batches.planning import describe, plan
from batches.purging import Sweep, purge, sweep
from batches.record import BatchId, Record, read
from batches.sealing import fail_file, give_up, seal_files
from batches.status import read_status, remote_files, state_of
from batches.stores import Stores, credential, open_stores
from batches.verifying import verify, verify_file

__all__ = [
    "BatchError",
    "BatchId",
    "ContentChanged",
    "InvalidRequest",
    "NotDelivered",
    "NotRepeatable",
    "NotStaged",
    "OtherWindow",
    "PlaintextRemains",
    "Record",
    "Stores",
    "Sweep",
    "UnknownBatch",
    "alert",
    "confirm",
    "credential",
    "deliver_batch",
    "describe",
    "fail_delivery",
    "fail_file",
    "feeds_due",
    "fetch_answers",
    "give_up",
    "history",
    "list_batches",
    "log_event",
    "log_failure",
    "open_stores",
    "parse_deliver_message",
    "parse_message",
    "plan",
    "purge",
    "read",
    "read_standings",
    "read_status",
    "record_failure",
    "remote_files",
    "replay",
    "request_delivery",
    "request_sealing",
    "resend",
    "seal_files",
    "signing_key",
    "state_of",
    "step",
    "sweep",
    "usable_partners",
    "verify",
    "verify_file",
]
