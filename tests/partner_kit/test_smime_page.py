"""The lines of SMIME.md, run as the page has them, by each program that is here."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from encryption_support import certificate_of_today, file_info, pem, private_pem, public_pem, rsa_key, smime_signer

from cli.partner_kit import assemble_kit
from cli.seal import sign, write_manifest
from encryption import Recipient, Smime, seal

KIT = Path(__file__).resolve().parents[2] / "partner_kit"
PAGE = (KIT / "SMIME.md").read_text()
BATCH = "northwind.accruals.2026-11-21.1"
CONTENT = b"id;amount\r\n1;2.50\r\n" * 9_000


def blocks(heading: str, language: str) -> list[str]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A partner's folder: its keys, ours, and a batch with the file that the page calls NAME.p7m."""
    return fill(tmp_path, Smime())


def fill(folder: Path, wish: Smime) -> Path:
    now, certificate = dt.datetime.now(dt.UTC), certificate_of_today(rsa_key())
    sealing = seal(
        [CONTENT],
        file=file_info(len(CONTENT), name="NAME", batch=BATCH, created=now),
        recipients=[Recipient("partner", certificate)],
        format=wish,
    )
    (folder / "NAME.p7m").write_bytes(b"".join(sealing))
    write_manifest(folder, BATCH, [sealing.result], lambda data: sign(data, rsa_key("manifest")), now)
    for file, content in (
        ("certificate.pem", pem(certificate)),
        ("private.pem", private_pem(rsa_key())),
        ("sender.pem", public_pem(rsa_key("manifest"))),
        ("sealift.smime.pem", pem(smime_signer().certificate)),
        ("Open.java", (KIT / "Open.java").read_bytes()),
    ):
        (folder / file).write_bytes(content)
    return folder


def run(program: list[str], text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*program, text.replace("BATCH", BATCH)], cwd=folder, capture_output=True, text=True)


def test_the_kit_has_our_certificate_and_a_test_batch_that_its_opener_opens(tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    (tmp_path / "keys").mkdir()
    folder = fill(tmp_path / "keys", Smime())
    certificate = x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
    kit, company = tmp_path / "kit", rsa_key("manifest")
    wish = Smime(signer=smime_signer(), armour="mime")

    assemble_kit(
        "northwind", public_pem(company), kit, now=now, recipients=[Recipient("partner", certificate)],
        sign=lambda data: sign(data, company), formats=[wish],
    )  # fmt: skip

    manifest = next((kit / "test-batch" / "smime").glob("*.manifest.json"))
    keys = ["--key", folder / "private.pem", "--sender", kit / "sender.pem", "--out", tmp_path / "opened"]
    subprocess.run([sys.executable, kit / "open.py", manifest, *keys], check=True, capture_output=True)
    assert "in the format smime" in (tmp_path / "opened" / "hello.txt").read_text()
    assert (kit / "sealift.smime.pem").read_bytes() == pem(smime_signer().certificate)
    assert (kit / "SMIME.md").read_text() == PAGE


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_checks_and_opens(inbox: Path) -> None:
    done = run(["sh", "-ec"], blocks("You have openssl", "sh")[0], inbox)

    assert done.returncode == 0, done.stderr
    verified, digest = done.stdout.splitlines()
    assert verified == "Verified OK"
    assert digest.split("= ")[1] in (inbox / f"{BATCH}.manifest.json").read_text()
    assert (inbox / "NAME").read_bytes() == CONTENT


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize(("armour", "form"), [("none", "DER"), ("pem", "PEM"), ("mime", "SMIME")])
def test_openssl_verifies_what_is_signed_inside(tmp_path: Path, armour: str, form: str) -> None:
    fill(tmp_path, Smime(signer=smime_signer(), armour=armour))  # type: ignore[arg-type]  # a word of the list above
    lines = blocks("You have openssl", "sh")[1].replace("-decrypt -inform DER", f"-decrypt -inform {form}")

    done = run(["sh", "-ec"], lines, tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "NAME").read_bytes() == CONTENT


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_signature_of_another_key_is_not_good(tmp_path: Path) -> None:
    fill(tmp_path, Smime(signer=smime_signer()))
    (tmp_path / "sealift.smime.pem").write_bytes((tmp_path / "certificate.pem").read_bytes())

    assert run(["sh", "-ec"], blocks("You have openssl", "sh")[1], tmp_path).returncode != 0


@pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed")
def test_java_opens(inbox: Path) -> None:
    done = run(["sh", "-ec"], blocks("You have Java", "sh")[0], inbox)

    assert done.returncode == 0, done.stderr
    assert (inbox / "OPENED" / "NAME").read_bytes() == CONTENT


@pytest.mark.skipif(shutil.which("pwsh") is None, reason="PowerShell 7 (pwsh) is not installed")
def test_powershell_checks_and_opens(inbox: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    check, open_it, open_signed = blocks("You have Windows", "powershell")
    pwsh = ["pwsh", "-NoProfile", "-NonInteractive", "-Command"]

    assert run(pwsh, check, inbox).stdout.split() == ["True", "True"]
    assert run(pwsh, open_it, inbox).returncode == 0
    assert (inbox / "NAME").read_bytes() == CONTENT

    signed = fill(tmp_path_factory.mktemp("signed"), Smime(signer=smime_signer()))
    assert run(pwsh, open_it.rpartition("[IO.File]")[0] + open_signed, signed).returncode == 0
    assert (signed / "NAME").read_bytes() == CONTENT
