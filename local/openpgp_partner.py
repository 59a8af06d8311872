"""Plays a partner who takes PGP files: opens what arrived with gpg where it is installed, else with `openpgp_desk`.

gpg has a home of its own in the partner's folder, is called as partner_kit/OPENPGP.md says, and its agent is stopped.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from local.openpgp_desk import Desk, NotOpened, sender_of
from local.partner import CannotUse, Opened, look_at

_HINT = "see what it says above"


def program() -> str:
    """Return what opens the files on this machine, as people know it."""
    gpg = shutil.which("gpg")
    if gpg is None:
        return "the demo's own OpenPGP reader, as gpg is not installed"
    told = subprocess.run([gpg, "--version"], capture_output=True, text=True, check=True).stdout
    return f"gpg {told.split()[2]}"


def open_messages(messages: list[Path], desk: Desk, sender: bytes, out: Path) -> list[Opened]:
    """Decrypt the messages into `out` and verify that each is the sender's, by its armoured certificate. Raises CannotUse."""
    out.mkdir(parents=True, exist_ok=True)
    if shutil.which("gpg"):
        return _by_gpg(messages, desk, sender, out)
    return [_by_desk(message, desk, sender, out) for message in messages]


def _by_desk(message: Path, desk: Desk, sender: bytes, out: Path) -> Opened:
    try:
        opened = desk.open(message.read_bytes(), sender_of(sender)[1])
    except NotOpened as error:
        raise CannotUse(f"{message.name} cannot be opened: {error}", _HINT) from error
    path = out / opened.name
    path.write_bytes(opened.content)
    return look_at(path)


def _by_gpg(messages: list[Path], desk: Desk, sender: bytes, out: Path) -> list[Opened]:
    home = out.parent / "gnupg"
    home.mkdir(mode=0o700, exist_ok=True)
    try:
        for key in (desk.secret(), sender):
            _gpg(home, "--import", content=key)
        fingerprint, _ = sender_of(sender)
        return [_decrypt(home, message, fingerprint, out) for message in messages]
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], capture_output=True, check=False)


def _decrypt(home: Path, message: Path, fingerprint: str, out: Path) -> Opened:
    path = out / message.with_suffix("").name
    status = _gpg(home, "--yes", "--output", str(path), "--decrypt", str(message))
    if not any(line.startswith("[GNUPG:] VALIDSIG ") and fingerprint in line for line in status.splitlines()):
        path.unlink(missing_ok=True)
        raise CannotUse(f"{message.name} is not signed by the sender", _HINT)
    return look_at(path)


def _gpg(home: Path, *arguments: str, content: bytes | None = None) -> str:
    """Run gpg without questions and return its status lines. Raises CannotUse."""
    command = ["gpg", "--homedir", str(home), "--batch", "--trust-model", "always", "--status-fd", "1", *arguments]
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    if done.returncode:
        raise CannotUse(f"gpg {arguments[0]}: {done.stderr.decode(errors='replace').strip()}", _HINT)
    return done.stdout.decode(errors="replace")
