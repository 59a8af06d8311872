from __future__ import annotations

import base64
import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.storage.queue import QueueClient, QueueServiceClient
from service_support import Become, copy_sample_app, wait_for

from local.azurite import Azurite
from local.functions_host.host import FunctionHost
from local.key_vault.identity import IdentityEndpoint
from local.wire.certificates import CertificateAuthority
from local.wire.fault_proxy import FaultProxy
from local.wire.faults import Fault


class Scene:
    """A host with its queues and its journal."""

    def __init__(
        self, folder: Path, storage: Azurite, *, workers: int = 1, lease_seconds: int = 600, **host_json: Any
    ) -> None:
        self.journal_file = folder / "journal"
        self.journal_file.touch()
        self.connection = storage.connection_string("sealifthost")
        self.settings = {
            "AzureWebJobsStorage": self.connection,
            "JOURNAL": str(self.journal_file),
            "WORK_QUEUE": "work",
        }
        app = copy_sample_app(folder, **host_json)
        self.host = FunctionHost(
            app, self.settings, {"default": "k"}, folder=folder / "host", workers=workers, lease_seconds=lease_seconds
        )
        self.work = self.queue("work")
        self.work.create_queue()

    def queue(self, name: str) -> QueueClient:
        return QueueClient.from_connection_string(self.connection, name)

    def send(self, order: dict[str, Any] | str) -> None:
        text = order if isinstance(order, str) else json.dumps(order)
        self.work.send_message(base64.b64encode(text.encode()).decode())

    def journal(self, what: str) -> list[str]:
        lines = [line.split(" ", 2) for line in self.journal_file.read_text().splitlines()]
        return [text for _, kind, text in lines if kind == what]

    def workers(self) -> set[int]:
        return {int(line.split()[0]) for line in self.journal_file.read_text().splitlines()}

    def is_empty(self) -> bool:
        return not self.work.get_queue_properties().approximate_message_count


@pytest.fixture
def queues(azurite: Azurite) -> Azurite:
    """Storage in which no queue is left from the test before."""
    with QueueServiceClient.from_connection_string(azurite.connection_string("sealifthost")) as service:
        for queue in list(service.list_queues()):
            service.delete_queue(queue)
    return azurite


def test_message_runs_the_function_once_and_is_deleted(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues)
    scene.send({"n": 1})
    with scene.host:
        wait_for(lambda: len(scene.journal("done")) == 1)
        wait_for(scene.is_empty)

    assert scene.journal("work") == ['{"n": 1} try 1']


def test_failed_message_is_tried_again_and_then_succeeds(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues)
    scene.send({"fail": 2})
    with scene.host:
        wait_for(lambda: len(scene.journal("done")) == 1)

    assert scene.journal("work") == [f'{{"fail": 2}} try {number}' for number in (1, 2, 3)]


def test_message_that_always_fails_ends_in_the_poison_queue(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues)
    scene.send({"fail": 99})
    with scene.host:
        wait_for(lambda: scene.journal("poison") == ['{"fail": 99}'])
        wait_for(scene.is_empty)

    assert len(scene.journal("work")) == 3


def test_message_that_was_tried_too_often_is_poisoned_without_a_run(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues)
    scene.send({"n": 1})
    for _ in range(3):
        message = scene.work.receive_message(visibility_timeout=1)
        assert message is not None
        scene.work.update_message(message.id, message.pop_receipt, visibility_timeout=0)
    with scene.host:
        wait_for(lambda: len(scene.journal("poison")) == 1)

    assert scene.journal("work") == []


def test_message_that_is_not_base64_goes_to_the_poison_queue(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues)
    scene.work.send_message("{not base64}")
    with scene.host:
        wait_for(scene.is_empty)
        poison = scene.queue("work-poison")
        # It cannot be decoded there either, and a poison queue has no poison queue: it stays.
        wait_for(lambda: poison.get_queue_properties().approximate_message_count == 1)

    assert scene.journal("work") == []


