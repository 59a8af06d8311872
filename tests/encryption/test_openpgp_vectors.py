"""The OpenPGP files of the vectors, which come from an encoder of their own, in gpg and at the partner's desk."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from openpgp_support import Gpg, gpg_home

from local.openpgp_desk import Desk, NotOpened

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
sys.path.insert(0, str(VECTORS))

from encoder import pgp_subkey  # noqa: E402  # the folder is on the path only from here on

FOUND = {path.stem: json.loads(path.read_bytes()) for path in VECTORS.glob("*.json")}
OPENPGP = {name: vector for name, vector in FOUND.items() if "opened_by_openpgp" in vector}
MADE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def private_key(name: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key((VECTORS / "keys" / f"{name}.key.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def sealed_file(vector: dict[str, Any]) -> bytes:
    names = [name for name in vector["files"] if name.startswith("p.csv")]
    return base64.b64decode(vector["files"][names[0]])


def wanted(vector: dict[str, Any]) -> str | None:
    opened: dict[str, str] = vector["opened_by_openpgp"]
    return opened.get("p.csv")


def verifies(vector: dict[str, Any]) -> bool:
    return bool(vector["expect"] == "openpgp")


@pytest.mark.parametrize("name", [name for name, vector in OPENPGP.items() if verifies(vector)])
def test_the_desk_opens_the_file_or_refuses_it(name: str) -> None:
    vector = OPENPGP[name]
    desk = Desk(f"sealift test vector {vector['key']}", MADE, private_key(vector["key"]), pgp_subkey(vector["key"]))
    sender = None if name == "openpgp_unsigned" else private_key("other-sender").public_key()

    try:
        found = hashlib.sha256(desk.open(sealed_file(vector), sender).content).hexdigest()
    except NotOpened:
        found = None

    assert found == wanted(vector)


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    if not shutil.which("gpg"):
        pytest.skip("gpg is not installed")
    with gpg_home() as found:
        for name in ("partner", "escrow", "sender"):
            command = [
                "gpg",
                "--homedir",
                str(found.home),
                "--batch",
                "--import",
                str(VECTORS / "keys" / f"{name}.pgp.asc"),
            ]
            subprocess.run(command, check=True, capture_output=True)
        yield found


@pytest.mark.parametrize("name", [name for name, vector in OPENPGP.items() if verifies(vector)])
def test_gpg_opens_the_file_or_refuses_it(name: str, gpg: Gpg, tmp_path: Path) -> None:
    vector = OPENPGP[name]
    (tmp_path / "sealed").write_bytes(sealed_file(vector))
    command = [
        "gpg",
        "--homedir",
        str(gpg.home),
        "--batch",
        "--trust-model",
        "always",
        "--output",
        str(tmp_path / "plain"),
    ]

    done = subprocess.run([*command, "--decrypt", str(tmp_path / "sealed")], capture_output=True)

    is_there = done.returncode == 0 and (tmp_path / "plain").exists()
    found = hashlib.sha256((tmp_path / "plain").read_bytes()).hexdigest() if is_there else None
    assert found == wanted(vector), done.stderr
