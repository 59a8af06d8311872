"""A batch's surroundings on real services: storage, queue and vault, in containers of each test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import batches
from batches import Context, Receipt, Record, Stores, Window
from batches.accepting import SealMessage
from batches.context import SftpAddresses
from batches.record import StagedFile
from encryption.vault import Vault
from local.key_vault.server import KeyVault

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
START = datetime(2026, 11, 21, tzinfo=UTC)
ROWS = b"transaction_id|amount\n" + b"".join(b"T%06d|1.00\n" % n for n in range(2000))
PARTNER_KEY = rsa.generate_private_key(65537, 3072)


@dataclass(frozen=True)
class World:
    stores: Stores
    vault: Vault
    key_vault: KeyVault
    raw_versions: Callable[[], list[str]]

    @property
    def context(self) -> Context:
        return self.at()

    def at(self, now: datetime = NOW, *, run_id: str | None = None, sftp: SftpAddresses | None = None) -> Context:
        """Return the context of an invocation at a time of the test's choice."""
        return Context(stores=self.stores, vault=self.vault, clock=lambda: now, sftp=sftp or {}, run_id=run_id)

    def plan(self, start: datetime = START, **changes: Any) -> Record:
        request: dict[str, Any] = {"partner": "northwind", "feed": "accruals", "revision": 1, "now": NOW, "sftp": {}}
        request |= {"window_start": start, "window_end": start + DAY, "run_id": "run", **changes}
        context = self.at(request["now"], run_id=request["run_id"], sftp=request["sftp"])
        window = Window(request["window_start"], request["window_end"])
        return batches.plan(context, request["partner"], request["feed"], window, request["revision"])

    def stage(self, record: Record, data: bytes = ROWS) -> None:
        self.stores.raw.upload_blob(f"{record.batch.folder}/{record.files[0]}", data, overwrite=True)

    def request(self, record: Record, rows: dict[str, int] | None = None) -> Record:
        return batches.request_sealing(self.at(run_id="run"), record.batch, rows=rows or {})

    def work(self) -> int:
        """Work every message of the queue once, as the host does; return how many there were."""
        worked = 0
        for message in self.stores.seal_queue.receive_messages(visibility_timeout=600):
            batches.seal_files(self.context, message.content)
            self.stores.seal_queue.delete_message(message)
            worked += 1
        return worked

    def message(self, record: Record) -> str:
        """Return the message of the batch's first file, as it was accepted."""
        staged = batches.read(self.stores.batches, record.batch).staged
        file = staged[0] if staged else StagedFile(name=record.files[0], etag='"0"', size_bytes=1)
        message = SealMessage(version=1, batch=record.batch, files=[file], format=record.format, last=True)
        return message.model_dump_json()

    def status(self, record: Record) -> dict[str, Any]:
        return batches.read_status(self.context, record.batch)

    def sealed(self, start: datetime = START, data: bytes = ROWS) -> Record:
        record = self.plan(start)
        self.stage(record, data)
        self.request(record)
        self.work()
        return record

    def blob(self, record: Record, name: str) -> bytes:
        data: bytes = self.stores.encrypted.download_blob(f"{record.batch.folder}/{name}").readall()
        return data

    def confirm(self, record: Record, arrived: dict[str, int] | None = None) -> Receipt:
        expected = batches.remote_files(self.context, record)
        seen = {file.to: file.bytes for file in expected} if arrived is None else arrived
        return batches.confirm(self.context, record, expected=expected, arrived=seen)


def use_certificate(key_vault: KeyVault, *certificates: Any) -> None:
    pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)
    key_vault.set_secret("northwind-certificate", pem.decode())
