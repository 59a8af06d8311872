"""Every vector through encryption/ itself; the vectors come from an encoder that shares no code with it."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from cli.batch_folder import FileProblem, open_batch, verify_batch
from encryption import (
    CannotOpen,
    EncryptionError,
    MalformedHeader,
    MalformedManifest,
    SignatureInvalid,
    load_verification_key,
)

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
NAMES = sorted(path.stem for path in VECTORS.glob("*.json"))
WORDS = {
    SignatureInvalid: "signature",
    MalformedManifest: "manifest",
    MalformedHeader: "header",
    CannotOpen: "cannot-open",
}


@functools.cache
def private_key(name: str) -> RSAPrivateKey:
    key = serialization.load_pem_private_key((VECTORS / "keys" / f"{name}.key.pem").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def outcome(vector: dict[str, Any], inbox: Path, out: Path) -> str:
    sender = load_verification_key((VECTORS / "keys" / f"{vector['sender']}.pub.pem").read_bytes())
    try:
        batch = verify_batch(inbox, sender, vector["batch"])
        if vector["strict"] and batch.unlisted:
            return "extra"
        open_batch(batch, private_key(vector["key"]), out)
    except FileProblem as error:
        return error.kind
    except EncryptionError as error:
        return "keys" if "keys.json" in str(error) and isinstance(error, MalformedManifest) else WORDS[type(error)]
    return "ok"


@pytest.mark.parametrize("name", NAMES)
def test_the_vector_ends_as_it_says(name: str, tmp_path: Path) -> None:
    vector = json.loads((VECTORS / f"{name}.json").read_bytes())
    inbox, out = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    out.mkdir()
    for stored, content in vector["files"].items():
        (inbox / stored).write_bytes(base64.b64decode(content))

    found = outcome(vector, inbox, out)

    assert found == vector["expect"]
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()} == vector["plaintexts"]


def test_the_generator_writes_the_same_bytes_again(tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (VECTORS / "keys").iterdir()}

    subprocess.run([sys.executable, VECTORS / "generate.py", tmp_path], check=True, capture_output=True)

    assert sorted(path.stem for path in tmp_path.glob("*.json")) == NAMES
    assert {path: path.read_bytes() for path in before} == before
    for name in NAMES:
        assert (tmp_path / f"{name}.json").read_bytes() == (VECTORS / f"{name}.json").read_bytes()


def test_the_examples_of_the_specification_are_the_vectors() -> None:
    shown = subprocess.run([sys.executable, VECTORS / "examples.py"], check=True, capture_output=True, text=True).stdout

    assert shown in (VECTORS.parents[1] / "docs" / "FORMAT.md").read_text()


def test_every_word_of_the_specification_has_a_vector() -> None:
    words = {json.loads((VECTORS / f"{name}.json").read_bytes())["expect"] for name in NAMES}

    assert words == {
        "ok",
        "incomplete",
        "signature",
        "manifest",
        "keys",
        "file",
        "header",
        "cannot-open",
        "extra",
        "usage",
        "openpgp",
    }
