"""A worker is killed at random moments; the next one goes on, and nothing arrives twice or in part."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from delivery_servers import AsyncSsh, OpenSsh, policy_for
from delivery_worker import work

from delivery import ConnectionSettings, Policy

Server = OpenSsh | AsyncSsh
Files = tuple[Path, dict[str, str]]
KILLS = [pytest.param(10, id="10 kills"), pytest.param(50, id="50 kills", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("sources")
    chance = random.Random(6)
    for number in range(120):
        (folder / f"small-{number:03d}").write_bytes(chance.randbytes(chance.randrange(60_000)))
    for name in ("big-1", "big-2"):
        (folder / name).write_bytes(chance.randbytes(40 << 20))
    return folder, {path.name: digest(path) for path in folder.iterdir()}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kill_again_and_again(
    kills: int,
    settings: ConnectionSettings,
    policy: Policy,
    files: Files,
    journal: Path | None,
    check_and_clear: Callable[[], None],
) -> None:
    """Kill `kills` workers in the middle of their work; whenever one finishes, check what arrived and begin anew."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["delivery_worker"])
    chance = random.Random(kills)
    while True:
        worker = context.Process(target=work, args=(settings, policy, *files, journal))
        worker.start()
        worker.join(chance.uniform(0.05, 0.6) if kills else 120)
        worker.kill()
        worker.join()
        if worker.exitcode == 0:
            check_and_clear()
            if not kills:
                return
            if journal is not None:
                journal.unlink()
        else:
            assert worker.exitcode == -9
            kills -= 1


def check_folder(server: Server, files: Files) -> Callable[[], None]:
    def check() -> None:
        arrived = {path.name: digest(path) for path in server.files.iterdir()}
        assert arrived.pop("manifest.json")
        assert arrived == files[1]
        for path in server.files.iterdir():
            path.unlink()

    return check


@pytest.mark.parametrize("kills", KILLS)
def test_killed_at_random_moments_everything_arrives_once(
    kills: int, server: Server, policy: Policy, files: Files, tmp_path: Path
) -> None:
    check = check_folder(server, files)

    kill_again_and_again(kills, server.settings(), policy, files, tmp_path / "journal", check)


@pytest.mark.parametrize("kills", KILLS)
def test_killed_without_a_journal_everything_arrives_once(kills: int, server: Server, files: Files) -> None:
    policy = policy_for(server, connections=2, split_bytes=20 << 20)

    kill_again_and_again(kills, server.settings(), policy, files, None, check_folder(server, files))


@pytest.mark.parametrize("kills", KILLS)
def test_killed_beside_a_sweeper_nothing_is_delivered_twice(
    kills: int, asyncssh_server: AsyncSsh, files: Files, tmp_path: Path
) -> None:
    # The partner takes each file at once: only the journal shows that it had arrived.
    asyncssh_server.faults.sweep = True
    policy = policy_for(asyncssh_server, confirm=False, depth=8)

    def check() -> None:
        taken = list(asyncssh_server.swept.iterdir())
        names = [path.name.split("-", 1)[1] for path in taken]
        assert sorted(names) == sorted([*files[1], "manifest.json"])
        for path, name in zip(taken, names, strict=True):
            assert name == "manifest.json" or digest(path) == files[1][name]
            path.unlink()
        assert list(asyncssh_server.files.iterdir()) == []

    kill_again_and_again(kills, asyncssh_server.settings(), policy, files, tmp_path / "journal", check)
