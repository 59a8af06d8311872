"""Runs az, azd and our own modules; tells their failures as an error with a hint. Used by the hooks only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from fault import Fault

T = TypeVar("T")
LIMIT_SECONDS = 300
PAUSE_SECONDS = 10
ROOT = Path(__file__).resolve().parents[2]
INSTALL = {
    "az": "install the Azure CLI, then: az login",
    "azd": "install the Azure Developer CLI, then: azd auth login",
}


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
    """Run a command in a folder and return what it wrote; with `show` it writes to the terminal instead.

    The output of a command may be a secret: it is never part of an error's text, what it wrote to stderr is. Secrets
    that a command needs go into its environment (`extra`), never into its arguments, which every process can see.
    """
    program = shutil.which(command[0])
    if program is None:
        raise HookFailed(f"there is no {command[0]}", INSTALL.get(command[0], "install it"))
    done = subprocess.run(
        [program, *command[1:]],
        cwd=folder,
        env=os.environ | (extra or {}),
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=None if show else subprocess.PIPE,
        stderr=None if show else subprocess.PIPE,
    )
    if done.returncode:
        said = "" if show else f": {done.stderr.strip()[-600:]}"
        shown = " ".join(command[:4])
        raise HookFailed(f"`{shown} ...` ended with {done.returncode}{said}", hint or "fix it, then: azd up")
    return "" if show else done.stdout.strip()


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
