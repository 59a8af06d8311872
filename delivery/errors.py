"""Every way a delivery can fail, named for its cause, and the outcome of a file that arrived before the failure.

    DeliveryError
    ├── Unreachable            no answer from the host                        transient
    ├── Busy                   the server takes no more connections now       transient
    ├── ConnectionLost         the connection broke                           transient
    │   └── LoginBroken        … while we logged in; tried twice at most      transient
    ├── Stalled                connected, but nothing moved for too long      transient
    ├── DeadlinePassed         our own time for the delivery is used up       transient
    ├── HostKeyMismatch        not the server that was pinned
    ├── NoCommonAlgorithm      nothing both sides accept
    ├── AuthenticationRefused  the server knows no such user, key or password
    ├── ProtocolViolation      the server's answer is not SFTP version 3
    ├── RemoteRefused          the server refused a step
    │   ├── RemoteFull         no space (or quota) left
    │   ├── RemoteReadOnly     no right to write there
    │   ├── FolderMissing      the folder is not there (any more)
    │   ├── OpenRefused        no file was opened; too many at once, perhaps
    │   └── RenameRefused      uploaded, but may not take its final name
    ├── NameTaken              another file has that name
    ├── Vanished               written, then gone
    │   └── Moved              … while it was being continued                 transient
    ├── VerificationFailed     the remote file is not what was sent
    ├── SourceChanged          our own file is not the one that was recorded  ours
    └── Unusable               a pin, key, policy or name that cannot be used ours
        ├── BadHostKey
        └── BadPrivateKey

`status` is the HTTP status the function app answers with; `transient` says whether trying again alone can fix it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fault import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file.

    verified: "hash" (of the whole remote file), "sample" (size and its first and last block), "size",
    or "record" (our own record says it arrived; the partner has taken it since). `sha256` is that of the file as sent.
    """

    name: str
    bytes: int
    sha256: str
    state: Literal["sent", "already there"]
    verified: Literal["hash", "sample", "size", "record"]
    temporary_name: str
    seconds: float


class DeliveryError(Fault):
    """Root of this package's errors; `.outcomes` is what had arrived before."""

    status = 502

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.outcomes: Sequence[Outcome] = ()


class Unreachable(DeliveryError):
    status = 503
    transient = True


class Busy(DeliveryError):
    status = 503
    transient = True


class ConnectionLost(DeliveryError):
    status = 503
    transient = True


class LoginBroken(ConnectionLost):
    """The server hung up while we logged in: some answer a refused key or password like this."""


class Stalled(DeliveryError):
    status = 504
    transient = True


class DeadlinePassed(DeliveryError):
    status = 504
    transient = True


class HostKeyMismatch(DeliveryError):
    pass


class NoCommonAlgorithm(DeliveryError):
    pass


class AuthenticationRefused(DeliveryError):
    pass


class ProtocolViolation(DeliveryError):
    pass


class RemoteRefused(DeliveryError):
    pass


class RemoteFull(RemoteRefused):
    status = 507


class RemoteReadOnly(RemoteRefused):
    pass


class OpenRefused(RemoteRefused):
    """The server opened no file and did not say why; it may limit how many are open at once."""


class FolderMissing(RemoteRefused):
    pass


class RenameRefused(RemoteRefused):
    pass


class NameTaken(DeliveryError):
    status = 409


class Vanished(DeliveryError):
    pass


class Moved(Vanished):
    """The temporary file went away between two looks; the next attempt sees what became of it."""

    transient = True


class VerificationFailed(DeliveryError):
    pass


class SourceChanged(DeliveryError):
    status = 500


class Unusable(DeliveryError, ValueError):
    """Also a ValueError, so that a model of pydantic reports it with its place in the partner's file."""

    status = 500


class BadHostKey(Unusable):
    pass


class BadPrivateKey(Unusable):
    pass
