"""The partner of the demo that takes signed S/MIME files alone opens them with openssl, and believes no other signer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from encryption_support import file_info, pem, rsa_key, smime_signer

from encryption import Recipient, Smime, seal
from local.partner import CannotUse, PartnerHome, self_signed
from local.sftp import PartnerSftp
from local.smime_partner import open_signed

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
CONTENT = b"id;amount\r\n1;2.50\r\n"


@pytest.fixture
def partner(tmp_path: Path) -> PartnerHome:
    server = PartnerSftp(tmp_path / "sftp")
    return PartnerHome(name="acme", inboxes={"one": "/"}, folder=tmp_path / "acme", server=server, key=rsa_key())


def arrived(folder: Path, armour: str, signed: bool = True) -> Path:
    wish = Smime(signer=smime_signer() if signed else None, armour=armour)  # type: ignore[arg-type]  # a word of the list below
    recipient = Recipient("acme", self_signed(rsa_key(), "acme"))
    sealing = seal([CONTENT], file=file_info(len(CONTENT)), recipients=[recipient], format=wish)
    path = folder / sealing.sealed_name
    path.write_bytes(b"".join(sealing))
    return path


@pytest.mark.parametrize("armour", ["none", "pem", "mime"])
def test_a_signed_file_is_opened_and_counted(partner: PartnerHome, tmp_path: Path, armour: str) -> None:
    (opened,) = open_signed([arrived(tmp_path, armour)], partner, pem(smime_signer().certificate), tmp_path / "out")

    assert (opened.name, opened.size_bytes) == ("a.csv", len(CONTENT))
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["a.csv"]


@pytest.mark.parametrize("signed", [True, False])
def test_a_file_that_the_sender_did_not_sign_leaves_nothing(partner: PartnerHome, tmp_path: Path, signed: bool) -> None:
    stranger = pem(self_signed(rsa_key("stranger"), "stranger"))
    sender = stranger if signed else pem(smime_signer().certificate)

    with pytest.raises(CannotUse, match="openssl cms -verify"):
        open_signed([arrived(tmp_path, "none", signed)], partner, sender, tmp_path / "out")

    assert list((tmp_path / "out").iterdir()) == []
