"""open-detached.sh and open-cms.sh: stock openssl and a POSIX shell, in every shell that is here."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ROOT = Path(__file__).resolve().parents[2]
KIT, VECTORS = ROOT / "partner_kit", ROOT / "tests" / "vectors"
BATCH = "northwind.accruals.2026-11-21.1"
SHELLS = [shell for shell in ("sh", "bash", "dash", "busybox") if shutil.which(shell)]

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def load(name: str) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_bytes())
    return vector


def open_vector(
    name: str,
    work: Path,
    kind: str,
    shell: str = "sh",
    sender: str = "sender.cert.pem",
    key: Path | None = None,
    **more: str,
) -> subprocess.CompletedProcess[str]:
    vector = load(name)
    (work / "in").mkdir()
    for stored, content in vector["files"].items():
        (work / "in" / stored).write_bytes(base64.b64decode(content))
    manifest = next(iter(work.glob("in/*manifest.json")), work / "in" / f"{BATCH}.manifest.json")
    command: list[str | Path] = [shell, *(["sh"] if shell == "busybox" else []), KIT / f"open-{kind}.sh", manifest]
    keys = VECTORS / "keys"
    return subprocess.run(
        [*command, key or keys / f"{vector['key']}.key.pem", keys / sender, work / "out"],
        capture_output=True,
        text=True,
        env=os.environ | more,
    )


def opened(work: Path) -> dict[str, str]:
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in work.glob("out/*")}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("kind", ["detached", "cms"])
@pytest.mark.parametrize("case", ["size_0", "size_1", "size_16385", "two_recipients", "rsa_4096", "with_sums"])
def test_a_good_batch_opens_in_every_shell(kind: str, case: str, shell: str, tmp_path: Path) -> None:
    name = f"{kind}_{case}"

    done = open_vector(name, tmp_path, kind, shell)

    assert done.stderr == ""
    assert done.returncode == 0
    assert opened(tmp_path) == load(name)["plaintexts"]


def test_the_sender_may_be_a_bare_public_key(tmp_path: Path) -> None:
    assert open_vector("detached_size_1", tmp_path, "detached", sender="sender.pub.pem").returncode == 0


def test_a_cms_batch_opens_with_the_escrow_key(tmp_path: Path) -> None:
    assert open_vector("cms_opened_by_escrow", tmp_path, "cms").returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "detached_wrong_recipient", "detached_key_file_changed", "detached_key_file_missing", "detached_key_files_swapped",
        "cms_wrong_recipient", "cms_flip", "cms_flip_tag", "cms_flip_nonce", "cms_cut_tag", "cms_cut_before_tag",
        "cms_pkcs1_v1_5", "cms_not_cms", "cms_empty", "cms_cut_in_head",
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_and_nothing_stays_behind(name: str, tmp_path: Path) -> None:
    done = open_vector(name, tmp_path, name.split("_", maxsplit=1)[0])

    assert done.returncode == 1
    assert "error: " in done.stderr
    assert opened(tmp_path) == {}


@pytest.mark.parametrize("kind", ["detached", "cms"])
@pytest.mark.parametrize(
    "change",
    [
        "flip manifest", "flip signature", "drop signature", "drop manifest", "other batch's name", "flip file", "drop file",
        "flip keys.json",
    ],
)  # fmt: skip
def test_a_changed_batch_is_refused_before_anything_is_opened(kind: str, change: str, tmp_path: Path) -> None:
    vector = load(f"{kind}_size_1")
    files = {name: bytearray(base64.b64decode(content)) for name, content in vector["files"].items()}
    sealed = "d.csv.enc" if kind == "detached" else "c.csv.cms"
    manifest, signature, keys = (f"{BATCH}.{each}" for each in ("manifest.json", "manifest.json.sig", "keys.json"))
    verb, _, what = change.partition(" ")
    target = {"manifest": manifest, "signature": signature, "file": sealed, "keys.json": keys}.get(what, "")
    if verb == "flip":
        files[target][0] ^= 1
    elif verb == "drop":
        del files[target]
    else:
        files = {name.replace("2026-11-21.1", "2026-11-21.2"): content for name, content in files.items()}
    (tmp_path / "in").mkdir()
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    path = tmp_path / "in" / (manifest if verb != "other" else manifest.replace("2026-11-21.1", "2026-11-21.2"))

    key, sender = VECTORS / "keys" / "partner.key.pem", VECTORS / "keys" / "sender.cert.pem"
    done = subprocess.run(
        ["sh", KIT / f"open-{kind}.sh", path, key, sender, tmp_path / "out"], capture_output=True, text=True
    )

    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert opened(tmp_path) == {}


@pytest.mark.parametrize("kind", ["detached", "cms"])
def test_a_manifest_of_another_sender_is_refused(kind: str, tmp_path: Path) -> None:
    done = open_vector(f"{kind}_size_1", tmp_path, kind, sender="other-sender.cert.pem")

    assert "error: signature" in done.stderr
    assert opened(tmp_path) == {}


@pytest.mark.parametrize("kind", ["detached", "cms"])
def test_a_batch_of_another_format_is_refused_with_a_hint(kind: str, tmp_path: Path) -> None:
    done = open_vector("native_size_1", tmp_path, kind)

    assert "open.py opens all formats" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("kind", ["detached", "cms"])
@pytest.mark.parametrize("name", ["", ".part"])
def test_nothing_is_overwritten_and_no_link_followed(kind: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    in_the_way = tmp_path / "out" / f"{kind[0]}.csv{name}"
    in_the_way.symlink_to(tmp_path / "elsewhere")

    done = open_vector(f"{kind}_size_1", tmp_path, kind)

    assert f"{in_the_way.name} is" in done.stderr
    assert done.returncode == 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("kind", ["detached", "cms"])
def test_a_key_with_a_password_opens_unattended(kind: str, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "pkcs8",
            "-topk8",
            "-passout",
            "pass:secret",
            "-in",
            VECTORS / "keys" / "partner.key.pem",
            "-out",
            key,
        ],
        check=True,
    )

    done = open_vector(f"{kind}_size_1", tmp_path, kind, key=key, SEALIFT_KEY_PASSWORD="secret")

    assert done.returncode == 0
    assert opened(tmp_path) == load(f"{kind}_size_1")["plaintexts"]


@pytest.mark.parametrize("kind", ["detached", "cms"])
def test_a_key_that_is_not_there_is_named(kind: str, tmp_path: Path) -> None:
    done = open_vector(f"{kind}_size_1", tmp_path, kind, key=tmp_path / "nobody.pem")
    assert done.stderr == f"error: usage: {tmp_path / 'nobody.pem'} cannot be read\n"
    assert done.returncode == 2


@pytest.mark.parametrize("kind", ["detached", "cms"])
def test_a_sender_that_is_not_there_is_named(kind: str, tmp_path: Path) -> None:
    done = open_vector(f"{kind}_size_1", tmp_path, kind, sender="nobody.pem")
    assert "nobody.pem cannot be read" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("kind", ["detached", "cms"])
def test_a_short_sender_s_key_is_refused(kind: str, tmp_path: Path) -> None:
    sender = tmp_path / "short.pub.pem"
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    sender.write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )

    done = open_vector(f"{kind}_size_1", tmp_path, kind, sender=str(sender))

    assert done.stderr == "error: usage: the sender's key is not RSA of 3072 bits or more\n"
    assert done.returncode == 2


@pytest.mark.parametrize("kind", ["detached", "cms"])
def test_wrong_usage_ends_with_2(kind: str) -> None:
    done = subprocess.run(["sh", KIT / f"open-{kind}.sh"], capture_output=True, text=True)

    assert done.returncode == 2
    assert "usage: " in done.stderr


def test_the_scripts_verify_a_batch_with_the_same_lines() -> None:
    shared = []
    for kind in ("detached", "cms"):
        text = (KIT / f"open-{kind}.sh").read_text()
        middle = text[text.index("set -eu") : text.index("# 3. Only now")]
        shared.append([line for line in middle.splitlines() if "key_name" not in line and "format=" not in line])

    assert shared[0] == shared[1]


def test_shellcheck_has_nothing_to_say() -> None:
    shellcheck = shutil.which("shellcheck") or str(ROOT / ".venv" / "bin" / "shellcheck")
    if not Path(shellcheck).exists():
        pytest.skip("shellcheck is not installed")

    done = subprocess.run([shellcheck, *sorted(KIT.glob("*.sh"))], capture_output=True, text=True)

    assert done.stdout == ""
