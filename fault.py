"""The one root of every error that this product reports: what is wrong, what to do about it, and whose turn it is.

    Fault
    ├── encryption.EncryptionError
    ├── delivery.DeliveryError
    ├── partners.PartnerError
    ├── batches.BatchError
    ├── local.wire.processes.ServiceError
    ├── cli.console.CommandFailed
    └── infra.deploy.DeployError, infra.hooks HookFailed

`adf_runner` and `dbt_runner` import nothing of ours and have roots of their own, of the same shape.
"""

from __future__ import annotations

from typing import ClassVar


class Fault(Exception):
    """`message` is the cause, `hint` the one action that helps, `status` the HTTP status.

    `transient` says whether the same call may succeed later without anybody's action.
    """

    status: ClassVar[int] = 500
    transient: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint
