"""`./sealift partner new | lint | schema | grants | preview | render | check | kit`: are the files right, the server, the kit?"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from batches.sealing_formats import sealing_format
from cli import partner_layouts, partner_new
from cli.console import CommandFailed
from cli.partner_lint import lint
from delivery import BytesSource, ConnectionSettings
from encryption import FileInfo, OpenPgp, Smime, seal
from encryption.vault import Vault
from partners import load_partner, load_partners
from partners.loading import FOLDER
from partners.model import Partner
from partners.source_grants import script
from partners.sources import load_sources

if TYPE_CHECKING:
    from delivery.check import Finding

_MARKS = {"ok": "+", "note": "!", "failed": "x", "skipped": "-"}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("sealift partner", description=__doc__)
    verbs = parser.add_subparsers(
        dest="verb", required=True, metavar="new | lint | schema | grants | preview | render | check | kit"
    )
    linting = verbs.add_parser("lint", help="read every partner file and say what is wrong")
    linting.add_argument("--json", action="store_true", help="print what was found as JSON")
    verbs.add_parser("schema", help="print the JSON Schema of a partner file, for editors")
    granted = verbs.add_parser("grants", help="print the T-SQL that lets feeds read the sources of sources.yaml")
    granted.add_argument("--factory", required=True, metavar="NAME", help="the Data Factory, whose identity signs in")
    partner_new.add_verb(verbs)
    partner_layouts.add_verbs(verbs)
    check = verbs.add_parser("check", help="connect as production does and report step by step")
    check.add_argument("name", help="the partner: partners/NAME.yaml")
    check.add_argument("--feed", help="check this feed's folder only (default: every feed's)")
    check.add_argument("--key", type=Path, metavar="FILE", help="our private key, instead of the vault's")
    check.add_argument("--host", help="another server than the partner file's, such as the partner's test server")
    check.add_argument("--port", type=int, help="another port than the partner file's")
    check.add_argument(
        "--send-test", action="store_true", help="deliver a sealed test file: agree on it with the partner first"
    )
    kit = verbs.add_parser(
        "kit", help="make the folder that a partner receives: openers, format, our public key, a test"
    )
    kit.add_argument("name", help="the partner: partners/NAME.yaml")
    kit.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    arguments = parser.parse_args(argv)
    if arguments.verb in ("preview", "render"):
        return partner_layouts.run(arguments)
    if arguments.verb == "new":
        return partner_new.run(arguments)
    if arguments.verb == "kit":
        return _kit(arguments)
    if arguments.verb == "schema":
        print(json.dumps(Partner.model_json_schema(), indent=2))
        return 0
    if arguments.verb == "lint":
        return lint(as_json=arguments.json)
    if arguments.verb == "grants":
        return _grants(arguments.factory)
    return _check(arguments)


def _grants(factory: str) -> int:
    """Print the statements of each source, to be run in its database by an administrator."""
    partners, sources = load_partners(), load_sources(FOLDER, json.loads(os.environ.get("FEED_SOURCES") or "{}"))
    lines = script(partners, sources, factory) or ["-- no sources.yaml: every feed reads the warehouse"]
    print("\n".join(lines))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from delivery.check import check_server  # loads paramiko, which no other verb needs

    _join_kept_services(arguments.name)
    partner = load_partner(arguments.name, json.loads(os.environ.get("PARTNER_SFTP") or "{}"))
    feeds = [arguments.feed] if arguments.feed else list(partner.feeds)
    for name in feeds:
        if name not in partner.feeds:
            print(
                f"error: {partner.name} has no feed '{name}'\nhint: its feeds: {', '.join(partner.feeds)}",
                file=sys.stderr,
            )
            return 2
    settings = _settings(partner, arguments.key)
    settings = replace(settings, host=arguments.host or settings.host, port=arguments.port or settings.port)
    failed = False
    for name in feeds:
        folder = partner.feeds[name].folder
        print(f"{partner.name} {name}: {settings.user}@{settings.host}:{settings.port}{folder}")
        source = _test_file(partner, name) if arguments.send_test else None
        for finding in check_server(settings, replace(partner.delivery, folder=folder), send=source):
            _show(finding)
            failed = failed or finding.mark == "failed"
    if not failed:
        print("  deliveries to this server will work")
    return 1 if failed else 0


def _settings(partner: Partner, key: Path | None) -> ConnectionSettings:
    """Return what the function app connects with, or the same with a key from a file."""
    if key is None:
        return partner.sftp.connection(_vault().secret)
    sftp = partner.sftp
    return ConnectionSettings(
        host=sftp.host,
        port=sftp.port,
        user=sftp.user,
        host_keys=tuple(sftp.host_keys),
        private_key=key.read_text(),
        legacy=tuple(sftp.legacy),
    )


def _kit(arguments: argparse.Namespace) -> int:
    """Assemble the kit with our public key and a test batch for each format that the partner's feeds use."""
    from cli.partner_kit import assemble_kit, fingerprint

    _join_kept_services(arguments.name)
    partner, now = load_partner(arguments.name), datetime.now(UTC)
    vault, signing_key = _vault(), os.environ.get("SIGNING_KEY", "sealift-signing")
    verification_key = vault.public_key_pem(signing_key)
    files = assemble_kit(
        partner.name,
        verification_key,
        arguments.out,
        now=now,
        recipients=vault.recipients(partner.certificate, now),
        sign=lambda data: vault.sign(signing_key, data),
        signing_key=vault.key_id(signing_key),
        formats=_formats(partner, vault),
    )
    print(f"{len(files)} files in {arguments.out}; the partner starts with {arguments.out / 'README.md'}")
    print(
        f"Tell the partner by another way, such as by telephone: SHA-256 of sender.pem = {fingerprint(verification_key)}"
    )
    return 0


