"""A feed of OpenPGP files on real services: sealed, signed by the vault, delivered without side files, verified, sent again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from batch_world import ROWS, World
from cedarway_world import inbox, sealed, send, take_on, write
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

import batches
from batches.sending import read_list
from local.openpgp_desk import Desk
from local.sftp import PartnerSftp
from partners import PartnerInvalid, load_partner

DESK = Desk.make("Cedarway <edi@cedarway.example>", datetime.now(UTC) - timedelta(days=9))


@pytest.fixture
def cedarway(world: World, server: PartnerSftp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    write(tmp_path, format="openpgp", side_files="none", openpgp={"extension": ".gpg", "compress": True})
    return take_on(world, server, DESK.certificate(), "sealift-openpgp", monkeypatch, tmp_path)


def test_only_the_files_reach_the_partner_whose_desk_opens_them(
    world: World, cedarway: Any, server: PartnerSftp
) -> None:
    record = sealed(world)
    assert world.status(record)["state"] == "sealed"

    send(world, record, cedarway)

    ((name, content),) = inbox(server).items()
    sender = load_pem_public_key(world.vault.public_key_pem("sealift-openpgp"))
    assert isinstance(sender, rsa.RSAPublicKey)
    opened = DESK.open(content, sender)
    assert name == f"{record.files[0]}.gpg"
    assert (opened.name, opened.content, opened.is_signed) == (record.files[0], ROWS, True)


def test_receipt_verify_and_re_send_work_as_with_side_files(world: World, cedarway: Any, server: PartnerSftp) -> None:
    record = sealed(world)
    send(world, record, cedarway)
    first = inbox(server)

    assert world.status(record)["state"] == "delivered"
    assert [file["name"] for file in world.status(record)["receipt"]["files"]] == list(first)
    answer = batches.verify(world.context, record.batch)
    assert answer["ok"], answer
    assert world.blob(record, "manifest.json.sig")

    (server.root / "from-sealift" / next(iter(first))).unlink()
    batches.resend(world.context, record.batch, who="operator", reason="lost")
    send(world, record, cedarway)

    assert inbox(server) == first
    assert world.status(record)["state"] == "delivered"


def test_partner_answers_to_the_file_alone(world: World, cedarway: Any, server: PartnerSftp, tmp_path: Path) -> None:
    record = sealed(world)
    send(world, record, cedarway)
    (server.root / "from-sealift" / "answers" / f"{record.files[0]}.gpg.ack").touch()

    (answer,) = batches.fetch_answers(world.context, [load_partner("cedarway", cedarway, folder=tmp_path)])

    assert (answer.batch, answer.says) == (record.batch, "acknowledged")
    assert world.status(record)["state"] == "acknowledged"


def test_route_adf_is_given_the_files_alone(world: World, cedarway: Any, tmp_path: Path) -> None:
    path = tmp_path / "cedarway.yaml"
    write(tmp_path, route="adf", format="openpgp", side_files="none", openpgp={"extension": ".gpg"})
    kept = {key: value for key, value in yaml.safe_load(path.read_text()).items() if key != "delivery"}
    path.write_text(yaml.safe_dump(kept))

    record = sealed(world)

    todo = batches.begin_copy(world.at(run_id="run"), record.batch, [])
    assert todo.files == ""
    assert read_list(world.context, record, todo.last) == [f"{record.files[0]}.gpg"]


@pytest.mark.parametrize(
    ("feed", "text"),
    [
        ({"format": "native", "openpgp": {"sign": False}}, "openpgp says how files of format: openpgp are written"),
        ({"format": "native", "side_files": "none"}, "side_files: none needs format: openpgp"),
        ({"format": "openpgp", "side_files": "none", "manifest_totals": True}, "manifest_totals needs the manifest"),
        ({"columns": ["transaction_id"], "control": None, "manifest_totals": True}, "manifest_totals needs a number"),
        ({"format": "openpgp", "openpgp": {"extension": ".zip"}}, "extension"),
        ({"format": "openpgp", "openpgp": {"armor": True}}, "armor"),
    ],
)
def test_what_does_not_belong_together_is_refused_when_the_file_is_read(
    feed: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(PartnerInvalid, match=text):
        load_partner("cedarway", folder=write(tmp_path, **feed))
