"""What the tests of Cedarway's batches share: its batch, sealed, and one message of the queue that delivers it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from batch_world import DAY, PARTNER_KEY, START, World
from cryptography.hazmat.primitives import serialization

import batches
from batches import Record
from local.sftp import PartnerSftp
from partners import Partner, load_partner
from partners.loading import FOLDER


def write(folder: Path, **feed: Any) -> Path:
    """Write Cedarway's file with a feed that differs in these members."""
    data = yaml.safe_load((FOLDER / "cedarway.yaml").read_text())
    data["feeds"]["purchases"].update(feed)
    (folder / "cedarway.yaml").write_text(yaml.safe_dump(data))
    return folder


def take_on(
    world: World,
    server: PartnerSftp,
    certificate: bytes,
    signing_key: str,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
) -> dict[str, dict[str, object]]:
    """Put into the vault what Cedarway's file in `folder` names, with a key that signs files; return where its server is."""
    names = ("cedarway-sftp-key", "cedarway-certificate")
    world.key_vault.allow("function-app", secrets=names, keys=("sealift-signing", signing_key))
    world.key_vault.create_key(signing_key)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    pem = PARTNER_KEY.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    server.add_key(PARTNER_KEY.public_key())
    world.key_vault.set_secret("cedarway-sftp-key", base64.b64encode(pem).decode())
    world.key_vault.set_secret("cedarway-certificate", certificate.decode())

    def of_test(name: str, sftp: Any) -> Partner:
        return load_partner(name, sftp, folder=folder)

    monkeypatch.setattr("batches.context.load_partner", of_test)
    return {"cedarway": {"host": server.host, "port": server.port, "host_keys": [server.host_key_line]}}


def inbox(server: PartnerSftp) -> dict[str, bytes]:
    """Return the files that arrived at Cedarway."""
    return {path.name: path.read_bytes() for path in (server.root / "from-sealift").iterdir() if path.is_file()}


def sealed(world: World, day: int = 0) -> Record:
    """Return a batch of Cedarway's that waits for its delivery, `day` days after the first."""
    start = START.replace(hour=12) + day * DAY
    record = world.plan(partner="cedarway", feed="purchases", window_start=start, window_end=start + DAY)
    world.stage(record)
    world.request(record)
    world.work()
    return record


def send(world: World, record: Record, sftp: Any) -> None:
    """Deliver a batch as the worker does for one message."""
    delivery = batches.read(world.stores.batches, record.batch).delivery
    body = {"version": 1, "batch": record.batch, "delivery": delivery, "run_id": None}
    batches.deliver_batch(world.at(sftp=sftp), json.dumps(body))
