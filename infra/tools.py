"""Every call of az and azd goes through here: what they say is kept, what is known is waited for or leads to one action.

A tool's output may be a secret, so it is never part of an error; what it writes to stderr is, in its own words. Secrets that
a command needs go into its environment, never into its arguments, which every process can see.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fault import Fault

ROOT = Path(__file__).resolve().parents[1]
PAUSES_SECONDS = (10, 20, 40, 60, 60, 60)  # together some four minutes: as long as Azure takes to spread a role
_KEPT_LINES = 60
INSTALL = {
    "az": "install the Azure CLI (https://aka.ms/installazurecli), then: az login",
    "azd": "install the Azure Developer CLI (https://aka.ms/azd-install)",
}


class ToolFailed(Fault):
    """A tool is missing or did not do its work: `message` holds its own words, `.hint` one action."""

    status = 502


@dataclass(frozen=True, slots=True)
class Known:
    """Words of Azure that were seen before: `waits` where the same command succeeds some minutes later."""

    words: re.Pattern[str]
    action: str
    waits: bool = False


def _known(words: str, action: str, *, waits: bool = False) -> Known:
    return Known(re.compile(words, re.IGNORECASE), action, waits)


_LATER = "Azure needs some minutes: run the same command again"
KNOWN: tuple[Known, ...] = (
    # What passes by itself: roles spread, servers finish what they do, requests are throttled.
    _known("RoleDefinitionDoesNotExist|PrincipalNotFound|does not exist in the directory", _LATER, waits=True),
    _known("KeyVaultAuthenticationFailure", _LATER, waits=True),
    _known("AadAuthOperationCannotBePerformedWhenServerIsNotAccessible|ServerIsBusy", _LATER, waits=True),
    _known("TooManyRequests|ReadRequestsThrottled|WriteRequestsThrottled", _LATER, waits=True),
    _known("AnotherOperationInProgress|RetryableError|ConcurrentUpdate", _LATER, waits=True),
    # What a person has to do something about.
    _known(
        r"does not have authorization to perform action '(?P<what>[^']+)'",
        "ask an owner of the subscription for a role with {what} (docs/roles.md), then: az login",
    ),
    _known("AuthorizationFailed", "ask an owner of the subscription for the roles of docs/roles.md, then: az login"),
    _known("LocationIsOfferRestricted|restricted from provisioning", "choose another location in the stage's file"),
    _known(
        "MissingSubscriptionRegistration.*?namespace '(?P<what>[^']+)'",
        "az provider register --wait --namespace {what}",
    ),
    _known("TasksOperationsNotAllowed", "install docker or podman: the image is then built here"),
    _known(
        "deleted but recoverable|soft.?deleted|VaultAlreadyExists",
        "az keyvault recover --name NAME, then run this again",
    ),
    _known(
        "AlreadyTaken|NameNotAvailable|is already (taken|in use)",
        "the name is another's: choose another environment name",
    ),
    _known("QuotaExceeded|exceeding approved", "ask for more quota in the portal, or choose another location"),
    _known("ScopeLocked", "delete the lock `keep` first; azd provision puts it back"),
    _known(
        "RoleAssignmentUpdateNotPermitted", "delete the orphaned role assignments of the identity that was made anew"
    ),
    _known(
        "OnlyOneServiceAssociationLinkAllowed", "the subnet is held for some hours by what was deleted: try tomorrow"
    ),
    _known("AADSTS|az login|not logged in|azd auth login", "sign in: az login"),
    _known("Could not resolve|Failed to establish|Connection aborted|no such host", "is the network up?"),
)


def run(
    command: Sequence[str],
    *,
    show: bool = False,
    hint: str = "",
    extra: Mapping[str, str] | None = None,
    folder: Path = ROOT,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Run a command and return what it wrote; with `show` it is written to the terminal too, and nothing is returned.

    A failure that passes by itself is tried again for four minutes. Raises ToolFailed.
    """
    program = shutil.which(command[0])
    if program is None:
        raise ToolFailed(f"there is no {command[0]}", INSTALL.get(command[0], "install it"))
    for pause in (*PAUSES_SECONDS, None):
        code, output, words = (_watch if show else _capture)([program, *command[1:]], dict(extra or {}), folder)
        if code == 0:
            return output
        known = next(((each, match) for each in KNOWN if (match := each.words.search(words))), None)
        if known is None or not known[0].waits or pause is None:
            break
        print(f"sealift: {command[0]}: {known[1][0]}; trying again in {pause} s", file=sys.stderr, flush=True)
        sleep(pause)
    raise ToolFailed(f"`{_shown(command)}` ended with {code}{_told(words, show=show)}", _action(known, hint))


def _capture(command: list[str], extra: dict[str, str], folder: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | extra,
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def _watch(command: list[str], extra: dict[str, str], folder: Path) -> tuple[int, str, str]:
    """Show what a command writes as it writes it; keep its last lines, to know what went wrong."""
    kept: deque[str] = deque(maxlen=_KEPT_LINES)
    with subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | extra,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            kept.append(line)
    return process.returncode, "", "".join(kept).strip()


def _shown(command: Sequence[str]) -> str:
    """Return the words of a command up to its first option; what follows may be long."""
    words = [word for word in command[:4] if not word.startswith("-")]
    return " ".join([*words, "..."])


def _told(words: str, *, show: bool) -> str:
    if show:
        line = next((line for line in words.splitlines() for each in KNOWN if each.words.search(line)), "")
        return f": {line.strip()[:300]}" if line else ""
    return f": {words[-600:]}" if words else ""


def _action(known: tuple[Known, re.Match[str]] | None, hint: str) -> str:
    if known is None:
        return hint or "fix what the message names, then run the same command again"
    found = known[1].groupdict().get("what") or "the action that the message names"
    return known[0].action.replace("{what}", found)
