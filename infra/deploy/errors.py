"""What can go wrong while adf/ is deployed, and whose fault it is.

DeployError
|- InvalidSource           a file of adf/ or a stage file is wrong                      (ours)
|- MissingSettingError   a stage file names a variable that is not set                (the caller's)
|- TooManyDeletionsError the plan would delete more than the stage allows             (the caller's)
|- OldStartError         a new trigger would start with windows of long ago            (the caller's)
|- EditedMeanwhileError  somebody changed the item between the plan and this write    (anybody's)
|- RefusedError          the resource manager refused a request                       (Azure's, or the caller's grants)
`- StillStoppedError     a trigger that ran before does not run again                 (Azure's)
"""

from __future__ import annotations

from fault import Fault


class DeployError(Fault):
    """The root: `message` says what, `.hint` the fix, `.status` the HTTP status that fits."""


class InvalidSource(DeployError):
    status = 422


class MissingSettingError(DeployError):
    status = 422


class TooManyDeletionsError(DeployError):
    status = 409


class OldStartError(DeployError):
    status = 422


class EditedMeanwhileError(DeployError):
    status = 412

    def __init__(self, title: str) -> None:
        hint = "look at the new plan: ./sealift deploy plan, then apply again"
        super().__init__(f"{title} was edited in Azure after the plan was made", hint)


class RefusedError(DeployError):
    status = 502


class StillStoppedError(DeployError):
    status = 502
