"""`./sealift partner new`: from a real server's host key and a table of the marts to a file that lint takes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli import partner_new
from cli.console import CommandFailed
from cli.partner_lint import lint
from delivery.connection import shown_host_key
from local.openpgp_desk import Desk
from local.sftp import PartnerSftp
from partners.loading import read_partner


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartnerSftp]:
    with PartnerSftp(tmp_path_factory.mktemp("sftp")) as sftp:
        yield sftp


def flags(server: PartnerSftp, *more: str, name: str = "harbour") -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    partner_new.add_verb(parser.add_subparsers(dest="verb"))
    known = ["--title", "Harbour Bank", "--zone", "Europe/Lisbon", "--host", server.host, "--port", str(server.port)]
    known += ["--user", "sealift", "--table", "marts.partner_daily_accruals"]
    return parser.parse_args(["new", name, *known, *more])


def fingerprint(server: PartnerSftp) -> str:
    return shown_host_key(server.host, server.port).sha256


def test_flags_alone_make_a_file_that_lint_takes(
    server: PartnerSftp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = partner_new.run(flags(server, "--host-key", fingerprint(server), "--opens-with", "openssl"), tmp_path)

    partner = read_partner(tmp_path / "harbour.yaml")
    assert code == 0
    assert partner.sftp.host_keys == [shown_host_key(server.host, server.port).line]
    feed = partner.feeds["daily"]
    assert (feed.format, feed.where, feed.business_date) == ("cms", {"partner_code": "HARBOUR"}, "business_date")
    assert {column.name: column.type for column in feed.columns}["amount"] == "decimal"
    assert lint(tmp_path) == 0
    said = capsys.readouterr().out
    assert "what is left" in said
    assert "./sealift partner preview harbour daily" in said


def test_answers_are_asked_for_and_a_wrong_choice_is_asked_again(server: PartnerSftp, tmp_path: Path) -> None:
    asked: list[str] = []
    wrong = iter(["windoze"])

    def ask(text: str) -> str:
        asked.append(text)
        if text.startswith("What does it open"):
            return next(wrong, "windows")
        return "yes" if "telephone" in text else ""

    partner_new.run(flags(server), tmp_path, ask)

    assert read_partner(tmp_path / "harbour.yaml").feeds["daily"].format == "smime"
    assert sum(text.startswith("What does it open") for text in asked) == 2
    assert not any(text.startswith("Its SFTP server") for text in asked), "what a flag says is not asked"


def test_an_openpgp_key_decides_the_format(server: PartnerSftp, tmp_path: Path) -> None:
    key = tmp_path / "key.pgp"
    key.write_bytes(Desk.make("Harbour <files@harbour.test>", datetime(2026, 1, 2, tzinfo=UTC)).certificate())

    partner_new.run(flags(server, "--host-key", fingerprint(server), "--certificate", str(key)), tmp_path)

    assert read_partner(tmp_path / "harbour.yaml").feeds["daily"].format == "openpgp"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--host-key", "SHA256:abc"), ", not SHA256:abc"),
        ((), "the host key was not compared"),
        (("--columns", "amonut"), "has no column 'amonut'"),
        (("--zone", "Europe/Lisbonne"), "the answers make no valid file"),
    ],
)
def test_what_does_not_fit_writes_nothing(
    server: PartnerSftp, tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    pin = () if said.startswith(("and not", "the host key")) else ("--host-key", fingerprint(server))

    with pytest.raises(CommandFailed, match=said) as caught:
        partner_new.run(flags(server, *pin, *more), tmp_path)

    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_person_who_has_not_compared_pins_nothing(server: PartnerSftp, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="not compared"):
        partner_new.run(flags(server), tmp_path, lambda text: "no" if "telephone" in text else "")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_never_touched(server: PartnerSftp, tmp_path: Path) -> None:
    (tmp_path / "harbour.yaml").write_text("mine")

    with pytest.raises(CommandFailed, match="exists"):
        partner_new.run(flags(server, "--host-key", fingerprint(server)), tmp_path)
    assert (tmp_path / "harbour.yaml").read_text() == "mine"


@pytest.mark.parametrize("name", ["Harbour", "a", "../x", "har bour"])
def test_a_bad_name_is_refused(server: PartnerSftp, tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandFailed, match="is not a name for a partner"):
        partner_new.run(flags(server, name=name), tmp_path)


def test_a_private_key_sent_by_mistake_is_refused(server: PartnerSftp, tmp_path: Path) -> None:
    key = Path(__file__).resolve().parents[1] / "vectors" / "keys" / "partner.pgp.asc"

    with pytest.raises(CommandFailed, match="private key"):
        partner_new.run(flags(server, "--host-key", fingerprint(server), "--certificate", str(key)), tmp_path)
