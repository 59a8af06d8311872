"""`./sealift completion`: what a real bash completes with the script."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from cli import completion
from cli.__main__ import VERBS

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


def completed(*words: str) -> list[str]:
    """Return what bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    program = (
        f"{completion.script()}\nCOMP_WORDS=(./sealift {line}); COMP_CWORD={len(words)}; _sealift; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_every_verb_is_offered() -> None:
    assert set(completed("")) == {*VERBS, "help"}
    assert completed("dem") == ["demo"]


def test_the_verbs_of_a_verb_are_offered_and_nothing_for_one_that_has_none() -> None:
    assert set(completed("batch", "re")) == {"resend", "replay", "reindex"}
    assert completed("partner", "n") == ["new"]


def test_options_are_those_of_help() -> None:
    assert completed("doctor", "--st") == ["--stage"]
    assert completed("adf", "check", "--sar") == ["--sarif"]


def test_zsh_gets_the_same_by_its_own_bridge(capsys: pytest.CaptureFixture[str]) -> None:
    assert completion.main(["zsh"]) == 0
    assert capsys.readouterr().out.startswith("autoload -U +X compinit")
