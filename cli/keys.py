"""`./sealift keys`: what a key file or vault secret is, a partner's certificate into the vault, our own out of it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes, serialization

from batches.sealing_formats import openpgp_signing_key, smime_signing_key
from cli.batch_folder import FileProblem, writing
from cli.seal import openpgp_signer, read_file, smime_signer
from encryption.certificates import own_certificates, read_certificates, subject_of
from encryption.diagnosis import Diagnosis
from encryption.doctor import diagnose
from encryption.errors import SecretMissing, SeveralOwners
from encryption.openpgp import grouped, is_openpgp, own_certificate
from encryption.openpgp.doctor import add_to
from partners import UnknownPartner, load_partner
from partners.loading import FOLDER

if TYPE_CHECKING:
    from encryption.vault import Vault


def main(argv: list[str]) -> int:
    """`./sealift keys`."""
    parser = argparse.ArgumentParser(
        "sealift keys", description="Look at a partner's certificate, and put it into the vault."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="check | import | export")
    check = verbs.add_parser("check", help="say what a file or vault secret is, and what to do about it")
    check.add_argument("source", metavar="FILE|SECRET", help="a file, or a secret of the vault of KEY_VAULT_URL")
    check.add_argument("--json", action="store_true", help="print what was found as JSON")
    add = verbs.add_parser(
        "import", help="check a certificate and store it as the secret that the partner's file names"
    )
    add.add_argument("partner", metavar="NAME", help="the partner")
    add.add_argument("file", type=Path, metavar="FILE", help="the certificate that it sent")
    add.add_argument("--replace", action="store_true", help="do not keep the certificates that the secret holds now")
    give = verbs.add_parser("export", help="write our own certificate, which partners verify our files with")
    kind = give.add_mutually_exclusive_group(required=True)
    kind.add_argument("--openpgp", action="store_true", help="in OpenPGP's form, armoured")
    kind.add_argument("--smime", action="store_true", help="in X.509's form, PEM")
    names = f"{openpgp_signing_key()} or {smime_signing_key()}"
    give.add_argument("--key", default=None, metavar="NAME", help=f"the vault's key (default: {names})")
    give.add_argument("--sign-key", type=Path, metavar="KEY.pem", help="a private key of this machine instead")
    give.add_argument(
        "--user-id", default="Sealift", metavar="TEXT", help="OpenPGP: such as 'Acme <files@acme.example>'"
    )
    give.add_argument("--out", type=Path, metavar="FILE", help="default: sealift.pgp.asc or sealift.smime.pem")
    arguments = parser.parse_args(argv)
    if arguments.verb == "export":
        return _export(arguments)
    if arguments.verb == "import":
        return _import(arguments.partner, arguments.file, replace=arguments.replace)
    path = Path(arguments.source)
    if not path.is_file() and "KEY_VAULT_URL" not in os.environ:
        raise FileProblem(f"{path} is not a file", "for a secret, set KEY_VAULT_URL to the vault's address")
    found = diagnose(read_file(path) if path.is_file() else _secret(arguments.source), datetime.now(UTC))
    if arguments.json:
        print(json.dumps(_as_json(found), indent=2))
    else:
        _print_diagnosis(found)
    return 0 if found.is_usable else 1


def _as_json(found: Diagnosis) -> dict[str, Any]:
    problems = [{"text": each.text, "fix": each.fix, "grave": each.grave} for each in found.problems]
    return {"kind": found.kind, "usable": found.is_usable, "facts": dict(found.facts), "problems": problems}


def _export(arguments: argparse.Namespace) -> int:
    """Write our certificate and print its fingerprint, which partners compare by telephone."""
    make = _smime_certificate if arguments.smime else _openpgp_certificate
    certificate, fingerprint = make(arguments)
    out = arguments.out or Path("sealift.smime.pem" if arguments.smime else "sealift.pgp.asc")
    with writing(out) as sink:
        sink.write(certificate)
    print(f"wrote {out}: send it to the partner, and read out the fingerprint by telephone")
    print(f"  {fingerprint}")
    return 0


def _openpgp_certificate(arguments: argparse.Namespace) -> tuple[bytes, str]:
    with _vault_unless(arguments.sign_key) as vault:
        key_name = arguments.key or openpgp_signing_key()
        signer = vault.openpgp_signer(key_name) if vault else openpgp_signer(arguments.sign_key)
        certificate = own_certificate(signer, arguments.user_id)
    return certificate, f"fingerprint {grouped(signer.key.fingerprint.hex().upper())}"


def _smime_certificate(arguments: argparse.Namespace) -> tuple[bytes, str]:
    with _vault_unless(arguments.sign_key) as vault:
        key_name = arguments.key or smime_signing_key()
        signer = vault.smime_signer(key_name) if vault else smime_signer(arguments.sign_key)
    certificate = signer.certificate
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return pem, f"SHA-256 {certificate.fingerprint(hashes.SHA256()).hex(':').upper()}"


@contextmanager
def _vault_unless(key_of_this_machine: Path | None) -> Iterator[Vault | None]:
    """Give the vault that the environment names, or None where a private key of this machine is used instead."""
    if key_of_this_machine:
        yield None
        return
    from azure.identity import DefaultAzureCredential

    from encryption.vault import Vault

    if "KEY_VAULT_URL" not in os.environ:
        raise FileProblem("KEY_VAULT_URL is not set", "set it to the vault's address and log in with `az login`")
    vault = Vault(os.environ["KEY_VAULT_URL"], DefaultAzureCredential())
    try:
        yield vault
    finally:
        vault.close()


def _print_diagnosis(found: Diagnosis) -> None:
    print(f"This is {found.kind}.")
    for name, value in found.facts:
        print(f"  {name:<11} {value}")
    for problem in found.problems:
        print(f"{'error' if problem.grave else 'note'}: {problem.text}\nhint: {problem.fix}")
    if not found.problems:
        print("It can be used.")


def _secret(name: str) -> bytes:
    from azure.identity import DefaultAzureCredential

    from encryption.vault import Vault

    vault = Vault(os.environ["KEY_VAULT_URL"], DefaultAzureCredential())
    try:
        return vault.certificate_pem(name)[0]
    finally:
        vault.close()


def _import(partner: str, path: Path, *, replace: bool) -> int:
    """Add a certificate to the partner's secret; those that still count stay, so that old and new key overlap."""
    from azure.identity import DefaultAzureCredential
    from azure.keyvault.secrets import SecretClient

    now, name = datetime.now(UTC), _secret_of(partner)
    found = diagnose(read_file(path), now)
    if found.pem is None or not diagnose(found.pem, now).is_usable:
        _print_diagnosis(found)
        return 1
    if "KEY_VAULT_URL" not in os.environ:
        raise FileProblem("KEY_VAULT_URL is not set", "set it to the vault's address and log in with `az login`")
    if is_openpgp(found.pem):
        return _import_openpgp(name, found.pem, now, replace=replace)
    new = own_certificates(read_certificates(found.pem))
    certificates = list(new)
    if not replace:
        with suppress(SecretMissing):
            certificates += [each for each in read_certificates(_secret(name)) if each not in certificates]
    # A certificate that is in the secret already may make the new one an issuer, or be of another name: say so now, not at night.
    own = own_certificates(certificates)
    if missing := [each for each in new if each not in own]:
        raise SeveralOwners(f"beside what the secret {name} holds, '{subject_of(missing[0])}' would never be used")
    certificates = own
    kept = [each for each in certificates if each.not_valid_after_utc > now]
    pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in kept)
    with SecretClient(os.environ["KEY_VAULT_URL"], DefaultAzureCredential()) as client:
        ends = max(each.not_valid_after_utc for each in kept)  # the vault warns 30 days ahead
        client.set_secret(name, pem.decode(), content_type="application/x-pem-file", expires_on=ends)
    print(f"the secret {name} now holds {len(kept)} certificate(s); the newest valid one is used from the next file on")
    return 0


def _secret_of(partner: str) -> str:
    """Return the secret that a partner's file names for its certificate; NAME-certificate before there is a file."""
    try:
        return load_partner(partner, folder=FOLDER).certificate
    except UnknownPartner:
        return f"{partner}-certificate"


def _import_openpgp(name: str, new: bytes, now: datetime, *, replace: bool) -> int:
    """Add an OpenPGP certificate to a secret, beside those in it that are still of use."""
    from azure.identity import DefaultAzureCredential
    from azure.keyvault.secrets import SecretClient

    present = None
    if not replace:
        with suppress(SecretMissing):
            present = _secret(name)
    text = add_to(present, new, now)
    if not (found := diagnose(text, now)).is_usable:
        _print_diagnosis(found)
        return 1
    with SecretClient(os.environ["KEY_VAULT_URL"], DefaultAzureCredential()) as client:
        client.set_secret(name, text.decode(), content_type="application/pgp-keys")
    print(f"the secret {name} now holds {found.kind}; the newest usable one is used from the next file on")
    return 0
