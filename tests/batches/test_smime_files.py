"""A feed of S/MIME files on real services: sealed, signed by the vault, delivered with and without side files, verified."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from batch_world import PARTNER_KEY, ROWS, World
from cedarway_world import inbox, sealed, send, take_on, write
from cryptography.hazmat.primitives import serialization

import batches
from encryption import Manifest, open_smime
from encryption.vault import VaultError
from local.partner import self_signed
from local.sftp import PartnerSftp
from partners import PartnerInvalid, load_partner


@pytest.fixture
def cedarway(world: World, server: PartnerSftp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    certificate = self_signed(PARTNER_KEY, "Cedarway").public_bytes(serialization.Encoding.PEM)
    return take_on(world, server, certificate, "sealift-smime", monkeypatch, write(tmp_path))


def test_a_batch_of_smime_files_arrives_with_its_manifest(
    world: World, cedarway: Any, server: PartnerSftp, tmp_path: Path
) -> None:
    write(tmp_path, format="smime", smime={"armour": "pem", "key_transport": "oaep"})
    record = sealed(world)
    assert world.status(record)["state"] == "sealed"

    send(world, record, cedarway)

    content = inbox(server)[f"{record.files[0]}.p7m"]
    (file,) = Manifest.from_bytes(world.blob(record, "manifest.json")).files
    assert content.startswith(b"-----BEGIN CMS-----\n")
    opened = open_smime([content], PARTNER_KEY, sealed_bytes=file.sealed_bytes, plaintext_bytes=file.plaintext_bytes)
    assert b"".join(opened) == ROWS
    assert batches.verify(world.context, record.batch)["ok"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_signed_file_alone_is_proven_by_our_certificate(
    world: World, cedarway: Any, server: PartnerSftp, tmp_path: Path
) -> None:
    write(tmp_path, format="smime", side_files="none", smime={"sign": True, "extension": ""})
    record = sealed(world)

    send(world, record, cedarway)

    ((name, content),) = inbox(server).items()
    assert name == record.files[0]
    (tmp_path / "in").write_bytes(content)
    key = PARTNER_KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key").write_bytes(key)
    ours = world.vault.smime_signer("sealift-smime").certificate
    (tmp_path / "ours").write_bytes(ours.public_bytes(serialization.Encoding.PEM))
    for command in (
        "cms -decrypt -inform DER -in in -inkey key -out signed",
        "cms -verify -binary -inform DER -in signed -CAfile ours -out out",
    ):
        subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "out").read_bytes() == ROWS
    assert world.status(record)["state"] == "delivered"


def test_our_certificate_is_the_same_as_long_as_the_key_is(world: World, cedarway: Any) -> None:
    first, again = (world.vault.smime_signer("sealift-smime").certificate for _ in range(2))

    assert first == again
    with pytest.raises(VaultError):
        world.vault.smime_signer("sealift-none")


@pytest.mark.parametrize(
    ("feed", "text"),
    [
        ({"format": "native", "smime": {"sign": True}}, "smime says how files of format: smime are written"),
        ({"format": "cms", "side_files": "none"}, "side_files: none needs format: openpgp or smime"),
        ({"format": "smime", "side_files": "none"}, "needs smime: {sign: true}"),
        ({"format": "smime", "side_files": "none", "smime": {"sign": False}}, "needs smime: {sign: true}"),
        ({"format": "smime", "smime": {"extension": ".zip"}}, "extension"),
        ({"format": "smime", "smime": {"armour": True}}, "armour"),
    ],
)
def test_what_does_not_belong_together_is_refused_when_the_file_is_read(
    feed: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(PartnerInvalid, match=text):
        load_partner("cedarway", folder=write(tmp_path, **feed))