def test_failed_message_waits_for_its_visibility_timeout(tmp_path: Path, queues: Azurite) -> None:
    queue_settings = {
        "batchSize": 1,
        "newBatchThreshold": 0,
        "visibilityTimeout": "00:00:02",
        "maxPollingInterval": "00:00:00.100",
    }
    scene = Scene(tmp_path, queues, extensions={"queues": queue_settings})
    scene.send({"fail": 1})
    with scene.host:
        wait_for(lambda: len(scene.journal("work")) == 1)
        first = time.monotonic()
        wait_for(lambda: len(scene.journal("done")) == 1)

    assert time.monotonic() - first > 1


def test_only_so_many_messages_run_at_once(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues)
    for number in range(3):
        scene.send({"n": number, "wait": 0.3})
    with scene.host:
        wait_for(lambda: len(scene.journal("done")) == 3)

    kinds = [line.split()[1] for line in scene.journal_file.read_text().splitlines()]
    assert kinds == ["work", "done"] * 3


def test_lease_is_renewed_while_a_message_runs(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues, lease_seconds=2)
    scene.send({"wait": 5})
    with scene.host:
        wait_for(lambda: len(scene.journal("done")) == 1)
        wait_for(scene.is_empty)

    assert len(scene.journal("work")) == 1


def test_message_of_a_timed_out_call_is_released_and_its_last_try_moved_to_poison(
    tmp_path: Path, queues: Azurite
) -> None:
    scene = Scene(tmp_path, queues, functionTimeout="00:00:01")
    scene.send({"wait": 30})
    with scene.host:
        wait_for(lambda: len(scene.journal("poison")) == 1, seconds=60)

    assert len(scene.journal("work")) == 3  # at once: the lease of 600 s does not count


def test_message_of_a_killed_worker_is_tried_again(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues)
    scene.send({"wait": 1})
    with scene.host:
        wait_for(lambda: len(scene.journal("work")) == 1)
        os.kill(scene.workers().pop(), 9)
        wait_for(lambda: len(scene.journal("done")) == 1)

    assert [text.rsplit(" ", 1)[1] for text in scene.journal("work")] == ["1", "2"]


def test_message_of_a_killed_host_is_taken_by_the_next_one(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues, lease_seconds=2)
    scene.send({"wait": 1})
    scene.host.start()
    wait_for(lambda: len(scene.journal("work")) == 1)
    scene.host.kill()
    with scene.host:
        wait_for(lambda: len(scene.journal("done")) == 1)
        wait_for(scene.is_empty)


def test_two_hosts_share_one_queue(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues)
    second = FunctionHost(scene.host.app_folder, scene.settings, folder=tmp_path / "second")
    with scene.host, second:
        for number in range(20):
            scene.send({"n": number, "wait": 0.2})
        wait_for(lambda: len(scene.journal("done")) == 20, seconds=60)
        wait_for(scene.is_empty)

    assert len(scene.journal("work")) == 20
    assert len(scene.workers()) == 2


def test_no_message_is_lost_when_workers_are_killed_at_any_moment(tmp_path: Path, queues: Azurite) -> None:
    """Two hosts on one queue, every message sent twice, workers killed with SIGKILL: each order is carried out."""
    settings = {"batchSize": 2, "newBatchThreshold": 1, "maxDequeueCount": 50, "maxPollingInterval": "00:00:00.100"}
    scene = Scene(tmp_path, queues, workers=2, extensions={"queues": settings})
    second = FunctionHost(scene.host.app_folder, scene.settings, folder=tmp_path / "second", workers=2)
    orders = [{"n": number, "wait": 0.2} for number in range(30)]
    chance = random.Random(20261121)
    for order in orders * 2:
        scene.send(order)
    with scene.host, second:
        for _ in range(15):
            time.sleep(chance.uniform(0.05, 0.3))  # not a wait for something: the moment of death is what varies
            pids = scene.host.worker_pids() + second.worker_pids()
            with suppress(ProcessLookupError):  # it is dead already, and its host has not noticed yet
                if pids:
                    os.kill(chance.choice(pids), signal.SIGKILL)
        wait_for(lambda: {json.dumps(order) for order in orders} <= set(scene.journal("done")), seconds=90)
        wait_for(scene.is_empty, seconds=60)

    assert scene.journal("poison") == []