def _formats(partner: Partner, vault: Vault) -> list[str | OpenPgp | Smime]:
    """Return what the partner's feeds are sealed as, each once."""
    found = {feed.format: sealing_format(feed.format, feed.wishes, vault) for feed in partner.feeds.values()}
    return [found[name] for name in sorted(found)]


def _show(finding: Finding) -> None:
    print(f"  {_MARKS[finding.mark]} {finding.step:<10} {finding.text}", flush=True)
    if finding.hint:
        print(f"    {'':<10} hint: {finding.hint}", flush=True)


def _join_kept_services(partner: str) -> None:
    """Use the services of `./sealift demo --keep` where they are up, as `./sealift run` does. Raises CommandFailed."""
    from local.kept import kept_services

    if "KEY_VAULT_URL" not in os.environ and (kept := kept_services()):
        if (FOLDER / f"{partner}.yaml").exists() and partner not in json.loads(kept.operator["PARTNER_SFTP"]):
            raise CommandFailed(
                f"the services that are up were started before there was a partners/{partner}.yaml",
                "end ./sealift demo --keep with Ctrl-C, and start it again",
            )
        os.environ.update(kept.operator)


def _vault() -> Vault:
    url = os.environ.get("KEY_VAULT_URL")
    if not url:
        raise NoVault(
            "KEY_VAULT_URL is not set, so the secrets for the partner's server cannot be read",
            "set it to the vault's address and log in with `az login`; on a laptop leave services up: ./sealift demo --keep",
        )
    from azure.identity import DefaultAzureCredential

    return Vault(url, DefaultAzureCredential())


class NoVault(CommandFailed):
    """There is no vault to ask."""


def _test_file(partner: Partner, feed: str) -> BytesSource:
    """Seal a line of text for the partner, in the feed's format; `detached` is sent in the native one: it is one file."""
    now = datetime.now(UTC)
    name = f"SEALIFT_TEST_{now:%Y%m%dT%H%M%S}.txt"
    text = f"A test of Sealift for {partner.title}, made {now:%Y-%m-%d %H:%M} UTC: please confirm that it opens.\n".encode()
    vault = _vault()
    recipients = vault.recipients(partner.certificate, now)
    file = FileInfo(batch=f"{partner.name}.{feed}.{now:%Y-%m-%d}.1", name=name, plaintext_bytes=len(text), created=now)
    wanted = sealing_format(partner.feeds[feed].format, partner.feeds[feed].wishes, vault)
    sealing = seal([text], file=file, recipients=recipients, format="native" if wanted == "detached" else wanted)
    sealed = b"".join(sealing)
    return BytesSource(sealing.result.sealed_name, sealed)
