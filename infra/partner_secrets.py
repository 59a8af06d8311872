"""Which secrets of the vault the partners' files name, and who reads each: what the template makes and grants.

`./sealift deploy secrets` writes infra/partner_secrets.json, which main.bicep reads: so a changed partner file shows as a
changed grant in review, and no name is typed twice. Hooks, CI and `deploy plan` compare the file with partners/.

    certificate, escrow_certificate   the app, which wraps file keys for them
    sftp.private_key                  the app where a feed takes the route function or has answers, the factory for the route adf
    sftp.password                     the app: Data Factory's route signs in with a key
    password of a feed's source       the factory, which reads that SQL Server
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from fault import Fault
from partners.loading import load_partners
from partners.model import Partner
from partners.sources import Source, load_sources

ROOT = Path(__file__).resolve().parents[1]
PARTNERS = ROOT / "partners"
FILE = Path(__file__).with_name("partner_secrets.json")
OURS = ("function-key", "warehouse-password", "dbt-password", "alert-webhook")
KINDS = {
    "certificate": "certificate",
    "escrow": "escrow certificate",
    "sftp-key": "SFTP key",
    "sftp-password": "SFTP password",
    "source-password": "SQL Server password",
}


class SecretsUnclear(Fault):
    """The partners' files name secrets in a way that no grant can follow, or the derived file is out of date."""

    status = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerSecret:
    """One secret: `kind` is what it holds, `readers` are the principals that get a grant on it."""

    name: str
    kind: str
    partners: tuple[str, ...]
    readers: tuple[str, ...]

    @property
    def words(self) -> str:
        return f"{KINDS[self.kind]} of {', '.join(self.partners)}"


def derive(folder: Path = PARTNERS) -> list[PartnerSecret]:
    """Return the secrets that a folder's partner files name, by name. Raises PartnerInvalid and SecretsUnclear."""
    found: dict[str, PartnerSecret] = {}
    sources = load_sources(folder)
    for partner in load_partners(folder=folder):
        for secret in _named_by(partner, sources):
            key = secret.name.lower()  # Key Vault knows no case
            found[key] = _merge(found[key], secret) if key in found else secret
    return sorted(found.values(), key=lambda secret: secret.name)


def _named_by(partner: Partner, sources: Mapping[str, Source]) -> Iterator[PartnerSecret]:
    feeds = partner.feeds.values()
    by_app = ("app",) if any(feed.route == "function" or feed.answers for feed in feeds) else ()
    by_factory = ("factory",) if any(feed.route == "adf" for feed in feeds) else ()
    named = [
        ("certificate", partner.certificate, ("app",)),
        ("escrow", partner.escrow_certificate, ("app",)),
        ("sftp-key", partner.sftp.private_key, (*by_app, *by_factory)),
        ("sftp-password", partner.sftp.password, by_app),
        *(("source-password", sources[feed.source].password, ("factory",)) for feed in feeds if feed.source in sources),
    ]
    for kind, name, readers in named:
        if name and name.lower() in OURS:
            raise SecretsUnclear(
                f"partners/{partner.name}.yaml names the secret {name!r}, which is Sealift's own",
                "give the partner's secret a name of its own, such as <partner>-certificate",
            )
        if name and readers:
            yield PartnerSecret(name=name, kind=kind, partners=(partner.name,), readers=readers)


def _merge(one: PartnerSecret, other: PartnerSecret) -> PartnerSecret:
    """Return a secret that two files share, such as one escrow certificate for all partners."""
    if one.name != other.name:
        raise SecretsUnclear(
            f"{one.name!r} ({one.words}) and {other.name!r} ({other.words}) differ in case only",
            "Key Vault takes both for one secret: write one name",
        )
    if one.kind != other.kind:
        raise SecretsUnclear(
            f"the secret {one.name!r} is both {one.words} and {other.words}", "name a secret for each of them"
        )
    partners = tuple(dict.fromkeys((*one.partners, *other.partners)))
    readers = tuple(dict.fromkeys((*one.readers, *other.readers)))
    return PartnerSecret(name=one.name, kind=one.kind, partners=partners, readers=readers)


def as_json(secrets: Iterable[PartnerSecret]) -> str:
    """Return the file's text: one secret a line, so that a review shows what changed."""
    return "[\n" + ",\n".join(f"  {json.dumps(asdict(secret))}" for secret in secrets) + "\n]\n"


def write(folder: Path = PARTNERS, file: Path = FILE) -> bool:
    """Write the derived file; return whether anything changed."""
    text = as_json(derive(folder))
    if file.is_file() and file.read_text("utf-8") == text:
        return False
    file.write_text(text, "utf-8")
    return True


def check(folder: Path = PARTNERS, file: Path = FILE) -> list[PartnerSecret]:
    """Return the secrets; raises SecretsUnclear where the derived file is not what partners/ says now."""
    secrets = derive(folder)
    if not file.is_file() or file.read_text("utf-8") != as_json(secrets):
        raise SecretsUnclear(
            f"infra/{file.name} is not what partners/ says: {_difference(secrets, file)}",
            "run ./sealift deploy secrets, and commit what it writes",
        )
    return secrets


def _difference(secrets: list[PartnerSecret], file: Path) -> str:
    """Name the first secret that only one of both has."""
    try:
        written = {entry["name"] for entry in json.loads(file.read_text("utf-8"))}
    except (OSError, ValueError, TypeError, KeyError):
        return "it cannot be read"
    names = {secret.name for secret in secrets}
    if new := sorted(names - written):
        return f"it lacks {new[0]!r}"
    if old := sorted(written - names):
        return f"it has {old[0]!r}, which no partner names"
    return "readers or partners differ"
