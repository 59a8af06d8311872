"""What every opener does beside opening: order of batches, bounded reads, all files or none, exit codes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from test_openers import BATCH, KEYS, KIT, VECTORS, java_classes, opener, unpack

__all__ = ["java_classes", "opener"]
HASH = "d09c503a5443a759561cbcc372bbae1c84cfce835d4e96d9073e967fdd505650"  # what the vectors' manifest names before it
Open = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=["python", "node", "java", "open-detached.sh", "open-cms.sh"])
def open_(request: pytest.FixtureRequest) -> Open:
    """open_(inbox, out, *options) runs one opener; `open_.vector` is a batch that it opens."""
    if str(request.param).startswith("open-"):
        command = ["sh", str(KIT / request.param)]

        def run(inbox: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
            manifest = next(inbox.glob("*manifest.json"), inbox / f"{BATCH}.manifest.json")
            given = [str(manifest), str(KEYS / "partner.key.pem"), str(KEYS / "sender.pub.pem"), str(out)]
            return subprocess.run([*command, *given, *more], capture_output=True, text=True, timeout=60)

        run.vector = f"{request.param[5:-3]}_size_1"  # type: ignore[attr-defined]
        return run
    names = {"python": [sys.executable, str(KIT / "open.py")], "node": ["node", str(KIT / "open.mjs")]}
    if request.param == "node" and not shutil.which("node"):
        pytest.skip("node is not installed")
    program = names.get(request.param) or ["java", "-cp", str(request.getfixturevalue("java_classes")), "Open"]

    def run_opener(inbox: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
        given = ["--key", str(KEYS / "partner.key.pem"), "--sender", str(KEYS / "sender.pub.pem"), "--out", str(out)]
        return subprocess.run([*program, str(inbox), *given, *more], capture_output=True, text=True, timeout=60)

    run_opener.vector = "native_size_1"  # type: ignore[attr-defined]
    return run_opener


def inbox_of(open_: Open, folder: Path) -> Path:
    return unpack(open_.vector, folder)  # type: ignore[attr-defined]


def digest_of(inbox: Path) -> str:
    return hashlib.sha256((inbox / f"{BATCH}.manifest.json").read_bytes()).hexdigest()


def renumbered(inbox: Path, sequence: int, previous: str | None) -> Path:
    """The same batch with another number, signed anew."""
    path = inbox / f"{BATCH}.manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_bytes()) | {
        "sequence": sequence,
        "previous_manifest_sha256": previous,
    }
    return signed(inbox, json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode())


def signed(inbox: Path, manifest: bytes) -> Path:
    key = serialization.load_pem_private_key((KEYS / "sender.key.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    (inbox / f"{BATCH}.manifest.json").write_bytes(manifest)
    (inbox / f"{BATCH}.manifest.json.sig").write_bytes(key.sign(manifest, pss, hashes.SHA256()))
    return inbox


def test_sequence_and_both_hashes_are_printed(open_: Open, tmp_path: Path) -> None:
    inbox = inbox_of(open_, tmp_path / "in")

    done = open_(inbox, tmp_path / "out")

    assert done.stdout.splitlines()[0] == f"batch {BATCH}: sequence 42, manifest {digest_of(inbox)}, previous {HASH}"
    assert done.returncode == 0


def test_a_batch_of_another_feed_is_refused(open_: Open, tmp_path: Path) -> None:
    inbox = inbox_of(open_, tmp_path / "in")

    assert open_(inbox, tmp_path / "good", "--feed", "northwind.accruals").returncode == 0
    done = open_(inbox, tmp_path / "out", "--feed", "northwind.returns")

    assert done.stderr == "error: feed: this is a batch of northwind.accruals, not of northwind.returns\n"
    assert done.returncode == 1
    assert not (tmp_path / "out").exists()


def test_the_first_batch_is_remembered_and_refused_when_it_comes_again(open_: Open, tmp_path: Path) -> None:
    inbox, state = inbox_of(open_, tmp_path / "in"), tmp_path / "state"

    first = open_(inbox, tmp_path / "out", "--state", str(state))
    again = open_(inbox, tmp_path / "again", "--state", str(state))

    assert "note: no batch of northwind.accruals was opened with this state before" in first.stdout
    assert (first.returncode, again.returncode) == (0, 1)
    assert again.stderr == "error: sequence: sequence 42 was opened before\n"
    assert state.read_text() == f"northwind.accruals 42 {digest_of(inbox)}\n"
    assert not (tmp_path / "again").exists()
    assert not (tmp_path / "state.part").exists()


@pytest.mark.parametrize(
    ("last", "last_hash", "text"),
    [
        (40, HASH, "sequence 42 follows 40: 1 before it were skipped"),
        (43, HASH, "sequence 42 is older than 43, the last that was opened"),
        (42, HASH, "sequence 42 was opened before, from another manifest"),
        (41, "0" * 64, "sequence 42 names another manifest before it than the one that was opened"),
    ],
)
def test_a_batch_out_of_order_is_refused_unless_a_person_accepts_it(
    open_: Open, last: int, last_hash: str, text: str, tmp_path: Path
) -> None:
    inbox, state = inbox_of(open_, tmp_path / "in"), tmp_path / "state"
    before = f"northwind.accruals {last} {last_hash}\nnorthwind.returns 7 {HASH}\n"
    state.write_text(before)

    refused = open_(inbox, tmp_path / "out", "--state", str(state))
    assert (refused.stderr, refused.returncode) == (f"error: sequence: {text}\n", 1)
    assert state.read_text() == before
    accepted = open_(inbox, tmp_path / "out", "--state", str(state), "--accept-sequence")

    assert f"note: {text}\n" in accepted.stdout
    assert accepted.returncode == 0
    newest = f"northwind.accruals 42 {digest_of(inbox)}\n" if last < 42 else before.splitlines(keepends=True)[0]
    assert state.read_text() == newest + before.splitlines(keepends=True)[1]


@pytest.mark.parametrize("previous", [None, HASH])
def test_the_next_batch_is_opened_and_remembered(open_: Open, previous: str | None, tmp_path: Path) -> None:
    """A manifest that names none before it was sealed when there was none: only its number can be compared."""
    inbox, state = renumbered(inbox_of(open_, tmp_path / "in"), 8, previous), tmp_path / "state"
    state.write_text(f"northwind.accruals 7 {HASH}\n")

    done = open_(inbox, tmp_path / "out", "--state", str(state))

    assert (done.stderr, done.returncode) == ("", 0)
    assert state.read_text() == f"northwind.accruals 8 {digest_of(inbox)}\n"


@pytest.mark.parametrize("content", ["nonsense\n", f"northwind.accruals 042 {HASH}\n", "x" * 2_000_000])
def test_a_file_that_is_no_state_is_refused_and_kept(open_: Open, content: str, tmp_path: Path) -> None:
    inbox, state = inbox_of(open_, tmp_path / "in"), tmp_path / "state"
    state.write_text(content)

    done = open_(inbox, tmp_path / "out", "--state", str(state))

    assert done.stderr.startswith(f"error: usage: {state}")
    assert done.returncode == 2
    assert state.read_text() == content
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in", "state"]


def test_two_runs_never_use_one_state_at_once(open_: Open, tmp_path: Path) -> None:
    inbox, state = inbox_of(open_, tmp_path / "in"), tmp_path / "state"
    (tmp_path / "state.part").touch()

    done = open_(inbox, tmp_path / "out", "--state", str(state))

    assert "another run works with this state" in done.stderr
    assert done.returncode == 2
    assert (tmp_path / "state.part").exists()


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.sig", "keys.json"])
@pytest.mark.parametrize("what", ["endless", "pipe", "too long"])
def test_a_small_file_without_an_end_is_refused_at_once(open_: Open, name: str, what: str, tmp_path: Path) -> None:
    inbox = inbox_of(open_, tmp_path / "in")
    path = inbox / f"{BATCH}.{name}"
    path.unlink()
    if what == "endless":
        path.symlink_to("/dev/zero")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(40 << 20)

    done = open_(inbox, tmp_path / "out")

    wanted = (
        "keys" if name == "keys.json" and what == "too long" else "signature" if what == "too long" else "incomplete"
    )
    assert done.stderr.startswith(f"error: {wanted}: ")
    assert done.returncode == 1
    assert not (tmp_path / "out").exists()


def test_a_signature_with_more_behind_it_is_refused(open_: Open, tmp_path: Path) -> None:
    inbox = inbox_of(open_, tmp_path / "in")
    with (inbox / f"{BATCH}.manifest.json.sig").open("ab") as file:
        file.write(bytes(500))

    done = open_(inbox, tmp_path / "out")

    assert done.stderr == "error: signature: the manifest was not signed by this sender, or was changed\n"
    assert done.returncode == 1


def test_plain_names_of_a_batch_alone_in_its_folder_are_taken(open_: Open, tmp_path: Path) -> None:
    inbox = inbox_of(open_, tmp_path / "in")
    for name in ("manifest.json", "manifest.json.sig", "keys.json"):
        (inbox / f"{BATCH}.{name}").rename(inbox / name)

    done = open_(inbox, tmp_path / "out")

    assert (done.stderr, done.returncode) == ("", 0)


def test_of_a_refused_batch_no_file_stays(open_: Open, tmp_path: Path) -> None:
    """The second file of the batch opens under no key: the first one, which does, is not left either."""
    name = str(open_.vector).removesuffix("_size_1")  # type: ignore[attr-defined]
    if name != "native":
        pytest.skip("the vectors have no such batch of this format; the code is the same for both scripts")
    inbox = unpack("batch_of_three_formats", tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c.csv").write_text("in the way")

    done = open_(inbox, tmp_path / "out")

    assert done.returncode == 2
    assert [each.read_text() for each in (tmp_path / "out").iterdir()] == ["in the way"]


def test_a_fault_of_this_machine_is_not_the_batch_s(open_: Open, tmp_path: Path) -> None:
    inbox = inbox_of(open_, tmp_path / "in")
    (tmp_path / "out").write_text("a file, not a folder")

    done = open_(inbox, tmp_path / "out")

    assert "error: io: " in done.stderr
    assert done.returncode == 3


def test_many_other_files_are_one_line(open_: Open, tmp_path: Path) -> None:
    if not str(open_.vector).startswith("native"):  # type: ignore[attr-defined]
        pytest.skip("the shell openers do not look at other files")
    inbox = inbox_of(open_, tmp_path / "in")
    for number in range(120):
        (inbox / f"old-{number}.sealed").touch()

    done = open_(inbox, tmp_path / "out")

    assert done.stdout.splitlines()[1:] == [
        "opened a.csv (1 bytes)",
        "note: 120 other files are in the folder and were not touched",
    ]


def test_the_batch_of_these_tests_names_the_one_before_it() -> None:
    files = json.loads((VECTORS / "native_size_1.json").read_bytes())["files"]

    assert json.loads(base64.b64decode(files[f"{BATCH}.manifest.json"]))["previous_manifest_sha256"] == HASH