def test_output_binding_sends_a_message_that_a_trigger_receives(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues)
    with scene.host as host:
        answer = requests.post(f"{host.url}/api/send?code=k", data=b"by way of HTTP", timeout=30)
        assert answer.status_code == 202
        wait_for(lambda: scene.journal("done") == ["by way of HTTP"])


def test_function_may_take_the_message_as_text(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues)
    texts = scene.queue("texts")
    with scene.host:
        texts.create_queue()  # only now: the host polls quietly until the queue is there
        texts.send_message(base64.b64encode("gr\u00fc\u00df".encode()).decode())
        wait_for(lambda: scene.journal("text") == ["gr\u00fc\u00df"])


def test_host_reads_queues_with_its_managed_identity(
    tmp_path: Path, secure_azurite: Azurite, authority: CertificateAuthority, identity: IdentityEndpoint, become: Become
) -> None:
    url = secure_azurite.queue_url("sealifthost")
    journal = tmp_path / "journal"
    settings = (
        authority.environment
        | identity.environment("function-app", "11111111-2222-4333-8444-555555555555")
        | {
            "AzureWebJobsStorage__queueServiceUri": url,
            "AzureWebJobsStorage__credential": "managedidentity",
            "AzureWebJobsStorage__clientId": "11111111-2222-4333-8444-555555555555",
            "JOURNAL": str(journal),
            "WORK_QUEUE": "identity-work",
        }
    )
    with QueueServiceClient(url, become("operator")) as service:
        service.create_queue("identity-work").send_message(base64.b64encode(b"hello").decode())
        with FunctionHost(copy_sample_app(tmp_path), settings, folder=tmp_path / "host"):
            wait_for(lambda: journal.exists() and "done hello" in journal.read_text())


def test_host_that_a_queue_refuses_is_replaced_and_nothing_is_lost_or_done_twice(
    tmp_path: Path, queues: Azurite
) -> None:
    scene = Scene(tmp_path, queues)
    with FaultProxy(queues.queue_url("sealifthost").rpartition("/")[0]) as proxy:
        scene.host.environment["AzureWebJobsStorage"] = proxy.before(scene.connection)
        with scene.host:
            for number in range(4):
                scene.send({"n": number})
            wait_for(lambda: len(scene.journal("done")) == 4)
            proxy.faults.add(Fault(path=f"*/{scene.work.queue_name}/messages", status=403, times=None))
            wait_for(lambda: scene.host.restarts >= 2, seconds=60)
            for number in range(4, 8):
                scene.send({"n": number})
            proxy.faults.clear()
            wait_for(lambda: len(scene.journal("done")) == 8, seconds=60)
            wait_for(scene.is_empty)

    assert '"message": "Host ends"' in scene.host.log.read_text()
    assert sorted(scene.journal("work")) == [f'{{"n": {number}}} try 1' for number in range(8)]


def test_host_that_does_not_start_again_is_tried_again(tmp_path: Path, queues: Azurite) -> None:
    scene = Scene(tmp_path, queues)
    host_json = scene.host.app_folder / "host.json"
    whole = host_json.read_text()
    with FaultProxy(queues.queue_url("sealifthost").rpartition("/")[0]) as proxy:
        scene.host.environment["AzureWebJobsStorage"] = proxy.before(scene.connection)
        with scene.host:
            host_json.write_text("{")
            proxy.faults.add(Fault(path=f"*/{scene.work.queue_name}/messages", status=403, times=None))
            wait_for(lambda: "is not JSON" in scene.host.log.read_text(), seconds=60)
            proxy.faults.clear()
            host_json.write_text(whole)
            scene.send({"n": 1})
            wait_for(lambda: len(scene.journal("done")) == 1, seconds=60)


def test_host_is_replaced_when_storage_stays_unreachable(tmp_path: Path) -> None:
    storage = Azurite(tmp_path / "azurite", accounts=["sealifthost"]).start()
    try:
        scene = Scene(tmp_path, storage)
        with scene.host:
            storage.stop()
            wait_for(lambda: "Host ends" in scene.host.log.read_text(), seconds=90)
            storage.start()
            scene.send({"n": 1})
            wait_for(lambda: len(scene.journal("done")) == 1, seconds=90)
    finally:
        storage.stop()
