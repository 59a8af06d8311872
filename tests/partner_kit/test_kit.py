"""cli/partner_kit.py: the folder that a partner receives works by itself, away from this repository."""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from cli.batch_folder import FileProblem
from cli.partner_kit import OPENERS, assemble_kit, fingerprint
from cli.seal import sign
from encryption import OpenPgp, Recipient, SignatureInvalid
from encryption.doctor import diagnose
from encryption.openpgp import Signer, load_openpgp_recipients
from encryption.openpgp.certificates import read_certificates
from encryption.openpgp.keys import key_of
from local.openpgp_desk import Desk

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
KIT = Path(__file__).resolve().parents[2] / "partner_kit"


@pytest.fixture(scope="module")
def partner() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


@pytest.fixture(scope="module")
def company() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_guide_s_command_makes_a_certificate_that_we_take(tmp_path: Path) -> None:
    [command] = re.findall(r"^openssl req -x509 .*$", (KIT / "README.md").read_text(), re.MULTILINE)

    subprocess.run([*shlex.split(command), "-noenc"], check=True, capture_output=True, cwd=tmp_path)

    found = diagnose((tmp_path / "certificate.pem").read_bytes(), dt.datetime.now(dt.UTC))
    assert (found.kind, found.problems) == ("a PEM certificate", ())
    assert dict(found.facts)["usage"] == "key encipherment"


def certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1).not_valid_before(NOW)
    return builder.not_valid_after(NOW + dt.timedelta(days=99)).sign(key, hashes.SHA256())


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return certificate(key).public_bytes(serialization.Encoding.PEM)


