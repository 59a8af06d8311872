"""The function's delivery on a real SSH server: one holder at a time, a journal that survives, and the partner's answer."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceModifiedError
from azure.storage.blob import BlobClient
from batch_world import DAY, NOW, START, World
from cedarway_world import sealed, send
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import batches
import function_app
from batches import delivering
from batches.delivering import _held, _journal_blob
from local.partner import self_signed
from local.sftp import PartnerSftp, SftpFaults
from partners import Partner, load_partner

KEY = rsa.generate_private_key(65537, 3072)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartnerSftp]:
    with PartnerSftp(tmp_path_factory.mktemp("cedarway")) as running:
        (running.root / "from-sealift" / "answers").mkdir(parents=True)
        running.add_key(KEY.public_key())
        yield running


@pytest.fixture
def cedarway(world: World, server: PartnerSftp) -> Iterator[dict[str, dict[str, object]]]:
    world.key_vault.allow("function-app", secrets=("cedarway-sftp-key", "cedarway-certificate"))
    pem = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    world.key_vault.set_secret("cedarway-sftp-key", base64.b64encode(pem).decode())
    world.key_vault.set_secret(
        "cedarway-certificate", self_signed(KEY, "Cedarway").public_bytes(serialization.Encoding.PEM).decode()
    )
    for path in server.root.rglob("*"):
        if path.is_file():
            path.unlink()
    yield {"cedarway": {"host": server.host, "port": server.port, "host_keys": [server.host_key_line]}}
    server.set_faults(None)


def delivered(server: PartnerSftp) -> list[str]:
    return sorted(path.name for path in (server.root / "from-sealift").iterdir() if path.is_file())


def partner(sftp: Any) -> list[Partner]:
    return [load_partner("cedarway", sftp)]


def test_delivery_is_asked_for_only_when_sealed(world: World, cedarway: Any) -> None:
    record = world.plan(partner="cedarway", feed="purchases", window_start=START.replace(hour=12))

    with pytest.raises(batches.NotDelivered):
        batches.request_delivery(world.context, record.batch)


def test_batch_of_the_other_route_is_refused(world: World) -> None:
    record = world.sealed()

    with pytest.raises(batches.InvalidRequest, match="adf"):
        batches.request_delivery(world.context, record.batch)


def test_worker_delivers_writes_the_receipt_and_purges(world: World, cedarway: Any, server: PartnerSftp) -> None:
    record = sealed(world)
    batches.request_delivery(world.at(run_id="run"), record.batch)
    assert world.status(record)["state"] == "delivering"

    send(world, record, cedarway)

    assert world.status(record)["state"] == "delivered"
    assert len(delivered(server)) == 5
    assert world.raw_versions() == []


def test_of_a_sealed_file_nothing_is_asked_before_it_is_read(
    world: World, cedarway: Any, server: PartnerSftp, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = sealed(world)
    name = f"{record.batch.folder}/{record.sealed_name(record.files[0])}"
    asked: list[str] = []
    for method in ("get_blob_properties", "download_blob"):
        original = getattr(BlobClient, method)

        def ask(self: BlobClient, *args: Any, _to: Any = original, _method: str = method, **more: Any) -> Any:
            if self.blob_name == name:
                asked.append(_method)
            return _to(self, *args, **more)

        monkeypatch.setattr(BlobClient, method, ask)

    send(world, record, cedarway)

    assert asked == ["download_blob"]
    assert record.sealed_name(record.files[0]) in delivered(server)


def test_sealed_file_that_is_replaced_after_the_look_is_not_sent(
    world: World, cedarway: Any, server: PartnerSftp, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = sealed(world)
    blob = world.stores.encrypted.get_blob_client(f"{record.batch.folder}/{record.sealed_name(record.files[0])}")
    look = delivering.remote_files

    def look_then_replace(*about: Any) -> Any:
        found = look(*about)
        content = bytearray(blob.download_blob().readall())
        content[-1] ^= 1
        blob.upload_blob(bytes(content), metadata=blob.get_blob_properties().metadata, overwrite=True)
        return found

    batches.request_delivery(world.context, record.batch)
    message = world.stores.deliver_queue.receive_message()
    assert message is not None
    monkeypatch.setattr(delivering, "remote_files", look_then_replace)
    with pytest.raises(ResourceModifiedError):
        batches.deliver_batch(world.at(sftp=cedarway), message.content)

    assert not {record.sealed_name(record.files[0]), f"{record.batch}.manifest.json"} & set(delivered(server))


def test_message_again_sends_nothing(world: World, cedarway: Any, server: PartnerSftp) -> None:
    record = sealed(world)
    send(world, record, cedarway)
    before = len(server.operations())

    send(world, record, cedarway)

    assert len(server.operations()) == before


def work(world: World, sftp: Any) -> int:
    """Work the message that the queue shows now, as the host does; return how many there were."""
    message = world.stores.deliver_queue.receive_message(visibility_timeout=600)
    if message is None:
        return 0
    batches.deliver_batch(world.at(sftp=sftp), message.content)
    world.stores.deliver_queue.delete_message(message)
    return 1


@pytest.fixture
def back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "PUT_BACK_SECONDS", 0)


@pytest.mark.usefixtures("back_at_once")
def test_message_waits_while_another_worker_holds_the_batch(world: World, cedarway: Any, server: PartnerSftp) -> None:
    record = sealed(world)
    batches.request_delivery(world.context, record.batch)

    with _held(_journal_blob(world.stores, record)) as lease:
        assert lease is not None
        assert work(world, cedarway) == 1
        assert delivered(server) == []

    # The holder died without a report: what was put back is all that is left of the delivery.
    assert work(world, cedarway) == 1
    assert world.status(record)["state"] == "delivered"
    assert work(world, cedarway) == 0


@pytest.mark.usefixtures("back_at_once")
def test_message_that_waited_tries_nothing_again_that_the_holder_gave_up(
    world: World, cedarway: Any, server: PartnerSftp
) -> None:
    record = sealed(world)
    batches.request_delivery(world.context, record.batch)
    with _held(_journal_blob(world.stores, record)):
        work(world, cedarway)
        batches.record_failure(world.context, record.batch, step="deliver", cause="no such user", hint="fix")

    assert work(world, cedarway) == 1

    assert delivered(server) == []
    assert world.status(record)["failure"]["cause"] == "no such user"
    assert work(world, cedarway) == 0


def test_lease_of_a_dead_worker_has_ended_when_its_message_comes_back(repository: Path) -> None:
    queues = json.loads((repository / "host.json").read_text())["extensions"]["queues"]
    hours, minutes, seconds = map(int, queues["visibilityTimeout"].split(":"))

    assert hours * 3600 + minutes * 60 + seconds > delivering.LEASE_SECONDS


@pytest.mark.parametrize("what", ["purge", "ledger.note"])
def test_worker_that_dies_after_the_receipt_is_completed_by_its_message(
    world: World, cedarway: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    record = sealed(world)

    def die(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(f"batches.confirming.{what}", die)
        with pytest.raises(SystemExit):
            send(world, record, cedarway)
    assert world.status(record)["state"] == "delivered"
    assert world.raw_versions()

    send(world, record, cedarway)

    assert world.raw_versions() == []
    assert [check for check in batches.verify(world.context, record.batch)["checks"] if not check["ok"]] == []


def test_receipt_says_when_the_files_arrived(world: World, cedarway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record = sealed(world)
    batches.request_delivery(world.context, record.batch)
    (message,) = world.stores.deliver_queue.receive_messages()
    clock = [NOW]
    really = delivering.deliver

    def two_hours(*args: Any, **more: Any) -> Any:
        clock[0] += timedelta(hours=2)
        return really(*args, **more)

    monkeypatch.setattr(delivering, "deliver", two_hours)

    batches.deliver_batch(replace(world.at(sftp=cedarway), clock=lambda: clock[0]), message.content)

    assert world.status(record)["receipt"]["delivered_at"] == (NOW + timedelta(hours=2)).isoformat()


def test_message_of_an_earlier_delivery_neither_delivers_nor_fails_the_next(
    world: World, cedarway: Any, server: PartnerSftp
) -> None:
    record = sealed(world)
    batches.request_delivery(world.context, record.batch)
    (message,) = world.stores.deliver_queue.receive_messages()
    send(world, record, cedarway)
    batches.resend(world.context, record.batch, reason="the inbox was lost", who="ops")
    before = len(server.operations())

    batches.deliver_batch(world.at(sftp=cedarway), message.content)
    batches.give_up_delivery(world.context, message.content)

    assert len(server.operations()) == before
    assert world.status(record)["state"] == "sealed"


def test_full_server_fails_the_batch_with_cause_and_fix(world: World, cedarway: Any, server: PartnerSftp) -> None:
    record = sealed(world)
    server.set_faults(SftpFaults(full_after_bytes=100))

    send(world, record, cedarway)

    failure = world.status(record)["failure"]
    assert failure["step"] == "deliver"
    assert failure["hint"]
    assert not [name for name in delivered(server) if name.endswith((".enc", "manifest.json"))]


def test_other_file_under_the_same_name_is_never_overwritten(world: World, cedarway: Any, server: PartnerSftp) -> None:
    record = sealed(world)
    (server.root / "from-sealift" / f"{record.files[0]}.enc").write_bytes(b"somebody else's")

    send(world, record, cedarway)

    assert world.status(record)["state"] == "failed"
    assert (server.root / "from-sealift" / f"{record.files[0]}.enc").read_bytes() == b"somebody else's"


def test_wrong_host_key_sees_no_login(world: World, cedarway: Any, server: PartnerSftp) -> None:
    record = sealed(world)
    logins = [entry for entry in server.operations() if entry["operation"] == "login"]

    send(world, record, {"cedarway": {"host": server.host, "port": server.port}})

    assert "host key" in world.status(record)["failure"]["cause"]
    assert [entry for entry in server.operations() if entry["operation"] == "login"] == logins


def answers(server: PartnerSftp) -> Path:
    return server.root / "from-sealift" / "answers"


def test_partner_that_says_nothing_is_asked_again(world: World, cedarway: Any, server: PartnerSftp) -> None:
    record = sealed(world)
    send(world, record, cedarway)

    assert batches.fetch_answers(world.context, partner(cedarway)) == []
    assert world.status(record)["state"] == "delivered"


def test_acknowledged_batch(world: World, cedarway: Any, server: PartnerSftp) -> None:
    record = sealed(world)
    send(world, record, cedarway)
    (answers(server) / f"{record.files[0]}.enc.ack").touch()

    (answer,) = batches.fetch_answers(world.context, partner(cedarway))

    assert answer.says == world.status(record)["state"] == "acknowledged"
    assert batches.fetch_answers(world.context, partner(cedarway)) == []


def test_rejected_batch_carries_the_partners_reason(world: World, cedarway: Any, server: PartnerSftp) -> None:
    record = sealed(world)
    send(world, record, cedarway)
    (answers(server) / f"{record.files[0]}.enc.ack").touch()
    (answers(server) / f"{record.files[0]}.enc.rejected").write_text("totals differ")

    batches.fetch_answers(world.context, partner(cedarway))

    assert world.status(record)["state"] == "rejected"
    assert "totals differ" in world.status(record)["answer"]["reason"]


def again(world: World, record: Any, sftp: Any, server: PartnerSftp) -> None:
    """Send a batch once more to a partner that has emptied its inbox."""
    batches.resend(world.context, record.batch, reason="the partner asked for it", who="ops")
    for path in (server.root / "from-sealift").iterdir():
        if path.is_file():
            path.unlink()
    send(world, record, sftp)


@pytest.mark.parametrize("seen", [True, False], ids=["seen before the re-send", "written but not seen"])
def test_answer_to_a_delivery_is_not_the_answer_to_the_next(
    world: World, cedarway: Any, server: PartnerSftp, seen: bool
) -> None:
    record = sealed(world)
    send(world, record, cedarway)
    rejected = answers(server) / f"{record.files[0]}.enc.rejected"
    rejected.write_text("the disk was full")
    os.utime(rejected, (NOW.timestamp() - 60, NOW.timestamp() - 60))
    if seen:
        batches.fetch_answers(world.context, partner(cedarway))
        assert world.status(record)["state"] == "rejected"

    again(world, record, cedarway, server)

    assert batches.fetch_answers(world.context, partner(cedarway)) == []
    assert world.status(record)["state"] == "delivered"
    (answers(server) / f"{record.files[0]}.enc.ack").touch()
    (answer,) = batches.fetch_answers(world.context, partner(cedarway))
    assert (answer.delivery, answer.says) == (2, "acknowledged")


def test_answer_by_a_clock_that_is_slow_is_taken_for_the_delivery_that_it_follows(
    world: World, cedarway: Any, server: PartnerSftp
) -> None:
    record = sealed(world)
    send(world, record, cedarway)
    slow = NOW.timestamp() - 6 * 3600
    for delivery, name in enumerate((f"{record.files[0]}.enc.rejected", f"{record.files[0]}.enc.ack")):
        (answers(server) / name).touch()
        os.utime(answers(server) / name, (slow + delivery, slow + delivery))
        assert len(batches.fetch_answers(world.context, partner(cedarway))) == 1
        again(world, record, cedarway, server)


def test_batch_that_was_delivered_long_after_its_date_is_asked_about(
    world: World, cedarway: Any, server: PartnerSftp
) -> None:
    record = sealed(world, day=-60)
    send(world, record, cedarway)
    (answers(server) / f"{record.files[0]}.enc.ack").touch()

    assert len(batches.fetch_answers(world.context, partner(cedarway))) == 1


def test_nobody_is_asked_about_a_batch_that_was_delivered_long_ago(
    world: World, cedarway: Any, server: PartnerSftp
) -> None:
    record = sealed(world)
    send(world, record, cedarway)
    (answers(server) / f"{record.files[0]}.enc.ack").touch()

    assert batches.fetch_answers(world.at(NOW + 15 * DAY), partner(cedarway)) == []


def test_answer_that_cannot_be_read_costs_no_other_batch_its_answer(
    world: World, cedarway: Any, server: PartnerSftp
) -> None:
    first, second, third = sealed(world), sealed(world, day=1), sealed(world, day=2)
    for record in (first, second, third):
        send(world, record, cedarway)
    folder = answers(server) / f"{first.files[0]}.enc.rejected"
    folder.mkdir()  # matches the pattern, and nobody can read it
    world.stores.batches.upload_blob(f"{second.batch.folder}/batch.json", b"{", overwrite=True)
    (answers(server) / f"{third.files[0]}.enc.ack").touch()

    try:
        (answer,) = batches.fetch_answers(world.context, partner(cedarway))
    finally:
        folder.rmdir()

    assert (answer.batch, answer.says) == (third.batch, "acknowledged")


def test_partner_whose_login_is_refused_is_asked_once_a_look(
    world: World, cedarway: Any, server: PartnerSftp, caplog: pytest.LogCaptureFixture
) -> None:
    for day in range(2):
        send(world, sealed(world, day), cedarway)
    world.key_vault.store.delete_secret("cedarway-sftp-key")

    assert batches.fetch_answers(world.context, partner(cedarway)) == []

    assert caplog.text.count("answer.not_reached") == 1


def test_folder_of_answers_that_is_gone_is_looked_for_once_a_look(
    world: World, cedarway: Any, server: PartnerSftp, caplog: pytest.LogCaptureFixture
) -> None:
    for day in range(2):
        send(world, sealed(world, day), cedarway)
    answers(server).rmdir()

    assert batches.fetch_answers(world.context, partner(cedarway)) == []

    assert caplog.text.count("answer.not_reached") == 1


def test_trouble_with_answers_silences_no_alert(
    world: World, cedarway: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(batches, "fetch_answers", fail)
    monkeypatch.setattr(batches, "open_stores", lambda: world.stores)
    monkeypatch.setattr(function_app, "_vault", lambda: world.vault)
    monkeypatch.setattr(function_app, "_now", lambda: START + DAY + timedelta(hours=7))

    with pytest.raises(RuntimeError):
        function_app.watch(None)

    assert "feed.alarming" in caplog.text


def test_partner_that_cannot_be_reached_is_asked_again(world: World, cedarway: Any, server: PartnerSftp) -> None:
    record = sealed(world)
    send(world, record, cedarway)
    server.stop()
    try:
        assert batches.fetch_answers(world.context, partner(cedarway)) == []
    finally:
        server.start()
    assert world.status(record)["state"] == "delivered"
