"""The census finds a planted canary wherever it is planted, and plaintext that is too old; and nothing where nothing is."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from cli.census import NOT_OURS, Canary, CensusImpossible, Item, census, main
from local.azurite import Azurite

CANARY = "M-CANARY-0badcafe"
Plant = Callable[[BlobServiceClient, QueueServiceClient, Path], object]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Azurite(tmp_path_factory.mktemp("census"), accounts=["census"], in_memory=True) as storage:
        yield storage.connection_string("census")


@pytest.fixture
def services(account: str) -> Iterator[tuple[BlobServiceClient, QueueServiceClient]]:
    blobs, queues = (
        BlobServiceClient.from_connection_string(account),
        QueueServiceClient.from_connection_string(account),
    )
    with blobs, queues:
        blobs.create_container("raw")
        blobs.create_container("encrypted")
        queues.create_queue("seal")
        yield blobs, queues
        for container in blobs.list_containers():
            blobs.delete_container(container)
        for queue in queues.list_queues():
            queues.delete_queue(queue)


def look(account: str, folder: Path, text: str | None = CANARY, hours: float = 24) -> list[Item]:
    now = datetime.now(UTC)
    return list(census([account], [folder], Canary(text), older_than=timedelta(hours=hours), now=now, skipped=NOT_OURS))


def put_snapshot(blobs: BlobServiceClient) -> None:
    blob = blobs.get_blob_client("encrypted", "a")
    blob.upload_blob(CANARY)
    blob.create_snapshot()
    blob.upload_blob("clean", overwrite=True)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "plant",
    [
        lambda blobs, _q, _f: blobs.get_blob_client("raw", "a/b.txt").upload_blob(f"x{CANARY}x"),
        lambda blobs, _q, _f: blobs.get_blob_client("encrypted", f"a/{CANARY}").upload_blob("x"),
        lambda blobs, _q, _f: blobs.get_blob_client("encrypted", "a").upload_blob("x", metadata={"member": CANARY}),
        lambda blobs, _q, _f: put_snapshot(blobs),
        lambda blobs, _q, _f: blobs.create_container(uuid.uuid4().hex).upload_blob("a", CANARY),
        lambda _b, queues, _f: queues.get_queue_client("seal").send_message(base64.b64encode(f"12{CANARY}".encode()).decode()),
        lambda _b, queues, _f: queues.get_queue_client("seal").send_message(CANARY),
        lambda _b, _q, folder: write(folder / "function" / "host.log", f'{{"row": "{CANARY}"}}'.encode()),
        lambda _b, _q, folder: write(folder / "sftp" / "inbox" / "a.txt", b"-" * (2**20 - 5) + CANARY.encode()),
        lambda _b, _q, folder: write(folder / "logs" / "w.log", CANARY.encode("utf-16-le")),
        lambda _b, _q, folder: write(folder / "logs" / "h.log", CANARY.encode().hex().encode()),
        lambda _b, _q, folder: write(folder / "sftp" / CANARY / "x", b""),
    ],
    ids=["raw", "name", "metadata", "snapshot", "unknown container", "queue base64", "queue", "log", "inbox across chunks",
         "utf-16", "hex", "folder name"],
)  # fmt: skip
def test_planted_canary_is_found(
    account: str, services: tuple[BlobServiceClient, QueueServiceClient], tmp_path: Path, plant: Plant
) -> None:
    assert [item for item in look(account, tmp_path) if item.finding] == []

    plant(*services, tmp_path)

    assert sum(1 for item in look(account, tmp_path) if item.finding) == 1
    assert [item for item in look(account, tmp_path, "another text") if item.finding] == []


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("after", range(3))
def test_canary_is_found_in_base64_wherever_it_stands(before: int, after: int) -> None:
    text = base64.b64encode(b"r" * before + CANARY.encode() + b"s" * after)

    assert Canary(CANARY).is_in([text])


def test_old_plaintext_is_found_without_a_canary(
    account: str, services: tuple[BlobServiceClient, QueueServiceClient], tmp_path: Path
) -> None:
    services[0].get_blob_client("raw", "old.txt").upload_blob("x")
    services[0].get_blob_client("encrypted", "old.sealed").upload_blob("x")

    assert [item.name for item in look(account, tmp_path, None, hours=-1) if item.finding] == ["old.txt"]
    assert [item for item in look(account, tmp_path, None) if item.finding] == []


def test_what_the_partner_and_the_source_hold_is_not_looked_at(account: str, tmp_path: Path) -> None:
    for place in ("partner/opened", "postgres", "azurite"):
        write(tmp_path / place / "x", CANARY.encode())

    assert look(account, tmp_path) == []


def test_a_folder_that_somebody_names_is_looked_at_whole(account: str, tmp_path: Path) -> None:
    write(tmp_path / "postgres" / "x", CANARY.encode())

    assert main([CANARY, "--folder", str(tmp_path)]) == 1


@pytest.mark.parametrize("place", ["nowhere", "file.txt", "closed"])
def test_a_place_that_cannot_be_looked_at_is_no_all_clear(tmp_path: Path, place: str) -> None:
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "closed").mkdir(mode=0)
    if place == "closed" and os.access(tmp_path / "closed", os.R_OK):
        pytest.skip("root may read everything")

    with pytest.raises(CensusImpossible, match=f"{place} cannot be looked at"):
        main([CANARY, "--folder", str(tmp_path / place)])


def test_census_lists_what_it_looked_at_and_ends_red_when_it_found(
    account: str, services: tuple[BlobServiceClient, QueueServiceClient], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    services[0].get_blob_client("encrypted", "a.sealed").upload_blob("x")
    arguments = [CANARY, "--account", account, "--folder", str(tmp_path), "--json", str(tmp_path / "items.json")]

    assert main(arguments) == 0
    clean = capsys.readouterr().out
    services[0].get_blob_client("raw", "a.txt").upload_blob(CANARY)
    assert main(arguments) == 1

    assert "container encrypted" in clean
    assert "queue seal" in clean
    assert "Not looked at" in clean
    found = capsys.readouterr().out
    assert "x container raw: a.txt: the canary" in found
    assert "FOUND: 1 of " in found
    assert {item["place"] for item in json.loads((tmp_path / "items.json").read_text())} >= {"container raw"}
