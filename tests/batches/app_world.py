"""function_app.py on the local host, on storage of its own, with queue settings that a test can wait for."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient, TextBase64EncodePolicy
from jsonschema import Draft202012Validator

import batches
from batches import Record, Stores
from batches import record as records
from local.azurite import Azurite
from local.functions_host.host import FunctionHost
from local.stack import CONTAINERS, HOST, QUEUES, ROOT

DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())
QUICK = {"visibilityTimeout": "00:00:00", "maxPollingInterval": "00:00:01"}


def check_answer(method: str, path: str, answer: requests.Response) -> None:
    """Hold an answer against the document: its status must be named there, and its body must follow the schema."""
    parts = path.partition("?")[0].split("/")
    for template, operations in DOCUMENT["paths"].items():
        wanted = template.strip("/").split("/")
        if len(wanted) == len(parts) and all(w == p or w.startswith("{") for w, p in zip(wanted, parts, strict=True)):
            responses = operations[method.lower()]["responses"]
            assert str(answer.status_code) in responses, (
                f"{method} {template} answers {answer.status_code}: {answer.text}"
            )
            response = responses[str(answer.status_code)]
            assert "headers" not in response or "Location" in answer.headers
            if "content" in response:
                assert answer.headers["Content-Type"].partition(";")[0] == "application/json"
                schema = {**response["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}
                Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answer.json())
            return
    raise AssertionError(f"the document knows no {method} {path}")


def app_folder(folder: Path, **queues: object) -> Path:
    """Return the app as it is, but for a host.json whose retries come at once, and what else a test asks for."""
    folder.mkdir()
    for name in ("function_app.py", "batches", "encryption", "partners", "delivery", "fault.py", "monitor"):
        (folder / name).symlink_to(ROOT / name)
    settings = json.loads((ROOT / "host.json").read_text())
    settings["extensions"]["queues"] |= {**QUICK, **queues}
    (folder / "host.json").write_text(json.dumps(settings))
    return folder


def app_settings(azurite: Azurite, vault_url: str, **storage: str) -> dict[str, str]:
    """Return the app's settings; `storage` replaces connection strings, such as RawStorage."""
    accounts = {"AzureWebJobsStorage": HOST, "RawStorage": "sealiftraw", "EncryptedStorage": "sealiftencrypted"}
    connections = {name: azurite.connection_string(account) for name, account in accounts.items()}
    partners = {"PARTNER_SFTP": "{}", "PARTNERS_FOLDER": os.environ["PARTNERS_FOLDER"]}
    return {**connections, **storage, **partners, "KEY_VAULT_URL": vault_url}


@dataclass
class App:
    """One running app, seen from outside, and the storage under it."""

    host: FunctionHost
    stores: Stores
    session: requests.Session = field(default_factory=requests.Session)
    patient: bool = False

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """Call an endpoint and hold what it answers against docs/openapi.json."""
        headers = {"x-functions-key": self.host.key, **more.pop("headers", {})}
        more.setdefault("timeout", 60)
        while True:
            answer = self.session.request(method, f"{self.host.url}/api/{path}", headers=headers, **more)
            # The host's own answer when the worker died under the call: empty. Data Factory asks again, too.
            if not (self.patient and answer.status_code == 500 and not answer.content):
                break
        check_answer(method, path, answer)
        return answer

    def ok(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        answer = self.call(method, path, **more)
        assert answer.status_code < 300, answer.text
        body: dict[str, Any] = answer.json()
        return body

    @property
    def context(self) -> batches.Context:
        """Return a context that reads this app's storage; it has no vault."""
        return batches.Context(stores=self.stores, vault=None, clock=lambda: datetime.now(UTC))  # type: ignore[arg-type]

    def plan(self, day: date) -> dict[str, Any]:
        window = {"windowStart": f"{day}T00:00:00Z", "windowEnd": f"{day + timedelta(days=1)}T00:00:00Z"}
        return self.ok("POST", "batches", json={"partner": "northwind", "feed": "accruals", **window})

    def plan_many(self, day: date, files: int) -> Record:
        """Return a batch of many files: a partner file names one, the steps after Plan know no such limit."""
        plan = self.plan(day)
        batch = batches.BatchId.parse(plan["batch"])
        names = [f"NW_{day:%Y%m%d}_{number:05d}.txt" for number in range(files)]
        return records.update(self.stores.batches, batch, lambda record: record.model_copy(update={"files": names}))

    def stage(self, record: Record, data: Callable[[str], bytes]) -> None:
        for name in record.files:
            self.stores.raw.upload_blob(f"{record.batch.folder}/{name}", data(name), overwrite=True)

    def state(self, batch: str) -> str:
        return str(self.ok("GET", f"batches/{batch}")["state"])

    def wait(self, batch: str, *states: str, seconds: float = 60, pause_seconds: float = 0.1) -> str:
        deadline = time.monotonic() + seconds
        while (state := self.state(batch)) not in states:
            assert time.monotonic() < deadline, f"{batch} is still {state}"
            time.sleep(pause_seconds)  # between two looks, not for a time
        return state

    def send(self, batch: str, run: str) -> dict[str, Any]:
        """Do what a run of Data Factory does about a sealed batch, but for the Copy; return the request that confirms."""
        todo = self.ok("POST", f"batches/{batch}/sending", json={"found": [], "runId": run})
        found: list[dict[str, str]] = []
        reports = []
        for name in filter(None, (todo["files"], todo["last"])):
            copied = self.stores.encrypted.download_blob(f"{todo['folder']}/send/{name}").readall().decode().split()
            found += [{"name": each, "type": "File"} for each in copied]
            reports.append({"list": name, "files": len(copied), "found": list(found), "runId": run})
        for report in reports[:-1]:
            self.ok("POST", f"batches/{batch}/sent", json=report)
        return reports[-1]

    def log(self) -> str:
        return self.host.log.read_text()

    def events(self) -> list[dict[str, Any]]:
        """Return the app's own events."""
        found = []
        for line in self.log().splitlines():
            try:
                message = json.loads(json.loads(line)["message"])
            except (ValueError, KeyError, TypeError):
                continue
            if isinstance(message, dict) and "event" in message:
                found.append(message)
        return found


def make_storage(azurite: Azurite) -> Stores:
    """Make the containers and queues that the app expects."""
    found: dict[str, ContainerClient] = {}
    for account, names in CONTAINERS.items():
        service = BlobServiceClient.from_connection_string(azurite.connection_string(account))
        found |= {name: service.create_container(name) for name in names}
    for name in QUEUES:
        QueueClient.from_connection_string(azurite.connection_string(HOST), name).create_queue()
    queue = QueueClient.from_connection_string(
        azurite.connection_string(HOST), "seal", message_encode_policy=TextBase64EncodePolicy()
    )
    return Stores(
        raw=found["raw"],
        encrypted=found["encrypted"],
        batches=found["batches"],
        seal_queue=queue,
        deliver_queue=queue,
    )


@contextmanager
def running(host: FunctionHost, stores: Stores) -> Iterator[App]:
    with host, requests.Session() as session:
        yield App(host, stores, session)


def days(first: date) -> Iterator[date]:
    """Return days that no other batch of the module has."""
    while True:
        yield first
        first += timedelta(days=1)
