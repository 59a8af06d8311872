"""The story of a batch, step by step: plan, seal, deliver, confirm. All state lives in blobs; no process keeps any.

Knows Azure Storage and Key Vault, but not how it is called: `function_app.py` reads a request, calls one function of this
package and answers JSON. Does not extract and does not carry files to the partner: Data Factory does.
"""

from batches.confirming import confirm, record_failure
from batches.errors import (
    BatchError,
    ContentChanged,
    InvalidRequest,
    NotDelivered,
    NotStaged,
    OtherWindow,
    StepFailed,
    UnknownBatch,
)
from batches.log import log_event, log_failure
from batches.manifest import signing_key
from batches.planning import describe, feeds_due, plan
from batches.record import BatchId, Record, read
from batches.sealing import fail_file, parse_message, request_sealing, seal_file
from batches.status import read_status, remote_files, state_of
from batches.stores import Stores, credential, open_stores

__all__ = [
    "BatchError",
    "BatchId",
    "ContentChanged",
    "InvalidRequest",
    "NotDelivered",
    "NotStaged",
    "OtherWindow",
    "Record",
    "StepFailed",
    "Stores",
    "UnknownBatch",
    "confirm",
    "credential",
    "describe",
    "fail_file",
    "feeds_due",
    "log_event",
    "log_failure",
    "open_stores",
    "parse_message",
    "plan",
    "read",
    "read_status",
    "record_failure",
    "remote_files",
    "request_sealing",
    "seal_file",
    "signing_key",
    "state_of",
]
