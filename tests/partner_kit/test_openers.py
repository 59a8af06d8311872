"""The partner's openers, as programs: every one passes every vector and behaves on the command line as the guide says."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ROOT = Path(__file__).resolve().parents[2]
KIT, VECTORS = ROOT / "partner_kit", ROOT / "tests" / "vectors"
KEYS = VECTORS / "keys"
BATCH = "northwind.accruals.2026-11-21.1"
COUNT = len(list(VECTORS.glob("*.json")))


def node() -> str | None:
    found = shutil.which("node")
    if found is None:
        return None
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
    return found if int(version.lstrip("v").split(".")[0]) >= 18 else None


@pytest.fixture(scope="session")
def java_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("javac")
    if compiler is None:
        pytest.skip("javac (JDK 17) is not installed")
    classes = tmp_path_factory.mktemp("classes")
    subprocess.run([compiler, "-Xlint:all", "-Werror", "-d", classes, KIT / "Open.java"], check=True)
    return classes


@pytest.fixture(params=["python", "node", "java"])
def opener(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "python":
        return [sys.executable, str(KIT / "open.py")]
    if request.param == "node":
        program = node()
        if program is None:
            pytest.skip("node 18 or newer is not installed")
        return [program, str(KIT / "open.mjs")]
    return ["java", "-cp", str(request.getfixturevalue("java_classes")), "Open"]


def run(command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | more)


def unpack(vector: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in json.loads((VECTORS / f"{vector}.json").read_bytes())["files"].items():
        (folder / name).write_bytes(base64.b64decode(content))
    return folder


def options(out: Path, key: Path | None = None, sender: str = "sender.cert.pem") -> list[str]:
    return ["--key", str(key or KEYS / "partner.key.pem"), "--sender", str(KEYS / sender), "--out", str(out)]


def test_every_opener_passes_every_vector(opener: list[str]) -> None:
    done = run([*opener, "--vectors", str(VECTORS)])

    assert done.stdout == f"{COUNT} vectors, 0 failed\n"
    assert done.returncode == 0


def test_a_vector_that_ends_otherwise_is_reported(opener: list[str], tmp_path: Path) -> None:
    shutil.copytree(KEYS, tmp_path / "keys")
    vector = json.loads((VECTORS / "native_size_1.json").read_bytes())
    (tmp_path / "a.json").write_text(json.dumps(vector | {"expect": "header"}, sort_keys=True))

    done = run([*opener, "--vectors", str(tmp_path)])

    assert "FAIL a.json: expected header" in done.stdout
    assert done.returncode == 1


def test_totals_that_exceed_64_bits_are_not_taken_for_small_ones(opener: list[str], tmp_path: Path) -> None:
    folder = unpack("native_size_1", tmp_path / "in")
    path, count, rows = folder / f"{BATCH}.manifest.json", 2049, 2**53 - 1
    manifest = json.loads(path.read_bytes())
    (file,) = manifest["files"]
    manifest["files"] = [file | {"name": f"{i}.csv", "sealed_name": f"{i}.sealed", "rows": rows} for i in range(count)]
    totals = {name: file[name] * count for name in ("plaintext_bytes", "sealed_bytes")}
    manifest["totals"] = totals | {"files": count, "rows": count * rows % 2**64}
    signed = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    key = serialization.load_pem_private_key((KEYS / "sender.key.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    path.write_bytes(signed)
    signature = key.sign(signed, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    path.with_suffix(".json.sig").write_bytes(signature)

    done = run([*opener, str(folder), *options(tmp_path / "out")])

    assert "its totals are not the sums of its files" in done.stderr


def test_a_folder_without_vectors_is_no_proof(opener: list[str], tmp_path: Path) -> None:
    assert run([*opener, "--vectors", str(tmp_path)]).returncode == 1


@pytest.mark.parametrize("by", ["folder", "manifest"])
def test_a_batch_is_opened_by_its_folder_or_its_manifest(opener: list[str], by: str, tmp_path: Path) -> None:
    inbox = unpack("batch_of_three_formats", tmp_path / "in")
    path = inbox if by == "folder" else inbox / f"{BATCH}.manifest.json"

    done = run([*opener, str(path), *options(tmp_path / "out")])

    assert done.stdout.splitlines()[1:] == [
        "opened a.csv (100 bytes)",
        "opened d.csv (200 bytes)",
        "opened c.csv (300 bytes)",
    ]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["a.csv", "c.csv", "d.csv"]
    assert done.returncode == 0


def test_a_file_that_is_not_listed_is_named_and_left_alone(opener: list[str], tmp_path: Path) -> None:
    inbox = unpack("batch_with_unlisted_file", tmp_path / "in")

    done = run([*opener, str(inbox), *options(tmp_path / "out")])

    assert "note: b.csv.sealed is not in this manifest and was not touched" in done.stdout
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["a.csv"]


def test_a_refused_batch_ends_with_1_and_one_line(opener: list[str], tmp_path: Path) -> None:
    inbox = unpack("native_wrong_recipient", tmp_path / "in")

    done = run([*opener, str(inbox), *options(tmp_path / "out")])

    assert done.stderr == ("error: cannot-open: a.csv.sealed: the file is for another key, or it was changed or cut\n")
    assert done.returncode == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_is_overwritten(opener: list[str], tmp_path: Path) -> None:
    inbox = unpack("native_size_1", tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv").write_text("mine")

    done = run([*opener, str(inbox), *options(tmp_path / "out")])

    assert "already in the output folder" in done.stderr
    assert done.returncode == 2
    assert (tmp_path / "out" / "a.csv").read_text() == "mine"


def test_a_second_run_beside_the_first_is_refused_and_leaves_its_file(opener: list[str], tmp_path: Path) -> None:
    inbox = unpack("native_size_1", tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv.part").write_text("of the first run")

    done = run([*opener, str(inbox), *options(tmp_path / "out")])

    assert "a.csv.part is in the output folder" in done.stderr
    assert done.returncode == 2
    assert [each.read_text() for each in (tmp_path / "out").iterdir()] == ["of the first run"]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.part"])
def test_no_link_leads_the_plaintext_elsewhere(opener: list[str], name: str, tmp_path: Path) -> None:
    inbox = unpack("native_size_1", tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "elsewhere")

    done = run([*opener, str(inbox), *options(tmp_path / "out")])

    assert done.returncode == 2
    assert not (tmp_path / "elsewhere").exists()
    assert [each.name for each in (tmp_path / "out").iterdir()] == [name]


@pytest.mark.parametrize(
    "arguments", [[], ["x"], ["--key", "k"], ["x", "--key", "k", "--sender", "s"], ["x", "--wrong"]]
)
def test_wrong_usage_ends_with_2(opener: list[str], arguments: list[str]) -> None:
    done = run([*opener, *arguments])

    assert "usage:" in done.stderr
    assert done.returncode == 2


def test_help_is_given(opener: list[str]) -> None:
    done = run([*opener, "--help"])

    assert "--sender" in done.stdout
    assert done.returncode == 0


def private_keys() -> dict[str, Callable[[Path], dict[str, str]]]:
    def convert(*arguments: str) -> Callable[[Path], dict[str, str]]:
        def write(path: Path) -> dict[str, str]:
            source = str(KEYS / "partner.key.pem")
            subprocess.run(["openssl", *arguments, "-in", source, "-out", str(path)], check=True, capture_output=True)
            return {"SEALIFT_KEY_PASSWORD": "secret"}

        return write

    return {
        "pkcs1": convert("rsa", "-traditional"),
        "with a password": convert("pkcs8", "-topk8", "-passout", "pass:secret"),
        "with a password and scrypt": convert("pkcs8", "-topk8", "-v2", "aes-128-cbc", "-passout", "pass:secret"),
    }


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("kind", sorted(private_keys()))
def test_private_keys_come_in_every_usual_pem(opener: list[str], kind: str, tmp_path: Path) -> None:
    inbox, key = unpack("native_size_1", tmp_path / "in"), tmp_path / "key.pem"
    environment = private_keys()[kind](key)

    done = run([*opener, str(inbox), *options(tmp_path / "out", key)], **environment)

    assert done.stderr == ""
    assert done.returncode == 0


def test_a_wrong_password_is_said_to_be_one(opener: list[str], tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    inbox, key = unpack("native_size_1", tmp_path / "in"), tmp_path / "key.pem"
    private_keys()["with a password"](key)

    done = run([*opener, str(inbox), *options(tmp_path / "out", key)], SEALIFT_KEY_PASSWORD="wrong")

    assert "SEALIFT_KEY_PASSWORD" in done.stderr or "password is wrong" in done.stderr
    assert done.returncode == 2


def test_a_password_that_nobody_can_type_is_asked_of_the_environment(opener: list[str], tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    inbox, key = unpack("native_size_1", tmp_path / "in"), tmp_path / "key.pem"
    private_keys()["with a password"](key)
    command = [*opener, str(inbox), *options(tmp_path / "out", key)]

    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, start_new_session=True)

    assert "error: usage: " in done.stderr.splitlines()[-1]
    assert "SEALIFT_KEY_PASSWORD" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("option", ["--key", "--sender"])
def test_a_key_that_is_not_there_is_named(opener: list[str], option: str, tmp_path: Path) -> None:
    inbox = unpack("native_size_1", tmp_path / "in")
    chosen = options(tmp_path / "out")
    chosen[chosen.index(option) + 1] = str(tmp_path / "nobody.pem")

    done = run([*opener, str(inbox), *chosen])

    assert done.stderr.startswith(f"error: usage: {tmp_path / 'nobody.pem'} cannot be read")
    assert done.returncode == 2


@pytest.mark.parametrize("sender", ["sender.cert.pem", "sender.pub.pem"])
def test_the_sender_is_a_certificate_or_a_public_key(opener: list[str], sender: str, tmp_path: Path) -> None:
    inbox = unpack("native_size_1", tmp_path / "in")

    assert run([*opener, str(inbox), *options(tmp_path / "out", sender=sender)]).returncode == 0


@pytest.mark.parametrize("sender", ["partner.key.pem", "other-sender.cert.pem", "missing.pem"])
def test_what_is_not_the_sender_s_key_is_refused(opener: list[str], sender: str, tmp_path: Path) -> None:
    inbox = unpack("native_size_1", tmp_path / "in")

    done = run([*opener, str(inbox), *options(tmp_path / "out", sender=sender)])

    assert done.returncode in (1, 2)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_open_py_runs_on_cryptography_38(tmp_path: Path) -> None:
    """The registry's client fetches the old wheel; without a registry there is nothing to test against."""
    made = subprocess.run([sys.executable, "-m", "venv", tmp_path / "old"], capture_output=True)
    installed = subprocess.run(
        [tmp_path / "old" / "bin" / "pip", "install", "--quiet", "cryptography==38.0.4"], capture_output=True, text=True
    )
    if made.returncode or installed.returncode:
        pytest.skip(f"cryptography 38.0.4 cannot be installed here: {installed.stderr.strip()[-200:]}")

    done = run([str(tmp_path / "old" / "bin" / "python"), str(KIT / "open.py"), "--vectors", str(VECTORS)])

    assert done.stdout == f"{COUNT} vectors, 0 failed\n"


def test_the_openers_share_no_code_with_the_sender() -> None:
    for name in ("open.py", "open.mjs", "Open.java", "open-detached.sh", "open-cms.sh"):
        text = (KIT / name).read_text()
        assert "import encryption" not in text
        assert "from encryption" not in text


def test_open_py_is_valid_for_python_3_8() -> None:
    import ast

    ast.parse((KIT / "open.py").read_text(), feature_version=(3, 8))
