"""What can be wrong with a request about a batch.

BatchError
├── InvalidRequest   the caller's words are off (422)
├── UnknownBatch     no such batch (404)
├── NotStaged        the plaintext is not in the raw container (409)
├── ContentChanged   the plaintext is another than the one that was accepted (409)
├── OtherWindow      the batch id is taken by another window (409)
├── UnderWay         the feed's batch before is still being worked on (409)
├── Superseded       the days of the batch leave with a later one (409)
├── NotDelivered     the partner's side is not complete (409)
├── WorkedOn         another run holds the batch (409)
├── NotRepeatable    there is nothing that could be delivered or done again (409)
├── NumbersFull      the range of a partner's file numbers is used up (409)
├── PlaintextRemains storage keeps deleted plaintext (409)
├── SealedMissing    a sealed blob is gone, or another than the manifest names (409)
├── ForeignContent   another wrote under a name of ours in the encrypted container (409)
└── Unreadable       a blob of ours is not what we write (409)
"""

from __future__ import annotations

from fault import Fault


class BatchError(Fault):
    """Root of this package's errors."""

    status = 409


class InvalidRequest(BatchError):
    """The request cannot be understood."""

    status = 422


class UnknownBatch(BatchError):
    """No batch of that id was planned."""

    status = 404


class NotStaged(BatchError):
    """A file of the batch is not in the raw container."""


class ContentChanged(BatchError):
    """A raw file was replaced after its batch was accepted for sealing."""


class OtherWindow(BatchError):
    """The batch exists already, for another window."""


class UnderWay(BatchError):
    """What a batch would cover depends on one that is still being worked on."""


class Superseded(BatchError):
    """A later batch of the feed covers the same days: this one would send them twice."""


class NotDelivered(BatchError):
    """What arrived at the partner is not what the manifest says."""


class WorkedOn(BatchError):
    """Another run works on the batch, or the caller's run no longer does."""


class NotRepeatable(BatchError):
    """What was asked to happen again cannot: it never happened, or it is already on its way."""


class NumbersFull(BatchError):
    """The numbers that were agreed on with the partner are used up."""


class PlaintextRemains(BatchError):
    """Deleted plaintext can still be recovered from the raw account."""


class SealedMissing(BatchError):
    """What the manifest names is not in the encrypted container, or not with that size."""


class ForeignContent(BatchError):
    """Somebody else's content is under a name that only sealing writes: it is never signed and never sent."""

    default_hint = (
        "find out who else may write into the encrypted container, then plan a correction with the next revision"
    )


class Unreadable(BatchError):
    """A blob of ours is not what we write: it was cut, replaced or written by another version."""

    def __init__(self, blob: str) -> None:
        super().__init__(
            f"the blob {blob} cannot be read", "restore its newest version in the storage account, or delete it"
        )
