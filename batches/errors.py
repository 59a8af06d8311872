"""What can be wrong with a request about a batch.

BatchError
├── InvalidRequest   the caller's words are off (422)
├── UnknownBatch     no such batch (404)
├── NotStaged        the plaintext is not in the raw container (409)
├── ContentChanged   the plaintext is another than the one that was accepted (409)
├── OtherWindow      the batch id is taken by another window (409)
├── NotDelivered     the partner's side is not complete (409)
├── NotRepeatable    there is nothing that could be delivered or done again (409)
├── NumbersFull      the range of a partner's file numbers is used up (409)
└── PlaintextRemains storage keeps deleted plaintext (409)
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


class NotDelivered(BatchError):
    """What arrived at the partner is not what the manifest says."""


class NotRepeatable(BatchError):
    """What was asked to happen again cannot: it never happened, or it is already on its way."""


class NumbersFull(BatchError):
    """The numbers that were agreed on with the partner are used up."""


class PlaintextRemains(BatchError):
    """Deleted plaintext can still be recovered from the raw account."""
