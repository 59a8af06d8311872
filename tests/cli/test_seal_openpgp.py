"""`./sealift seal --format openpgp`, `inspect`, `keys check | import | export`, called as the command line calls them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from encryption_support import private_pem, rsa_key

from cli.batch_folder import FileProblem
from cli.keys import main as keys_main
from cli.seal import PEM_KEY_MADE, inspect_main, open_main, seal_main
from encryption import InvalidValue, KeyTooSmall, VaultForbidden
from encryption.openpgp import grouped
from encryption.openpgp.certificates import read_certificates
from encryption.openpgp.keys import key_of
from local.key_vault.identity import IdentityEndpoint
from local.key_vault.server import KeyVault
from local.openpgp_desk import Desk
from local.wire.certificates import CertificateAuthority

NOW = dt.datetime.now(dt.UTC)
PARTNER = Desk("Partner <partner@example.org>", NOW - dt.timedelta(days=9), rsa_key("primary"), rsa_key("partner"))
FINGERPRINT = grouped(key_of(rsa_key("sender").public_key(), PEM_KEY_MADE).fingerprint.hex().upper())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEY_VAULT_URL", raising=False)
    Path("a.csv").write_bytes(b"hello\n" * 1000)
    Path("partner.asc").write_bytes(PARTNER.certificate())
    Path("sender.key").write_bytes(private_pem(rsa_key("sender")))
    Path("small.key").write_bytes(private_pem(rsa_key("small", 2048)))
    return tmp_path


@pytest.mark.parametrize("options", [[], ["--armour", "--extension", ".asc"], ["--compress", "--extension", ""]])
def test_a_file_is_sealed_and_signed_for_an_openpgp_certificate(folder: Path, options: list[str]) -> None:
    extension = options[-1] if options else ".pgp"
    command = ["a.csv", "--to", "partner.asc", "--format", "openpgp", "--sign-key", "sender.key", "--out", "out"]

    assert seal_main([*command, *options]) == 0

    opened = PARTNER.open(Path(f"out/a.csv{extension}").read_bytes(), rsa_key("sender").public_key())
    assert (opened.name, opened.content) == ("a.csv", Path("a.csv").read_bytes())


def test_a_signed_batch_of_openpgp_files_is_verified_and_left_for_gpg(folder: Path) -> None:
    from encryption_support import public_pem

    Path("manifest.pem").write_bytes(public_pem(rsa_key("manifest")))
    Path("manifest.key").write_bytes(private_pem(rsa_key("manifest")))
    seal_main(["a.csv", "--to", "partner.asc", "--format", "openpgp", "--out", "out", "--sign", "manifest.key"])

    with pytest.raises(FileProblem, match=r"a\.csv\.pgp is an OpenPGP file") as caught:
        open_main(["out", "--key", "sender.key", "--sender", "manifest.pem", "--out", "opened"])
    assert "the batch is verified" in caught.value.hint
    with pytest.raises(FileProblem, match="is an OpenPGP file") as alone:
        open_main(["out/a.csv.pgp", "--key", "sender.key", "--out", "a"])
    assert "gpg -o a.csv -d a.csv.pgp" in alone.value.hint


def test_one_key_never_signs_in_both_ways(folder: Path) -> None:
    command = ["a.csv", "--to", "partner.asc", "--format", "openpgp", "--sign-key", "sender.key", "--out", "out"]

    with pytest.raises(FileProblem, match="the same RSA key"):
        seal_main([*command, "--sign", "sender.key"])
    with pytest.raises(KeyTooSmall, match=r"the signing key small\.key has an RSA key of 2048 bits"):
        seal_main([*command[:-3], "small.key", "--out", "out"])
    assert not Path("out").exists()


def test_options_of_openpgp_and_certificates_belong_together(folder: Path) -> None:
    with pytest.raises(SystemExit):
        seal_main(["a.csv", "--to", "partner.asc", "--armour", "--out", "out"])
    with pytest.raises(InvalidValue, match=r"is an OpenPGP certificate; the format native needs an X\.509 one"):
        seal_main(["a.csv", "--to", "partner.asc", "--out", "out"])
    assert list(Path("out").iterdir()) == []


def test_the_packets_of_a_file_are_shown_without_a_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["a.csv", "--to", "partner.asc", "--format", "openpgp", "--out", "out"]
    seal_main(command)
    seal_main([*command, "--armour", "--extension", ".asc"])
    capsys.readouterr()

    assert inspect_main(["out/a.csv.pgp"]) == 0
    binary = capsys.readouterr().out
    assert inspect_main(["out/a.csv.asc"]) == 0

    assert "key packet (1), encrypted with integrity check (18, version 1)" in binary
    assert f"key {key_of(rsa_key('partner').public_key(), PARTNER.created).key_id.hex().upper()}, RSA" in binary
    assert "in ASCII armour" in capsys.readouterr().out


def test_our_certificate_is_exported_with_the_same_fingerprint(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", "--openpgp", "--sign-key", "sender.key", "--user-id", "Acme <files@acme.example>"]

    assert keys_main(command) == 0

    (certificate,) = read_certificates(Path("sealift.pgp.asc").read_bytes(), NOW)
    assert certificate.user_ids == ("Acme <files@acme.example>",)
    assert grouped(certificate.fingerprint) == FINGERPRINT
    assert f"fingerprint {FINGERPRINT}" in capsys.readouterr().out
    with pytest.raises(FileProblem, match="KEY_VAULT_URL is not set"):
        keys_main(["export", "--openpgp"])


@pytest.fixture
def vault(
    folder: Path,
    authority: CertificateAuthority,
    identity: IdentityEndpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[KeyVault]:
    with KeyVault(authority, identity, folder=tmp_path / "vault") as service:
        environment = authority.environment | identity.environment("operator") | {"KEY_VAULT_URL": service.url}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        service.allow("operator", secrets=["*-certificate"], keys=["sealift-openpgp"], write=True)
        service.create_key("sealift-openpgp")
        service.create_key("closed")
        yield service


def test_our_certificate_comes_out_of_the_vault(vault: KeyVault) -> None:
    assert keys_main(["export", "--openpgp", "--out", "first.asc"]) == 0
    assert keys_main(["export", "--openpgp", "--out", "second.asc"]) == 0

    assert Path("first.asc").read_bytes() == Path("second.asc").read_bytes()
    with pytest.raises(VaultForbidden):
        keys_main(["export", "--openpgp", "--key", "closed", "--out", "third.asc"])


def test_an_openpgp_certificate_is_imported_and_rotated(vault: KeyVault, capsys: pytest.CaptureFixture[str]) -> None:
    later = Desk("Partner <partner@example.org>", NOW - dt.timedelta(days=1), rsa_key("primary 2"), rsa_key("new"))
    Path("later.asc").write_bytes(later.certificate())

    assert keys_main(["import", "acme", "partner.asc"]) == 0
    assert keys_main(["import", "acme", "later.asc"]) == 0
    assert keys_main(["check", "acme-certificate"]) == 0

    shown = capsys.readouterr().out
    assert "now holds an armoured OpenPGP certificate; the newest usable one" in shown
    assert "now holds 2 OpenPGP certificates" in shown
    assert f"in use      the newest usable one: {grouped(later.fingerprint)}" in shown
    assert keys_main(["import", "acme", "later.asc", "--replace"]) == 0
    assert "now holds an armoured OpenPGP certificate" in capsys.readouterr().out
