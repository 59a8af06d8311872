"""`./sealift seal --format smime`, `open`, `inspect`, `keys check | export`, called as the command line calls them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from encryption_support import certificate_of_today, pem, private_pem, public_pem, rsa_key

from cli.batch_folder import FileProblem
from cli.keys import main as keys_main
from cli.seal import inspect_main, open_main, seal_main

DOCUMENT_ENCRYPTION = x509.ObjectIdentifier("1.3.6.1.4.1.311.80.1")


def usage(*, encipher: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=encipher, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEY_VAULT_URL", raising=False)
    Path("a.csv").write_bytes(b"hello\n" * 1000)
    Path("cert.pem").write_bytes(pem(certificate_of_today(rsa_key())))
    Path("key.pem").write_bytes(private_pem(rsa_key()))
    for who in ("manifest", "sender"):
        Path(f"{who}.key").write_bytes(private_pem(rsa_key(who)))
    Path("manifest.pem").write_bytes(public_pem(rsa_key("manifest")))
    return tmp_path


SEAL = ["a.csv", "--to", "cert.pem", "--format", "smime", "--out", "out"]
OPEN = ["out", "--key", "key.pem", "--sender", "manifest.pem", "--out", "opened"]


@pytest.mark.parametrize(
    "options", [[], ["--armour-as", "mime"], ["--sign-key", "sender.key"], ["--key-transport", "oaep"]]
)
def test_a_batch_is_sealed_inspected_and_opened(
    folder: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert seal_main([*SEAL, "--sign", "manifest.key", *options]) == 0

    assert inspect_main(["out/a.csv.p7m"]) == 0
    assert open_main(OPEN) == 0

    shown = capsys.readouterr().out
    assert f"armour: {'mime' if 'mime' in options else 'none'}" in shown
    assert f"{'RSA-OAEP-256' if 'oaep' in options else 'RSA with PKCS#1 v1.5'}, 3072 bits" in shown
    assert "nothing in the file shows a change" in shown
    assert Path("opened/a.csv").read_bytes() == b"hello\n" * 1000


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_of_a_changed_file_nothing_is_written(folder: Path, damage: str) -> None:
    seal_main([*SEAL, "--sign", "manifest.key"])
    data = bytearray(Path("out/a.csv.p7m").read_bytes())
    data[-200] ^= 1
    Path("out/a.csv.p7m").write_bytes(data if damage == "flip" else data[:-100])

    with pytest.raises(FileProblem, match="is not the file that the manifest names"):
        open_main(OPEN)
    assert not Path("opened").exists()


def test_a_file_without_its_manifest_is_not_opened(folder: Path) -> None:
    seal_main([*SEAL, "--sign", "manifest.key"])

    with pytest.raises(FileProblem, match="nothing in it shows a change"):
        open_main(["out/a.csv.p7m", "--key", "key.pem", "--out", "b"])


@pytest.mark.parametrize(
    "arguments",
    [
        SEAL,
        [*SEAL[:4], "native", "--out", "out", "--armour-as", "pem"],
        [*SEAL[:4], "native", "--out", "out", "--extension", ""],
        [*SEAL, "--sign", "manifest.key", "--compress"],
    ],
)
def test_options_that_do_not_belong_together_are_refused(folder: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        seal_main(arguments)
    assert not Path("out").exists()


def test_one_key_never_signs_in_both_ways(folder: Path) -> None:
    with pytest.raises(FileProblem, match="the same RSA key"):
        seal_main([*SEAL, "--sign", "sender.key", "--sign-key", "sender.key"])


def test_our_certificate_is_exported_with_its_fingerprint(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys_main(["export", "--smime", "--sign-key", "sender.key"]) == 0

    ours = x509.load_pem_x509_certificate(Path("sealift.smime.pem").read_bytes())
    assert f"SHA-256 {ours.fingerprint(hashes.SHA256()).hex(':').upper()}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extensions", "words"),
    [
        ((usage(encipher=True), x509.ExtendedKeyUsage([DOCUMENT_ENCRYPTION])), "Unprotect-CmsMessage takes it"),
        ((usage(encipher=True),), "refuses it, EnvelopedCms does not: no extended key usage Document Encryption"),
        (
            (x509.ExtendedKeyUsage([DOCUMENT_ENCRYPTION]),),
            "refuses it, EnvelopedCms does not: no keyUsage keyEncipherment",
        ),
        ((), "no keyUsage keyEncipherment and no extended key usage Document Encryption (1.3.6.1.4.1.311.80.1)"),
    ],
)
def test_keys_check_says_what_powershell_refuses(
    folder: Path, extensions: tuple[x509.ExtensionType, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("b.pem").write_bytes(pem(certificate_of_today(rsa_key(), "partner", *extensions)))

    assert keys_main(["check", "b.pem"]) == 0

    assert words in capsys.readouterr().out
