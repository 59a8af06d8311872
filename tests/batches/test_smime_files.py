"""A feed of S/MIME files on real services: sealed, signed by the vault, delivered with and without side files, verified."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from batch_world import PARTNER_KEY, ROWS, World
from cedarway_world import sealed, send
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import batches
from encryption import Manifest, open_smime
from encryption.vault import VaultError
from local.sftp import PartnerSftp
from partners import Partner, PartnerInvalid, load_partner
from partners.loading import FOLDER


def write(folder: Path, **feed: Any) -> Path:
    """Write Cedarway's file with a feed that differs in these members."""
    data = yaml.safe_load((FOLDER / "cedarway.yaml").read_text())
    data["feeds"]["purchases"].update(feed)
    (folder / "cedarway.yaml").write_text(yaml.safe_dump(data))
    return folder


def certificate() -> x509.Certificate:
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Cedarway")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, PARTNER_KEY.public_key(), 77)
    dated = builder.not_valid_before(now - timedelta(days=9)).not_valid_after(now + timedelta(days=99))
    return dated.sign(PARTNER_KEY, hashes.SHA256())


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartnerSftp]:
    with PartnerSftp(tmp_path_factory.mktemp("cedarway")) as running:
        (running.root / "from-sealift" / "answers").mkdir(parents=True)
        running.add_key(PARTNER_KEY.public_key())
        yield running


@pytest.fixture
def cedarway(world: World, server: PartnerSftp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    names = ("cedarway-sftp-key", "cedarway-certificate")
    world.key_vault.allow("function-app", secrets=names, keys=("sealift-signing", "sealift-smime"))
    world.key_vault.create_key("sealift-smime")
    form = serialization.PrivateFormat.TraditionalOpenSSL
    pem = PARTNER_KEY.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    world.key_vault.set_secret("cedarway-sftp-key", base64.b64encode(pem).decode())
    world.key_vault.set_secret("cedarway-certificate", certificate().public_bytes(serialization.Encoding.PEM).decode())

    def of_test(name: str, sftp: Any) -> Partner:
        return load_partner(name, sftp, folder=tmp_path)

    monkeypatch.setattr("batches.context.load_partner", of_test)
    return {"cedarway": {"host": server.host, "port": server.port, "host_keys": [server.host_key_line]}}


def inbox(server: PartnerSftp) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (server.root / "from-sealift").iterdir() if path.is_file()}


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
