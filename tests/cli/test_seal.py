"""`./sealift seal | open | inspect | keys`, called as the command line calls them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient
from cryptography.x509 import load_pem_x509_certificate
from encryption_support import BATCH, make_certificate, pem, private_pem, public_pem, rsa_key

from cli import seal as sealing
from cli.batch_folder import FileProblem
from cli.keys import main as keys_main
from cli.seal import inspect_main, open_main, seal_main
from encryption import CannotOpen, EncryptionError, MalformedHeader, SecretMissing, SeveralOwners, SignatureInvalid
from local.key_vault.identity import IdentityEndpoint
from local.key_vault.server import KeyVault
from local.wire.certificates import CertificateAuthority
from partners.loading import FOLDER


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plaintext, certificates that are valid today, and keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEY_VAULT_URL", raising=False)
    Path("a.csv").write_bytes(b"hello\n" * 1000)
    Path("partner.pem").write_bytes(pem(make_certificate(first_day=-9999, last_day=36500)))
    Path("escrow.pem").write_bytes(pem(make_certificate(owner="escrow", first_day=-9999, last_day=36500)))
    for owner in ("partner", "escrow", "sender", "stranger"):
        Path(f"{owner}.key").write_bytes(private_pem(rsa_key(owner)))
    Path("sender.pem").write_bytes(public_pem(rsa_key("sender")))
    return tmp_path


@pytest.mark.parametrize(("kind", "extension"), [("native", ".sealed"), ("cms", ".cms")])
@pytest.mark.parametrize("owner", ["partner", "escrow"])
def test_a_file_is_sealed_and_opened(
    desk: Path, kind: str, extension: str, owner: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert seal_main(["a.csv", "--to", "partner.pem", "--to", "escrow.pem", "--format", kind, "--out", "out"]) == 0
    assert open_main([f"out/a.csv{extension}", "--key", f"{owner}.key", "--out", "opened.csv"]) == 0

    assert Path("opened.csv").read_bytes() == Path("a.csv").read_bytes()
    shown = capsys.readouterr()
    assert f"sealed a.csv{extension}  " in shown.out
    assert "opened opened.csv" in shown.out
    assert "nothing proves who sealed this file" in shown.err
    assert sorted(path.name for path in Path("out").iterdir()) == [f"a.csv{extension}"]


def test_the_file_s_own_name_is_used_in_a_folder(desk: Path) -> None:
    seal_main(["a.csv", "--to", "partner.pem", "--out", "out"])
    Path("out/a.csv.sealed").rename("renamed.sealed")
    Path("opened").mkdir()

    open_main(["renamed.sealed", "--key", "partner.key", "--out", "opened"])

    assert Path("opened/a.csv").exists()


@pytest.mark.parametrize("kind", ["native", "detached", "cms"])
def test_a_signed_batch_is_sealed_and_opened(desk: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("b.csv").write_bytes(b"")
    command = [
        "a.csv",
        "b.csv",
        "--to",
        "partner.pem",
        "--format",
        kind,
        "--out",
        "out",
        "--batch",
        BATCH,
        "--sign",
        "sender.key",
    ]
    assert seal_main(command) == 0
    Path("out/stray.txt").write_text("x")

    assert open_main(["out", "--key", "partner.key", "--sender", "sender.pem", "--out", "opened"]) == 0
    assert (
        open_main([f"out/{BATCH}.manifest.json", "--key", "partner.key", "--sender", "sender.pem", "--out", "again"])
        == 0
    )

    for folder in ("opened", "again"):
        assert Path(folder, "a.csv").read_bytes() == Path("a.csv").read_bytes()
        assert Path(folder, "b.csv").read_bytes() == b""
    assert "note: stray.txt is not in this manifest" in capsys.readouterr().err


def test_a_batch_needs_its_sender_and_a_detached_file_its_manifest(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for call in (
        lambda: seal_main(["a.csv", "--to", "partner.pem", "--format", "detached", "--out", "out"]),
        lambda: open_main([".", "--key", "partner.key", "--out", "opened"]),
    ):
        with pytest.raises(SystemExit) as ended:
            call()
        assert ended.value.code == 2
    assert "give --sign KEY.pem" in (shown := capsys.readouterr().err)
    assert "give --sender CERT.pem" in shown


def test_a_detached_file_alone_is_refused_with_the_way_to_open_it(desk: Path) -> None:
    seal_main(["a.csv", "--to", "partner.pem", "--format", "detached", "--out", "out", "--sign", "sender.key"])

    with pytest.raises(FileProblem, match="its nonce is in the manifest") as caught:
        open_main(["out/a.csv.enc", "--key", "partner.key", "--out", "opened"])

    assert "manifest.json" in caught.value.hint


def test_a_wrong_key_opens_nothing_and_leaves_nothing(desk: Path) -> None:
    seal_main(["a.csv", "--to", "partner.pem", "--out", "out"])

    with pytest.raises(CannotOpen):
        open_main(["out/a.csv.sealed", "--key", "stranger.key", "--out", "opened.csv"])

    assert not list(desk.glob("opened*"))


def test_a_batch_of_another_sender_is_refused(desk: Path) -> None:
    seal_main(["a.csv", "--to", "partner.pem", "--out", "out", "--sign", "stranger.key"])

    with pytest.raises(SignatureInvalid):
        open_main(["out", "--key", "partner.key", "--sender", "sender.pem", "--out", "opened"])


def test_an_existing_file_is_never_replaced(desk: Path) -> None:
    seal_main(["a.csv", "--to", "partner.pem", "--out", "out"])

    with pytest.raises(FileProblem, match="already there"):
        seal_main(["a.csv", "--to", "partner.pem", "--out", "out"])
    with pytest.raises(FileProblem, match="already there"):
        open_main(["out/a.csv.sealed", "--key", "partner.key", "--out", "a.csv"])
    assert Path("a.csv").read_bytes() == b"hello\n" * 1000


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: seal_main(["nothing.csv", "--to", "partner.pem", "--out", "out"]), "nothing.csv is not a file"),
        (lambda: seal_main(["a.csv", "--to", "nothing.pem", "--out", "out"]), "nothing.pem is not a file"),
        (lambda: open_main(["nothing", "--key", "partner.key", "--out", "o"]), "nothing is not there"),
        (lambda: open_main([".", "--key", "partner.key", "--sender", "sender.pem", "--out", "o"]), "there is no manifest"),
        (lambda: open_main(["x.manifest.json", "--key", "partner.key", "--sender", "sender.pem", "--out", "o"]), "is not there"),
        (lambda: open_main(["a.csv", "--key", "partner.pem", "--out", "o"]), "not a PEM private key"),
        (lambda: inspect_main(["nothing"]), "nothing is not a file"),
        (lambda: keys_main(["check", "nothing"]), "nothing is not a file"),
        (lambda: keys_main(["import", "northwind", "partner.pem"]), "KEY_VAULT_URL is not set"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_a_hint(desk: Path, call: object, text: str) -> None:
    with pytest.raises(FileProblem, match=text) as caught:
        call()  # type: ignore[operator]

    assert caught.value.hint


def test_a_file_that_is_not_sealed_is_said_to_be_none(desk: Path) -> None:
    for call in (lambda: open_main(["a.csv", "--key", "partner.key", "--out", "o"]), lambda: inspect_main(["a.csv"])):
        with pytest.raises(MalformedHeader):
            call()


def test_inspect_shows_the_header_without_a_key(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seal_main(["a.csv", "--to", "partner.pem", "--to", "escrow.pem", "--out", "out", "--batch", BATCH])

    inspect_main(["out/a.csv.sealed"])

    shown = capsys.readouterr().out
    assert f"batch            {BATCH}" in shown
    assert "plaintext        6,000 bytes" in shown
    assert "as expected" in shown
    assert shown.count("RSA-OAEP-256") == 2


@pytest.mark.parametrize("kind", ["native", "cms"])
def test_inspect_says_when_a_file_is_cut(desk: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    seal_main(["a.csv", "--to", "partner.pem", "--format", kind, "--out", "out"])
    (path,) = Path("out").iterdir()
    inspect_main([str(path)])
    path.write_bytes(path.read_bytes()[:-1])

    inspect_main([str(path)])

    shown = capsys.readouterr().out
    assert shown.count("as expected") == 1
    assert "it is cut or damaged" in shown


def test_inspect_shows_a_manifest_and_says_that_it_is_not_verified(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seal_main(["a.csv", "--to", "partner.pem", "--out", "out", "--sign", "sender.key", "--batch", BATCH])

    inspect_main([f"out/{BATCH}.manifest.json"])

    shown = capsys.readouterr().out
    assert "a.csv.sealed  native  6,000 bytes" in shown
    assert "the signature was not checked" in shown


def test_keys_check_tells_a_good_certificate_from_a_bad_file(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys_main(["check", "partner.pem"]) == 0
    assert keys_main(["check", "partner.key"]) == 1

    shown = capsys.readouterr().out
    assert "It can be used." in shown
    assert "error: this is a private key, not a certificate\nhint: " in shown


def test_a_key_with_a_password_is_opened_by_the_environment_or_by_asking(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("locked.key").write_bytes(private_pem(rsa_key(), b"secret"))

    monkeypatch.setenv("SEALIFT_KEY_PASSWORD", "secret")
    assert sealing.load_private_key(Path("locked.key")).key_size == 3072
    monkeypatch.delenv("SEALIFT_KEY_PASSWORD")
    monkeypatch.setattr("getpass.getpass", lambda _: "secret")
    assert sealing.load_private_key(Path("locked.key")).key_size == 3072
    monkeypatch.setenv("SEALIFT_KEY_PASSWORD", "wrong")
    with pytest.raises(FileProblem, match="password is wrong"):
        sealing.load_private_key(Path("locked.key"))


def test_keys_check_answers_programs(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys_main(["check", "partner.key", "--json"]) == 1

    found = json.loads(capsys.readouterr().out)
    assert found["usable"] is False
    assert found["problems"][0]["grave"] is True
    assert "PRIVATE" not in json.dumps(found)


def test_progress_is_shown_on_a_terminal_for_large_files(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sealing, "SHOW_PROGRESS_FROM_BYTES", 1000)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    assert seal_main(["a.csv", "--to", "partner.pem", "--out", "out"]) == 0
    assert open_main(["out/a.csv.sealed", "--key", "partner.key", "--out", "opened.csv"]) == 0

    assert Path("opened.csv").read_bytes() == Path("a.csv").read_bytes()


@pytest.fixture
def vault(
    desk: Path,
    authority: CertificateAuthority,
    identity: IdentityEndpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[KeyVault]:
    with KeyVault(authority, identity, folder=desk / "vault") as service:
        service.allow("operator", secrets=["*"], write=True)
        for name, value in (
            authority.environment | identity.environment("operator") | {"KEY_VAULT_URL": service.url}
        ).items():
            monkeypatch.setenv(name, value)
        yield service


def test_a_certificate_is_imported_beside_the_present_one_and_checked_in_the_vault(
    vault: KeyVault, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("next.pem").write_bytes(pem(make_certificate(rsa_key("next"), first_day=-1, last_day=36500)))
    with pytest.raises(SecretMissing):
        keys_main(["check", "northwind-certificate"])

    assert keys_main(["import", "northwind", "partner.pem"]) == 0
    assert keys_main(["import", "northwind", "next.pem"]) == 0
    assert keys_main(["import", "northwind", "next.pem"]) == 0
    assert keys_main(["check", "northwind-certificate"]) == 0

    assert "This is 2 PEM certificates." in capsys.readouterr().out


def test_a_certificate_goes_into_the_secret_that_the_partner_s_file_names(
    vault: KeyVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("partners")
    folder.mkdir()
    text = (FOLDER / "northwind.yaml").read_text()
    (folder / "northwind.yaml").write_text(text.replace("certificate: northwind-certificate", "certificate: nw-2026"))
    monkeypatch.setattr("cli.keys.FOLDER", folder)

    assert keys_main(["import", "northwind", "partner.pem"]) == 0

    assert keys_main(["check", "nw-2026"]) == 0


def test_a_certificate_takes_the_place_of_a_placeholder_and_the_vault_knows_its_end(vault: KeyVault) -> None:
    with SecretClient(vault.url, DefaultAzureCredential()) as client:
        client.set_secret("northwind-certificate", "placeholder", enabled=False)

    assert keys_main(["import", "northwind", "partner.pem"]) == 0

    stored = vault.store.secret("northwind-certificate", None)
    certificate = load_pem_x509_certificate(Path("partner.pem").read_bytes())
    assert stored.attributes["exp"] == int(certificate.not_valid_after_utc.timestamp())


def test_import_replaces_when_told_and_drops_what_has_ended(
    vault: KeyVault, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = make_certificate(first_day=-9999, last_day=-5000)
    vault.set_secret("northwind-certificate", pem(ended, make_certificate(rsa_key("next"), last_day=36500)).decode())

    assert keys_main(["import", "northwind", "partner.pem"]) == 0
    assert "now holds 2 certificate(s)" in capsys.readouterr().out
    assert keys_main(["import", "northwind", "partner.pem", "--replace"]) == 0
    assert "now holds 1 certificate(s)" in capsys.readouterr().out


def test_of_a_chain_only_the_partner_s_own_certificate_is_imported(
    vault: KeyVault, capsys: pytest.CaptureFixture[str]
) -> None:
    leaf = make_certificate(issuer="authority", first_day=-9999, last_day=36500)
    Path("chain.pem").write_bytes(pem(leaf, make_certificate(owner="authority", usage=None, last_day=36500)))

    assert keys_main(["check", "chain.pem"]) == 0
    assert "certificate 'CN=authority' is an issuer's, not the partner's" in capsys.readouterr().out
    assert keys_main(["import", "northwind", "chain.pem"]) == 0

    assert "now holds 1 certificate(s)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "present", [{"owner": "other"}, {"owner": "other", "issuer": "partner"}, {"owner": "other", "authority": False}]
)
def test_a_certificate_that_would_never_be_used_beside_the_present_one_is_not_imported(
    vault: KeyVault, present: dict[str, Any]
) -> None:
    Path("new.pem").write_bytes(pem(make_certificate(authority=True, first_day=-9999, last_day=36500)))
    vault.set_secret("northwind-certificate", pem(make_certificate(**present, last_day=36500)).decode())

    with pytest.raises(SeveralOwners) as caught:
        keys_main(["import", "northwind", "new.pem"])

    assert "--replace" in caught.value.hint
    assert keys_main(["import", "northwind", "new.pem", "--replace"]) == 0


def test_a_certificate_that_cannot_be_used_is_not_imported(vault: KeyVault, capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.pem").write_bytes(pem(make_certificate(rsa_key("small", 2048), last_day=36500)))

    assert keys_main(["import", "northwind", "small.pem"]) == 1
    assert keys_main(["import", "northwind", "partner.key"]) == 1

    assert "2048 bits" in capsys.readouterr().out
    with pytest.raises(EncryptionError):
        keys_main(["check", "northwind-certificate"])
