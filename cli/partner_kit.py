"""Assemble the kit that one partner receives: openers, specification, vectors, our verification key, a test batch."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from cli.batch_folder import FileProblem, verify_batch
from cli.seal import seal_file, write_manifest
from encryption import OpenPgp, Smime, load_verification_key
from encryption.openpgp import own_certificate
from encryption.wrapping import Receiver

ROOT = Path(__file__).resolve().parent.parent
SENDER = "sender.pem"
OPENPGP_SENDER, OPENPGP_USER_ID, SMIME_SENDER = "sealift.pgp.asc", "Sealift", "sealift.smime.pem"
NOT_FOR_PARTNERS = shutil.ignore_patterns("*.py", "__pycache__", "wycheproof")
OPENERS = ("README.md", "OPENPGP.md", "SMIME.md", "open.py", "open.mjs", "Open.java", "open-detached.sh", "open-cms.sh")


def assemble_kit(
    partner: str,
    verification_pem: bytes,
    out: Path,
    *,
    now: datetime,
    recipients: Sequence[Receiver] = (),
    sign: Callable[[bytes], bytes] | None = None,
    signing_key: str = "sealift-signing",
    formats: Sequence[str | OpenPgp | Smime] = ("native",),
) -> list[Path]:
    """Write the kit into the new folder `out` and return its files.

    `verification_pem` is our certificate or public key. With `recipients` (the partner's certificate) and `sign` (Key
    Vault's, over the manifest's bytes) the kit holds a test batch for each of `formats`, which the partner opens first; for
    signed OpenPGP and S/MIME files our certificate too.
    Raises FileProblem, SignatureInvalid for a verification key that cannot verify, and what sealing raises.
    """
    verification_key = load_verification_key(verification_pem)
    if out.exists() and any(out.iterdir()):
        raise FileProblem(f"{out} is not empty", "choose a new folder for the kit")
    out.mkdir(parents=True, exist_ok=True)
    for name in OPENERS:
        shutil.copy(ROOT / "partner_kit" / name, out / name)
    shutil.copy(ROOT / "docs" / "FORMAT.md", out / "FORMAT.md")
    shutil.copytree(ROOT / "tests" / "vectors", out / "vectors", ignore=NOT_FOR_PARTNERS)
    (out / SENDER).write_bytes(verification_pem)
    if recipients and sign:
        for kind in formats:
            folder = out / "test-batch" / _name(kind)
            if isinstance(kind, OpenPgp) and kind.signer:
                (out / OPENPGP_SENDER).write_bytes(own_certificate(kind.signer, OPENPGP_USER_ID))
            if isinstance(kind, Smime) and kind.signer:
                (out / SMIME_SENDER).write_bytes(kind.signer.certificate.public_bytes(serialization.Encoding.PEM))
            _seal_test_batch(partner, folder, list(recipients), sign, signing_key, kind, now)
            verify_batch(folder, verification_key)
    return sorted(path for path in out.rglob("*") if path.is_file())


def fingerprint(verification_pem: bytes) -> str:
    """Return what the partner compares before it trusts `sender.pem`: the SHA-256 of our public key in DER, as hex."""
    key = load_verification_key(verification_pem)
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(encoding, form)).hexdigest()


def _name(kind: str | OpenPgp | Smime) -> str:
    return kind if isinstance(kind, str) else "openpgp" if isinstance(kind, OpenPgp) else "smime"


def _seal_test_batch(
    partner: str,
    folder: Path,
    recipients: list[Receiver],
    sign: Callable[[bytes], bytes],
    signing_key: str,
    kind: str | OpenPgp | Smime,
    now: datetime,
) -> None:
    folder.mkdir(parents=True)
    batch = f"{partner}.kit-test.{now:%Y-%m-%d}.1"
    plaintext = folder / "hello.txt"
    plaintext.write_text(
        f"Dear {partner}, you opened this file in the format {_name(kind)}. All is well.\n", encoding="utf-8"
    )
    sealed = seal_file(plaintext, folder, recipients, kind, batch, now)
    plaintext.unlink()
    write_manifest(folder, batch, [sealed], sign, now, signing_key)
