"""One JSON object per event, on one line: what happened to which batch and file. Never a row, a key or a secret."""

from __future__ import annotations

import json
import logging

_logger = logging.getLogger("sealift")


def log_event(event: str, **fields: object) -> None:
    """Log an event with its batch, file, run id, sizes in bytes and durations in seconds."""
    _logger.info(json.dumps({"event": event, **fields}, default=str))


def log_failure(event: str, **fields: object) -> None:
    """Log an event that somebody must look at."""
    _logger.error(json.dumps({"event": event, **fields}, default=str))
