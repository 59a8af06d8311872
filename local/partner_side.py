"""Plays the partner: takes what arrived on its server, opens it with its own key and the kit, and compares it with the mart.

Uses nothing of the sealing code: `partner_kit/open.py` runs as the partner would run it, in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date
from pathlib import Path

import psycopg
from cryptography.hazmat.primitives import serialization

from local.stack import ROOT, Stack

HEADER = "transaction_id|member_number|merchant_number|transaction_at|amount|currency|points"


class PartnerSideError(Exception):
    """The partner cannot use what arrived; `hint` is the mend."""

    status = 500

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One file as the partner holds it, opened."""

    name: str
    rows: int
    size_bytes: int
    sha256: str


def open_batch(stack: Stack, batch: str, out: Path) -> list[Opened]:
    """Verify and open one batch of the partner's inbox into `out`. Raises PartnerSideError."""
    home = stack.folder / "partner"
    home.mkdir(exist_ok=True)
    key, certificate = home / "northwind.key", home / "sealift.pem"
    key.touch(mode=0o600)
    key.write_bytes(
        stack.partner_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    certificate.write_bytes(stack.verification_certificate())
    inbox = stack.sftp.root / "inbox"
    manifest = inbox / f"{batch}.manifest.json"
    command = [sys.executable, str(ROOT / "partner_kit" / "open.py"), str(inbox), "--batch", batch]
    command += ["--key", str(key), "--sender", str(certificate), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PartnerSideError(f"the partner cannot open {batch}: {done.stderr.strip()}", "see the lines above")
    return [_look_at(out / file["name"]) for file in json.loads(manifest.read_bytes())["files"]]


def expected_file(dsn: str, business_date: date) -> tuple[int, str]:
    """Return rows and SHA-256 of the file that the mart should have become, written here by other code than Data Factory's."""
    digest = hashlib.sha256(f"{HEADER}\n".encode())
    rows = 0
    query = (
        "SELECT transaction_id, member_number, merchant_number, transaction_at, amount, currency, points"
        " FROM marts.partner_daily_accruals WHERE partner_code = 'NORTHWIND' AND business_date = %s"
        ' ORDER BY transaction_id COLLATE "C"'
    )
    with psycopg.connect(dsn) as connection, connection.cursor("expected") as cursor:
        cursor.itersize = 10_000
        for transaction, member, merchant, at, amount, currency, points in cursor.execute(query, [business_date]):
            instant = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            digest.update(f"{transaction}|{member}|{merchant}|{instant}|{amount:.2f}|{currency}|{points}\n".encode())
            rows += 1
    return rows, digest.hexdigest()


def _look_at(path: Path) -> Opened:
    digest, lines = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
            lines += data.count(b"\n")
    return Opened(name=path.name, rows=lines - 1, size_bytes=path.stat().st_size, sha256=digest.hexdigest())