def test_a_kit_holds_openers_specification_vectors_and_our_key(company: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    files = assemble_kit("northwind", pem(company), tmp_path / "kit", now=NOW)

    names = {path.relative_to(tmp_path / "kit").as_posix() for path in files}
    assert names >= {*OPENERS, "FORMAT.md", "sender.pem", "vectors/README.md", "vectors/native_size_1.json"}
    assert not [name for name in names if "encoder" in name or "__pycache__" in name]
    assert not (tmp_path / "kit" / "test-batch").exists()
    assert os.access(tmp_path / "kit" / "open.py", os.X_OK)


@pytest.mark.parametrize("kind", ["native", "detached", "cms"])
def test_the_test_batch_opens_with_the_kit_alone(
    kind: str, partner: rsa.RSAPrivateKey, company: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    kit = tmp_path / "kit"
    recipient = Recipient("northwind", certificate(partner))
    assemble_kit(
        "northwind",
        pem(company),
        kit,
        now=NOW,
        recipients=[recipient],
        sign=lambda data: sign(data, company),
        formats=[kind],
    )
    form = serialization.PrivateFormat.PKCS8
    (tmp_path / "private.pem").write_bytes(
        partner.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    )
    manifest = next((kit / "test-batch" / kind).glob("*.manifest.json"))

    commands: list[list[str | Path]] = [
        [
            sys.executable,
            "-I",
            "open.py",
            manifest,
            "--key",
            "../private.pem",
            "--sender",
            "sender.pem",
            "--out",
            "../py",
        ]
    ]
    if kind != "native" and shutil.which("openssl"):
        commands.append(["sh", f"open-{kind}.sh", manifest, "../private.pem", "sender.pem", "../sh"])
    for command in commands:
        subprocess.run(command, cwd=kit, check=True, capture_output=True)

    for out in ("py", "sh")[: len(commands)]:
        assert f"in the format {kind}" in (tmp_path / out / "hello.txt").read_text()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_partner_computes_the_fingerprint_that_we_tell(company: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    sender = company.public_key().public_bytes(encoding, form)
    assemble_kit("northwind", sender, tmp_path / "kit", now=NOW)
    (step,) = re.findall(r"^openssl pkey .*sha256", (KIT / "README.md").read_text(), re.MULTILINE)

    told = subprocess.run(step, shell=True, cwd=tmp_path / "kit", capture_output=True, text=True, check=True).stdout

    assert told.split()[-1] == fingerprint(sender)


def test_the_kit_proves_itself_on_its_own_vectors(company: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    assemble_kit("northwind", pem(company), tmp_path / "kit", now=NOW)

    done = subprocess.run(
        [sys.executable, "-I", "open.py", "--vectors", "vectors"], cwd=tmp_path / "kit", capture_output=True
    )

    assert done.returncode == 0


def test_a_signature_that_the_verification_key_does_not_accept_is_found_before_the_kit_is_sent(
    partner: rsa.RSAPrivateKey, company: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    recipient = Recipient("northwind", certificate(partner))

    with pytest.raises(SignatureInvalid):
        assemble_kit(
            "northwind",
            pem(company),
            tmp_path / "kit",
            now=NOW,
            recipients=[recipient],
            sign=lambda data: sign(data, partner),
        )


def test_a_key_that_cannot_verify_and_a_folder_in_use_are_refused(company: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    with pytest.raises(SignatureInvalid):
        assemble_kit("northwind", b"nothing", tmp_path / "kit", now=NOW)
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileProblem, match="is not empty"):
        assemble_kit("northwind", pem(company), tmp_path, now=NOW)


def test_the_guide_names_every_opener_and_every_error_word() -> None:
    guide = (KIT / "README.md").read_text()

    for name in OPENERS:
        assert name == "README.md" or name in guide
    words = set(re.findall(r'Refused\(\s*"([a-z-]+)"', (KIT / "open.py").read_text())) - {"usage"}
    for word in words:
        assert f"`{word}`" in guide
    assert len(guide.splitlines()) < 80


@pytest.fixture(scope="module")
def openpgp_kit(company: rsa.RSAPrivateKey, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Desk]:
    """A kit for a partner who takes signed OpenPGP files, and that partner's desk."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    desk = Desk.make("Northwind <edi@northwind.example>", now - dt.timedelta(days=9))
    signing = rsa.generate_private_key(65537, 3072)
    scheme = padding.PKCS1v15(), utils.Prehashed(hashes.SHA256())
    signer = Signer(
        key_of(signing.public_key(), now - dt.timedelta(days=9)), lambda digest: signing.sign(digest, *scheme)
    )
    kit = tmp_path_factory.mktemp("openpgp") / "kit"
    assemble_kit(
        "northwind",
        pem(company),
        kit,
        now=now,
        recipients=load_openpgp_recipients(desk.certificate(), None, now),
        sign=lambda data: sign(data, company),
        formats=[OpenPgp(signer=signer)],
    )
    return kit, desk


def test_open_py_verifies_an_openpgp_batch_without_a_key(openpgp_kit: tuple[Path, Desk]) -> None:
    kit, _ = openpgp_kit
    manifest = next((kit / "test-batch" / "openpgp").glob("*.manifest.json"))
    command = [sys.executable, "-I", "open.py", str(manifest), "--sender", "sender.pem"]

    verified = subprocess.run([*command, "--verify"], cwd=kit, capture_output=True, text=True)
    sealed = kit / "test-batch" / "openpgp" / "hello.txt.pgp"
    whole = sealed.read_bytes()
    sealed.write_bytes(whole[:-1])
    cut = subprocess.run([*command, "--verify"], cwd=kit, capture_output=True, text=True)
    sealed.write_bytes(whole)

    assert verified.returncode == 0
    assert "verified hello.txt.pgp" in verified.stdout
    assert cut.returncode == 1
    assert cut.stderr.startswith("error: file: hello.txt.pgp")


@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")
def test_the_page_s_three_commands_open_the_test_batch(openpgp_kit: tuple[Path, Desk], tmp_path: Path) -> None:
    kit, desk = openpgp_kit
    (tmp_path / "secret.asc").write_bytes(desk.secret())
    (script,) = re.findall(r"^set -e\n.*?(?=^```)", (KIT / "OPENPGP.md").read_text(), re.MULTILINE | re.DOTALL)
    (sender,) = read_certificates((kit / "sealift.pgp.asc").read_bytes(), dt.datetime.now(dt.UTC))
    ours = sender.primary.fingerprint.hex().upper()
    home = tempfile.mkdtemp()  # the socket of gpg's agent wants a short path
    commands = re.findall(
        r"^gpg (?:--import|--fingerprint|--output) .*?(?=  +#)", (KIT / "OPENPGP.md").read_text(), re.MULTILINE
    )
    shutil.copy(kit / "sealift.pgp.asc", tmp_path)
    shutil.copy(kit / "test-batch" / "openpgp" / "hello.txt.pgp", tmp_path / "NAME.csv.pgp")

    def run(command: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"GNUPGHOME": home}
        return subprocess.run(shlex.split(command), cwd=tmp_path, env=environment, capture_output=True, text=True)

    try:
        assert run("gpg --batch --import secret.asc").returncode == 0
        done = [run(command) for command in commands]
        (tmp_path / "NAME.csv").rename(tmp_path / "opened")
        trusted, foreign = (
            run(shlex.join(["sh", "-c", script.replace("FINGERPRINT", each)])) for each in (ours, "0" * 40)
        )
    finally:
        run("gpgconf --kill all")
        shutil.rmtree(home)

    assert [each.returncode for each in done] == [0, 0, 0], done
    assert 'Good signature from "Sealift"' in done[2].stderr
    assert (trusted.returncode, foreign.returncode) == (0, 1)
    assert "in the format openpgp" in (tmp_path / "opened").read_text()
    assert (tmp_path / "NAME.csv").read_bytes() == (tmp_path / "opened").read_bytes()
