"""`./sealift` itself: where it may be called from, what it says of a wrong path, and services that somebody left up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.demo import main as demo
from local.kept import AlreadyKept, keeping, kept_services
from local.stack import Connection

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ROOT / "sealift"


def call(folder: Path, *arguments: str, command: Path = COMMAND) -> subprocess.CompletedProcess[str]:
    return subprocess.run([command, *arguments], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def connection(folder: Path, owner: int) -> Connection:
    return Connection(
        environment={},
        operator={},
        global_parameters={},
        linked_services={},
        function_url="",
        function_key="",
        accounts=[],
        folder=str(folder),
        owner=owner,
    )


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("local.kept.KEPT", tmp_path / "kept.json")
    return tmp_path / "kept.json"


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_paths_are_those_of_the_caller(tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text('{"cases": []}')
    (tmp_path / "scope.json").write_text('{"parameters": {"day": "2026-11-21"}}')

    told = call(tmp_path, "adf", "eval", "@pipeline().parameters.day", "--scope", "scope.json")

    assert "2026-11-21" in told.stdout
    assert told.returncode == 0


def test_it_may_be_called_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sealift").symlink_to(COMMAND)
    (tmp_path / "link").symlink_to("bin/sealift")

    told = call(tmp_path, "help", command=tmp_path / "link")

    assert told.stdout.startswith("usage: ./sealift VERB")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bin", "link"]


def test_a_path_that_cannot_be_used_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1\n")

    told = call(tmp_path, "partner", "kit", "nobody", "--out", "data.csv")
    seal = call(tmp_path, "run", "nightly", "--json", "no/such/folder.json")

    assert "hint: " in told.stderr
    assert seal.stderr == (
        "error: no/such/folder.json: No such file or directory\nhint: check the path and its permissions\n"
    )
    assert seal.returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [("census", "--account", "https://no.such.invalid"), ("dbt", "runs", "--artifacts", "https://no.such.invalid/dbt")],
)
def test_who_is_not_logged_in_is_told_so_at_once(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    # On a machine of Azure there may be an identity of its own: nobody is asked but these variables, which are not set.
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential"}
    command = [sys.executable, "-m", "cli", *arguments]

    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    assert told.stderr.startswith("error: Azure does not know who you are\nhint: ")
    assert told.returncode == 1


def test_a_reader_that_leaves_is_no_fault(tmp_path: Path) -> None:
    told = subprocess.run(
        f"'{COMMAND}' partner schema | true", shell=True, cwd=tmp_path, capture_output=True, text=True
    )

    assert told.stderr == ""


def test_services_are_found_while_their_owner_lives(file: Path, tmp_path: Path) -> None:
    with keeping(connection(tmp_path, os.getpid())):
        found = kept_services()
        assert found is not None
        assert found.folder == str(tmp_path)
        with pytest.raises(AlreadyKept), keeping(connection(tmp_path, os.getpid())):
            pass
        assert kept_services() is not None

    assert kept_services() is None
    assert not file.exists()


@pytest.mark.parametrize("left", ["owner is dead", "folder is gone", "cut", "of another version"])
def test_what_a_killed_owner_left_is_removed(file: Path, tmp_path: Path, left: str) -> None:
    connection(
        tmp_path / "gone" if left == "folder is gone" else tmp_path,
        dead_process() if left == "owner is dead" else os.getpid(),
    ).write(file)
    if left == "cut":
        file.write_text(file.read_text()[:50])
    if left == "of another version":
        file.write_text(json.dumps({"folder": str(tmp_path)}))

    assert kept_services() is None
    assert not file.exists()


def test_a_mistyped_verb_is_answered_with_the_nearest(tmp_path: Path) -> None:
    told = call(tmp_path, "partnr", "lint")

    assert told.returncode == 2
    assert "did you mean partner?" in told.stderr


def test_help_of_a_verb_is_that_verbs_own(tmp_path: Path) -> None:
    told = call(tmp_path, "help", "seal")

    assert told.returncode == 0
    assert told.stdout.startswith("usage: sealift seal")


@pytest.mark.parametrize("rows", ["x", "0", "-1", "100000001", "9" * 5000])
def test_a_wrong_number_of_rows_is_refused_in_words(rows: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        demo(["--rows", rows])

    assert "is not a number from 1 to 100,000,000" in capsys.readouterr().err
