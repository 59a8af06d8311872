"""`./sealift keys`: what a key file or vault secret is, and a partner's certificate into the vault."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from cli.batch_folder import FileProblem
from cli.seal import read_file
from encryption.certificates import own_certificates, read_certificates, subject_of
from encryption.diagnosis import Diagnosis
from encryption.doctor import diagnose
from encryption.errors import SecretMissing, SeveralOwners


def main(argv: list[str]) -> int:
    """`./sealift keys`."""
    parser = argparse.ArgumentParser(
        "sealift keys", description="Look at a partner's certificate, and put it into the vault."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="check | import")
    check = verbs.add_parser("check", help="say what a file or vault secret is, and what to do about it")
    check.add_argument("source", metavar="FILE|SECRET")
    add = verbs.add_parser("import", help="check a certificate and store it as the secret NAME-certificate")
    add.add_argument("partner", metavar="NAME")
    add.add_argument("file", type=Path, metavar="FILE")
    add.add_argument("--replace", action="store_true", help="do not keep the certificates that the secret holds now")
    arguments = parser.parse_args(argv)
    if arguments.verb == "import":
        return _import(arguments.partner, arguments.file, replace=arguments.replace)
    path = Path(arguments.source)
    if not path.is_file() and "KEY_VAULT_URL" not in os.environ:
        raise FileProblem(f"{path} is not a file", "for a secret, set KEY_VAULT_URL to the vault's address")
    found = diagnose(read_file(path) if path.is_file() else _secret(arguments.source), datetime.now(UTC))
    _print_diagnosis(found)
    return 0 if found.is_usable else 1


def _print_diagnosis(found: Diagnosis) -> None:
    print(f"This is {found.kind}.")
    for name, value in found.facts:
        print(f"  {name:<11} {value}")
    for problem in found.problems:
        print(f"{'error' if problem.grave else 'note'}: {problem.text}\nhint: {problem.mend}")
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
