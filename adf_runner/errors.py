"""What can go wrong with a factory, and whose fault it is.

FactoryError
|- InvalidFactory      the files of a factory break a rule; carries every finding                (ours)
|- UnknownPipeline     no such pipeline or trigger in the factory                                 (the caller's)
|- InvalidParameters   a run was asked for with missing, unknown or ill-typed parameters          (the caller's)
|- InvalidOverride     an override names what the factory does not have                           (the caller's)
|- ExpressionError     an expression that cannot be read or evaluated: expressions/errors.py      (the author's)
|- ActivityFailed      an activity failed while it ran; becomes activity().error                  (anybody's)
`- Cancelled           Ctrl-C or the parent's end; becomes the status Cancelled
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["error", "not run", "advice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to say of a file; `path` leads from its top to the place.

    `error`: Azure refuses it, or the run goes wrong. `not run`: Azure's, but this runner does not execute it. `advice`:
    neither; it stops no run.
    """

    file: str
    path: str
    message: str
    kind: Kind = "error"

    @property
    def blocking(self) -> bool:
        """Whether a run that reaches this place is refused."""
        return self.kind != "advice"

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.path, self.message) if part)


class FactoryError(Exception):
    """Root of this package's errors: `message` is the cause, `hint` the one action that helps, `status` the HTTP status."""

    status = 500

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def message(self) -> str:
        return str(self)


class InvalidFactory(FactoryError):
    """The files in adf/ hold something that Azure or this executor would refuse."""

    status = 422

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings), "fix these, then run ./sealift adf check")
        self.findings = findings


class UnknownPipeline(FactoryError):
    status = 404


class InvalidParameters(FactoryError):
    status = 422


class InvalidOverride(FactoryError):
    status = 422


class Cancelled(FactoryError):
    status = 499

    def __init__(self) -> None:
        super().__init__("the run was cancelled")


class ActivityFailed(FactoryError):
    """An activity failed; `code` and `failure_type` become `activity('X').error.errorCode` and `.failureType`."""

    status = 502

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        code: str = "BadRequest",
        failure_type: str = "UserError",
        details: Any = None,
        output: dict[str, Any] | None = None,
        retriable: bool = True,
    ) -> None:
        super().__init__(message, hint)
        self.code = code
        self.failure_type = failure_type
        self.details = details
        self.output = output
        self.retriable = retriable
