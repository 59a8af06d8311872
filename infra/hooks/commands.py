"""What the hooks share: commands and their failures, waiting, settings, and how a hook ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from fault import Fault
from infra import tools
from infra.tools import ROOT

T = TypeVar("T")
LIMIT_SECONDS = 300
PAUSE_SECONDS = 10


class HookFailed(Fault):
    """A step of the deployment that did not work: `message` says what, `.hint` the fix."""


def run(
    command: Sequence[str],
    *,
    show: bool = False,
    hint: str = "",
    extra: Mapping[str, str] | None = None,
    folder: Path = ROOT,
) -> str:
    """Run a command as tools.run does; its failure is a step of the deployment that did not work."""
    try:
        return tools.run(command, show=show, hint=hint, extra=extra, folder=folder)
    except tools.ToolFailed as error:
        raise HookFailed(error.message, error.hint) from error


def wait_until(
    try_once: Callable[[], T],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Repeat `try_once` while it raises HookFailed, for five minutes: a new app needs a while for its keys and answers."""
    ends = clock() + LIMIT_SECONDS
    while True:
        try:
            return try_once()
        except HookFailed:
            if clock() >= ends:
                raise
            sleep(PAUSE_SECONDS)


def setting(name: str) -> str:
    """A value that azd hands to its hooks: an output of the template, or what `azd env set` was told."""
    if not os.environ.get(name):
        raise HookFailed(
            f"{name} is not set", "run this through azd: azd hooks run postdeploy; or azd env refresh first"
        )
    return os.environ[name]


def say(text: str) -> None:
    print(f"sealift: {text}", flush=True)


def finish(main: Callable[[], None]) -> int:
    """Run a hook's main; print an error as two lines and return the exit code."""
    try:
        main()
    except Fault as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        return 1
    return 0
