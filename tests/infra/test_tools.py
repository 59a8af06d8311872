"""The one module that calls az and azd: known faults are waited for or lead to one action, and nothing secret is shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import tools
from infra.tools import ToolFailed

Program = Callable[[str, str], Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """program(name, shell script) puts a program before all others; returns the file of its calls."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    log = tmp_path / "log"

    def make(name: str, script: str) -> Path:
        file = tmp_path / "bin" / name
        file.write_text(f'#!/bin/sh\necho "$*" >> {log}\n{script}\n')
        file.chmod(0o755)
        return log

    return make


@pytest.mark.parametrize(
    "words",
    [
        "RoleDefinitionDoesNotExist: The specified role definition does not exist.",
        "PrincipalNotFound: Principal 1 does not exist in the directory",
        "KeyVaultAuthenticationFailure: keyvault was not able to find",
        "AadAuthOperationCannotBePerformedWhenServerIsNotAccessible",
        "ServerIsBusy: Cannot complete operation while server is busy",
        "TooManyRequests: The request is being throttled",
    ],
)
@pytest.mark.parametrize("show", [False, True])
def test_what_passes_by_itself_is_tried_again(program: Program, tmp_path: Path, words: str, *, show: bool) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    fails = f'[ -f {first} ] && touch {second}; touch {first}; echo "{words}" >&2; exit 1'
    log = program("az", f"[ -f {second} ] && exit 0; {fails}")
    slept: list[float] = []

    tools.run(["az", "deployment"], show=show, sleep=slept.append)

    assert slept == [10, 20]
    assert len(log.read_text().splitlines()) == 3


def test_what_does_not_pass_ends_after_four_minutes(program: Program) -> None:
    program("az", "echo TooManyRequests >&2; exit 1")
    slept: list[float] = []

    with pytest.raises(ToolFailed, match="TooManyRequests") as caught:
        tools.run(["az", "x"], sleep=slept.append)

    assert 200 < sum(slept) < 300
    assert "run the same command again" in caught.value.hint


@pytest.mark.parametrize(
    ("words", "action"),
    [
        (
            "(AuthorizationFailed) 'me' does not have authorization to perform action 'Microsoft.Authorization/locks/write'",
            "a role with Microsoft.Authorization/locks/write",
        ),
        (
            "LocationIsOfferRestricted: Subscriptions are restricted from provisioning in location",
            "choose another location",
        ),
        (
            "MissingSubscriptionRegistration: not registered to use namespace 'Microsoft.App'",
            "--namespace Microsoft.App",
        ),
        ("TasksOperationsNotAllowed: ACR Tasks requests for the registry are not permitted", "docker or podman"),
        ("A vault with the same name already exists in deleted but recoverable state", "az keyvault recover"),
        ("StorageAccountAlreadyTaken: The storage account named x is already taken", "another environment name"),
        (
            "QuotaExceeded: Operation could not be completed as it results in exceeding approved Total cores",
            "more quota",
        ),
        ("ScopeLocked: The scope '/x' cannot perform delete operation", "delete the lock"),
        ("RoleAssignmentUpdateNotPermitted: Tenant ID, application ID", "orphaned role assignments"),
        ("OnlyOneServiceAssociationLinkAllowed", "held for some hours"),
        ("AADSTS700082: The refresh token has expired", "az login"),
        ("Please run 'az login' to setup account.", "az login"),
        ("Something that nobody knows", "fix what the message names"),
    ],
)
@pytest.mark.parametrize("show", [False, True])
def test_known_words_lead_to_one_action(program: Program, words: str, action: str, *, show: bool) -> None:
    program("az", f'echo "secret-output"; echo "{words}" >&2; exit 1')

    with pytest.raises(ToolFailed) as caught:
        tools.run(["az", "group", "create", "--name", "x"], show=show, sleep=lambda _seconds: None)

    assert action in caught.value.hint
    assert str(caught.value).startswith("`az group create ...` ended with 1")
    assert "secret-output" not in str(caught.value)
    if "nobody" not in words or not show:
        assert words[:40] in str(caught.value), "in the tool's own words"


def test_what_is_shown_is_shown_as_it_comes(program: Program, capfd: pytest.CaptureFixture[str]) -> None:
    program("azd", "echo one; echo two >&2")

    assert tools.run(["azd", "up"], show=True) == ""

    assert sorted(capfd.readouterr().out.split()) == ["one", "two"]


def test_a_secret_goes_by_the_environment(program: Program) -> None:
    log = program("az", 'echo "$PASSWORD_OF_MINE"')

    assert tools.run(["az", "x"], extra={"PASSWORD_OF_MINE": "hunter2"}) == "hunter2"
    assert "hunter2" not in log.read_text()
