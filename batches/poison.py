"""A message of a `-poison` queue whose function fails: its batch must still become `failed`, and the log must not fill.

Azure neither counts nor releases such a message: it comes back whenever its lease of ten minutes ends, until the queue drops it
after seven days, and each time the platform logs a failed call with its trace. Here the pause doubles with each try, so that a
message that never succeeds is tried some 45 times and not a thousand times. The first failure is an error in the log, later ones
are events. A body that Azure cannot decode never reaches the app: see the runbook.
"""

from __future__ import annotations

from datetime import timedelta

from azure.core.exceptions import AzureError

from batches.log import log_event, log_failure
from batches.stores import open_queue

LEASE = timedelta(minutes=10)
LONGEST_PAUSE = timedelta(hours=4)


def pause_after(attempt: int) -> timedelta:
    """Return how long a message rests after its failed try number `attempt`: at first the platform's own lease."""
    doublings = min(attempt - 1, 10)
    return min(LEASE * (1 << doublings), LONGEST_PAUSE)


def put_off(queue: str, message_id: str | None, pop_receipt: str | None, attempt: int, error: Exception) -> None:
    """Log why a try failed, by the error's type alone, and hide the message longer than its lease from the second try on.

    Without an answer from the queue the message comes back when its lease ends.
    """
    pause = pause_after(attempt)
    log = log_failure if attempt == 1 else log_event
    about = {"queue": queue, "message": message_id, "attempt": attempt, "error": type(error).__name__}
    log("message.put_off", **about, minutes=pause.total_seconds() / 60)
    if pause == LEASE or message_id is None:
        return
    try:
        client = open_queue(queue)
        client.update_message(message_id, pop_receipt, visibility_timeout=int(pause.total_seconds()))
    except AzureError as refusal:
        log_event("message.not_hidden", queue=queue, message=message_id, error=type(refusal).__name__)
