"""Plays a partner: its server, its key, and the day it opens what arrived and compares it with the mart.

Uses nothing of the sealing code: `partner_kit/open.py` runs as the partner would run it, in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from local.openpgp_desk import Desk
from local.sftp import PartnerSftp
from local.wire.processes import ServiceError

ROOT = Path(__file__).resolve().parent.parent

Row = tuple[Any, ...]


class CannotUse(ServiceError):
    """The partner cannot use what arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One file as the partner holds it, opened."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerHome:
    """One partner with its server and its private key; `folder` is its own disk, `inboxes` the server's folder of each feed.

    `desk` are the OpenPGP keys of a partner who takes PGP files.
    """

    name: str
    inboxes: dict[str, str]
    folder: Path
    server: PartnerSftp
    key: rsa.RSAPrivateKey = field(repr=False)
    desk: Desk | None = field(default=None, repr=False)

    @property
    def inbox(self) -> Path:
        """Return the folder into which the first feed's files are delivered, on this machine's disk."""
        return self.inbox_of(next(iter(self.inboxes)))

    def inbox_of(self, feed: str) -> Path:
        """Return the folder into which a feed's files are delivered, on this machine's disk."""
        return self.server.root / self.inboxes[feed].lstrip("/")

    def certificate(self) -> bytes:
        """Return the public half that the partner hands out for receiving files: in PEM, or armoured OpenPGP."""
        if self.desk is not None:
            return self.desk.certificate()
        return self_signed(self.key, self.name).public_bytes(serialization.Encoding.PEM)

    def key_file(self) -> Path:
        """Write the private key where the partner's programs read it, and return its path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.name}.key"
        path.touch(mode=0o600)
        form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path.write_bytes(self.key.private_bytes(serialization.Encoding.PEM, form, none))
        return path

    def open_batch(self, batch: str, sender: bytes, out: Path) -> list[Opened]:
        """Verify a batch of the inbox with the sender's certificate (PEM) and open it into `out`. Raises CannotUse."""
        key, certificate = self.key_file(), self.folder / "sealift.pem"
        certificate.write_bytes(sender)
        inbox = self.inbox_of(batch.split(".")[1])
        command = [sys.executable, str(ROOT / "partner_kit" / "open.py"), str(inbox), "--batch", batch]
        command += ["--key", str(key), "--sender", str(certificate), "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotUse(f"{self.name} cannot open {batch}: {done.stderr.strip()}", "see the lines above")
        manifest = json.loads((inbox / f"{batch}.manifest.json").read_bytes())
        return [look_at(out / file["name"]) for file in manifest["files"]]


def self_signed(
    key: rsa.RSAPrivateKey, name: str, *, starts: datetime | None = None, ends: datetime | None = None
) -> x509.Certificate:
    """Return a certificate as a partner makes one for receiving files: key encipherment only, one year."""
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = {
        "digital_signature": False,
        "content_commitment": False,
        "key_encipherment": True,
        "data_encipherment": False,
        "key_agreement": False,
        "key_cert_sign": False,
        "crl_sign": False,
        "encipher_only": False,
        "decipher_only": False,
    }
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts or now - timedelta(days=1))
        .not_valid_after(ends or now + timedelta(days=365))
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .sign(key, hashes.SHA256())
    )


def expected_file(
    dsn: str, partner: str, feed: str, business_date: date, last: date | None = None
) -> tuple[int, str] | None:
    """Return rows and SHA-256 of the file that the mart should have become, written here by other code than Data Factory's.

    The file holds one business date, or those up to `last`. None for a feed that is not one of the examples: how its file
    should look, only its author knows.
    """
    if (partner, feed) not in _FILES:
        return None
    header, write = _FILES[partner, feed]
    digest = hashlib.sha256(header.encode())
    rows = 0
    query = (
        "SELECT transaction_id, member_number, merchant_number, transaction_at, amount, currency, points, business_date"
        " FROM marts.partner_daily_accruals WHERE partner_code = %s AND business_date BETWEEN %s AND %s"
        ' ORDER BY transaction_id COLLATE "C"'
    )
    with psycopg.connect(dsn) as connection, connection.cursor("expected") as cursor:
        cursor.itersize = 10_000
        for row in cursor.execute(query, [partner.upper(), business_date, last or business_date]):
            digest.update(write(row).encode())
            rows += 1
    return rows, digest.hexdigest()


def _northwind(row: Row) -> str:
    transaction, member, merchant, at, amount, currency, points, _ = row
    instant = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{transaction}|{member}|{merchant}|{instant}|{amount:.2f}|{currency}|{points}\n"


def _cedarway(row: Row) -> str:
    transaction, member, _, _, amount, currency, _, day = row
    return f'"{transaction}";"{member}";"{day:%Y-%m-%d}";"{amount:.2f}";"{currency}"\r\n'


def _tidewater(row: Row) -> str:
    transaction, member, *_, points, _ = row
    return f"{transaction},{member},{points}\n"


_FILES: dict[tuple[str, str], tuple[str, Callable[[Row], str]]] = {
    ("northwind", "accruals"): (
        "transaction_id|member_number|merchant_number|transaction_at|amount|currency|points\n",
        _northwind,
    ),
    ("tidewater", "points"): ("transaction_id,member_number,points\n", _tidewater),
    ("cedarway", "purchases"): ('"transaction_id";"member_number";"business_date";"amount";"currency"\r\n', _cedarway),
}


def look_at(path: Path) -> Opened:
    """Return what a file is, by its name, length and hash."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return Opened(name=path.name, size_bytes=path.stat().st_size, sha256=digest.hexdigest())
