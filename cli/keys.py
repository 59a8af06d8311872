"""`./sealift keys`: what a key file or vault secret is, a partner's certificate into the vault, our OpenPGP key out of it."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from batches.openpgp import openpgp_signing_key
from cli.batch_folder import FileProblem, writing
from cli.seal import openpgp_signer, read_file
from encryption.certificates import own_certificates, read_certificates, subject_of
from encryption.diagnosis import Diagnosis
from encryption.doctor import diagnose
from encryption.errors import SecretMissing, SeveralOwners
from encryption.openpgp import Signer, grouped, is_openpgp, own_certificate
from encryption.openpgp.doctor import add_to


def main(argv: list[str]) -> int:
    """`./sealift keys`."""
    parser = argparse.ArgumentParser(
        "sealift keys", description="Look at a partner's certificate, and put it into the vault."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="check | import | export")
    check = verbs.add_parser("check", help="say what a file or vault secret is, and what to do about it")
    check.add_argument("source", metavar="FILE|SECRET")
    add = verbs.add_parser("import", help="check a certificate and store it as the secret NAME-certificate")
    add.add_argument("partner", metavar="NAME")
    add.add_argument("file", type=Path, metavar="FILE")
    add.add_argument("--replace", action="store_true", help="do not keep the certificates that the secret holds now")
    give = verbs.add_parser("export", help="write our own OpenPGP certificate, which partners verify our files with")
    give.add_argument("--openpgp", action="store_true", required=True, help="in OpenPGP's form, armoured")
    give.add_argument("--key", default=None, metavar="NAME", help=f"the vault's key (default: {openpgp_signing_key()})")
    give.add_argument("--sign-key", type=Path, metavar="KEY.pem", help="a private key of this machine instead")
    give.add_argument("--user-id", default="Sealift", metavar="TEXT", help="such as 'Acme <files@acme.example>'")
    give.add_argument("--out", type=Path, default=Path("sealift.pgp.asc"), metavar="FILE")
    arguments = parser.parse_args(argv)
    if arguments.verb == "export":
        return _export(arguments)
    if arguments.verb == "import":
        return _import(arguments.partner, arguments.file, replace=arguments.replace)
    path = Path(arguments.source)
    if not path.is_file() and "KEY_VAULT_URL" not in os.environ:
        raise FileProblem(f"{path} is not a file", "for a secret, set KEY_VAULT_URL to the vault's address")
    found = diagnose(read_file(path) if path.is_file() else _secret(arguments.source), datetime.now(UTC))
    _print_diagnosis(found)
    return 0 if found.is_usable else 1


def _export(arguments: argparse.Namespace) -> int:
    """Write our OpenPGP certificate and print its fingerprint, which partners compare by telephone."""
    if arguments.sign_key:
        signer, certificate = _certificate(openpgp_signer(arguments.sign_key), arguments.user_id)
    else:
        signer, certificate = _certificate_of_vault(arguments.key or openpgp_signing_key(), arguments.user_id)
    with writing(arguments.out) as sink:
        sink.write(certificate)
    print(f"wrote {arguments.out}: send it to the partner, and read out the fingerprint by telephone")
    print(f"  fingerprint {grouped(signer.key.fingerprint.hex().upper())}")
    return 0


def _certificate(signer: Signer, user_id: str) -> tuple[Signer, bytes]:
    return signer, own_certificate(signer, user_id)


def _certificate_of_vault(key_name: str, user_id: str) -> tuple[Signer, bytes]:
    from azure.identity import DefaultAzureCredential

    from encryption.vault import Vault

    if "KEY_VAULT_URL" not in os.environ:
        raise FileProblem("KEY_VAULT_URL is not set", "set it to the vault's address and log in with `az login`")
    vault = Vault(os.environ["KEY_VAULT_URL"], DefaultAzureCredential())
    try:
        return _certificate(vault.openpgp_signer(key_name), user_id)
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

    now, name = datetime.now(UTC), f"{partner}-certificate"
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
    # Whoever is in the secret already may make an issuer of the new certificate, or be of another name: say so now, not at night.
    own = own_certificates(certificates)
    if missing := [each for each in new if each not in own]:
        raise SeveralOwners(f"beside what the secret {name} holds, '{subject_of(missing[0])}' would never be used")
    certificates = own
    kept = [each for each in certificates if each.not_valid_after_utc > now]
    pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in kept)
    with SecretClient(os.environ["KEY_VAULT_URL"], DefaultAzureCredential()) as client:
        client.set_secret(name, pem.decode(), content_type="application/x-pem-file")
    print(f"the secret {name} now holds {len(kept)} certificate(s); the newest valid one is used from the next file on")
    return 0


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
