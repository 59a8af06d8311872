"""Plays a partner who takes signed S/MIME files alone: opens what arrived with openssl, as partner_kit/SMIME.md says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from local.partner import CannotUse, Opened, PartnerHome, look_at

_FORMS = {b"-": "PEM", b"M": "SMIME"}


def open_signed(files: list[Path], partner: PartnerHome, sender: bytes, out: Path) -> list[Opened]:
    """Decrypt the files into `out` and verify that each is the sender's, by its certificate (PEM). Raises CannotUse."""
    if shutil.which("openssl") is None:
        raise CannotUse("openssl is not installed, with which S/MIME files are opened here", "install openssl")
    out.mkdir(parents=True, exist_ok=True)
    key, certificate = partner.key_file(), partner.folder / "sealift.smime.pem"
    certificate.write_bytes(sender)
    return [_open(file, key, certificate, out / file.name.removesuffix(".p7m")) for file in files]


def _open(file: Path, key: Path, certificate: Path, target: Path) -> Opened:
    signed = target.with_name(f"{target.name}.signed")
    with file.open("rb") as sealed:
        form = _FORMS.get(sealed.read(1), "DER")
    try:
        _openssl("-decrypt", "-inform", form, "-in", file, "-inkey", key, "-out", signed)
        _openssl("-verify", "-binary", "-inform", "DER", "-in", signed, "-CAfile", certificate, "-out", target)
    except CannotUse:
        target.unlink(missing_ok=True)
        raise
    finally:
        signed.unlink(missing_ok=True)
    return look_at(target)


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", "cms", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotUse(f"openssl cms {arguments[0]}: {done.stderr.strip()}", "see what it says above")
