"""What is asked of dbt, validated, and the arguments that dbt gets for it.

A request comes from the outside, so nothing in it reaches dbt unchecked: a selector cannot become an option, a run id cannot
become a path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

COMMANDS = ("build", "run", "test", "retry", "freshness", "docs")
MODES = ("full", "modified")
DEADLINE_SECONDS = 90 * 60

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_TARGET = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class RequestError(ValueError):
    """The request is not one that this runner can serve."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run of dbt. Empty text stands for "not said", because a pipeline's parameters cannot be absent.

    `mode` modified builds what differs from the last good build; `retry` runs what failed or was skipped in `retry_of`, or
    in the last run; `freshness` stops a build whose sources are too old; `docs` adds the static site.
    """

    run_id: str
    command: str = "build"
    select: str = ""
    exclude: str = ""
    full_refresh: bool = False
    mode: str = "full"
    target: str = "production"
    threads: int = 4
    deadline_seconds: int = DEADLINE_SECONDS
    freshness: bool = False
    docs: bool = False
    retry_of: str = ""
    variables: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(bool(_RUN_ID.fullmatch(self.run_id)), "run_id", self.run_id, "letters, digits and hyphens, at most 64")
        _check(
            not self.retry_of or bool(_RUN_ID.fullmatch(self.retry_of)), "retry_of", self.retry_of, "the id of a run"
        )
        _check(self.command in COMMANDS, "command", self.command, f"one of: {', '.join(COMMANDS)}")
        _check(self.mode in MODES, "mode", self.mode, f"one of: {', '.join(MODES)}")
        _check(bool(_TARGET.fullmatch(self.target)), "target", self.target, "the name of a target in profiles.yml")
        _check(1 <= self.threads <= 64, "threads", self.threads, "a number from 1 to 64")
        _check(
            1 <= self.deadline_seconds <= 86_400, "deadline_seconds", self.deadline_seconds, "seconds, at most a day"
        )
        for name, text in (("select", self.select), ("exclude", self.exclude)):
            is_safe = not any(token.startswith("-") for token in text.split())
            _check(is_safe, name, text, "dbt selectors; an option has no place here")

    @property
    def makes_state(self) -> bool:
        """Whether a success leaves all of production as the project says, so that later runs may compare with it."""
        return self.command == "build" and self.target == "production" and not self.select and not self.exclude

    def arguments(self, state: str | None) -> list[str]:
        """Return dbt's command and options; `state` is the folder of an earlier run's artifacts, if there is one."""
        if self.command == "retry":
            assert state is not None, "a retry without an earlier run is refused before"
            return ["retry", "--state", state, *self._threads()]
        if self.command == "freshness":
            return ["source", "freshness", *self._selection(""), *self._threads()]
        if self.command == "docs":
            return ["docs", "generate", "--static", *self._selection("")]
        arguments = [self.command, *self._threads()]
        if self.mode == "modified" and state is not None:
            arguments += [*self._selection("state:modified+"), "--state", state, "--defer", "--favor-state"]
        else:
            # A selector that matches nothing is a mistake of the caller's, which dbt alone would turn green.
            arguments += self.strict_selection()
            if self.target != "production" and state is not None:
                arguments += ["--state", state, "--defer", "--favor-state"]
        if self.full_refresh and self.command != "test":
            arguments.append("--full-refresh")
        if self.variables:
            arguments += ["--vars", json.dumps(self.variables)]
        return arguments

    @property
    def compares(self) -> bool:
        """Whether the last good build's manifest is needed: to compare with, or to read production from."""
        return self.mode == "modified" or self.target != "production"

    def strict_selection(self) -> list[str]:
        return [*self._selection(""), "--warn-error-options", '{"error": ["NoNodesForSelectionCriteria"]}']

    def _threads(self) -> list[str]:
        return ["--threads", str(self.threads)]

    def _selection(self, state: str) -> list[str]:
        selected = self.select.split()
        if state:
            selected = [f"{token},{state}" for token in selected] or [state]
        arguments = ["--select", *selected] if selected else []
        return [*arguments, "--exclude", *self.exclude.split()] if self.exclude.split() else arguments


def read_request(content: Mapping[str, Any]) -> Request:
    """Read a request from JSON; raise RequestError for an unknown name or a value of the wrong kind."""
    known = {each.name: each for each in fields(Request)}
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise RequestError(f"the request has an unknown property {unknown[0]!r}", f"known are: {', '.join(known)}")
    for name, value in content.items():
        default = getattr(_EXAMPLE, name)
        if type(value) is not type(default):
            raise RequestError(
                f"the request's {name} is of type {type(value).__name__}", f"it must be {type(default).__name__}"
            )
    if "run_id" not in content:
        raise RequestError("the request has no run_id", "name the run, for example by the pipeline's run id")
    return Request(**content)


def _check(is_right: bool, name: str, value: object, rule: str) -> None:
    if not is_right:
        raise RequestError(f"the request's {name} is {str(value)[:80]!r}", f"it must be {rule}")


_EXAMPLE = Request(run_id="example")
