"""A sealed file that is replaced after it was checked and before it is opened: anyone who can write to the inbox may try."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from test_openers import KIT, ROOT, java_classes, opener

from cli.seal import seal_main

BATCH = "northwind.accruals.2026-11-21.1"
REAL, FORGED = b"pay;alice;100\n", b"pay;mallo;999\n"
TRIES = 20

__all__ = ["java_classes", "opener"]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with partner and sender: NAME.key.pem and NAME.cert.pem."""
    folder = tmp_path_factory.mktemp("keys")
    now = datetime.now(UTC)
    for owner in ("partner", "sender"):
        key = rsa.generate_private_key(65537, 3072)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, owner)])
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1).not_valid_before(now - timedelta(days=1))
        certificate = builder.not_valid_after(now + timedelta(days=99)).sign(key, hashes.SHA256())
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        (folder / f"{owner}.key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        (folder / f"{owner}.cert.pem").write_bytes(certificate.public_bytes(pem))
    return folder


def seal(folder: Path, keys: Path, kind: str, contents: dict[str, bytes]) -> Path:
    """Return a folder with a batch of these files, sealed for the partner."""
    (folder / "plain").mkdir(parents=True)
    for name, content in contents.items():
        (folder / "plain" / name).write_bytes(content)
    files = [str(folder / "plain" / name) for name in contents]
    options = ["--to", str(keys / "partner.cert.pem"), "--sign", str(keys / "sender.key.pem"), "--batch", BATCH]
    seal_main([*files, *options, "--format", kind, "--out", str(folder / "in")])
    return folder / "in"


def replaced_while_opened(
    command: Callable[[Path, Path], list[str]], batch: Path, forged: Path, work: Path
) -> subprocess.CompletedProcess[str]:
    """Replace b.csv's sealed file as soon as a.csv is being opened."""
    shutil.copytree(batch, work / "in")
    shutil.copytree(forged, work / "forged")
    with subprocess.Popen(
        command(work / "in", work / "out"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until = time.monotonic() + 60
        while process.poll() is None and not (work / "out" / "a.csv.part").exists() and time.monotonic() < until:
            time.sleep(0.0005)
        for each in (work / "forged").glob("b.csv.*"):
            each.replace(work / "in" / each.name)
        output, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def refused(command: Callable[[Path, Path], list[str]], kind: str, keys: Path, tmp_path: Path) -> str:
    """Return what an opener says of the replaced file; it may come too late to be seen, so it is tried again."""
    batch = seal(tmp_path / "real", keys, kind, {"a.csv": bytes(24 << 20), "b.csv": REAL})
    forged = seal(tmp_path / "forged", keys, kind, {"b.csv": FORGED})
    for attempt in range(TRIES):
        work = tmp_path / str(attempt)
        done = replaced_while_opened(command, batch, forged, work)
        opened = work / "out" / "b.csv"
        if done.returncode:
            assert list((work / "out").iterdir()) == []
            return done.stderr
        assert opened.read_bytes() == REAL
        shutil.rmtree(work)
    pytest.fail(f"the file was never replaced in time in {TRIES} tries")


@pytest.mark.parametrize("kind", ["native", "detached", "cms"])
def test_the_kit_s_openers_refuse_it(opener: list[str], kind: str, keys: Path, tmp_path: Path) -> None:
    def command(batch: Path, out: Path) -> list[str]:
        options = ["--key", str(keys / "partner.key.pem"), "--sender", str(keys / "sender.cert.pem"), "--out", str(out)]
        return [*opener, str(batch), *options]

    assert refused(command, kind, keys, tmp_path).startswith("error: ")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("kind", ["detached", "cms"])
def test_the_shell_scripts_refuse_it(kind: str, keys: Path, tmp_path: Path) -> None:
    def command(batch: Path, out: Path) -> list[str]:
        manifest = batch / f"{BATCH}.manifest.json"
        files = [manifest, keys / "partner.key.pem", keys / "sender.cert.pem", out]
        return ["sh", str(KIT / f"open-{kind}.sh"), *map(str, files)]

    assert "replaced while it was opened" in refused(command, kind, keys, tmp_path)


@pytest.mark.parametrize("kind", ["native", "detached", "cms"])
def test_our_own_opener_refuses_it(kind: str, keys: Path, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from cli.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )

    def command(batch: Path, out: Path) -> list[str]:
        options = ["--key", str(keys / "partner.key.pem"), "--sender", str(keys / "sender.cert.pem"), "--out", str(out)]
        return [sys.executable, "-c", program, "open", str(batch / f"{BATCH}.manifest.json"), *options]

    assert refused(command, kind, keys, tmp_path).startswith("error: ")
