"""Reads partner files. All faults of a file are reported at once, each with its line; no content ends anything else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from partners.errors import PartnerInvalid, UnknownPartner
from partners.model import Partner
from partners.places import MOST_BYTES, Document, Misread, plain
from partners.sources import NAME as SOURCES
from partners.sources import WAREHOUSE, load_sources, source_names
from partners.wording import all_faults

FOLDER: Final = Path(os.environ.get("PARTNERS_FOLDER") or Path(__file__).parent)
EXAMPLES: Final = Path(__file__).parent / "examples"
_MOST_FAULTS: Final = 50

_PARTNERS: dict[Path, tuple[tuple[int, int, int, str], Partner]] = {}


def partner_files(folder: Path) -> list[Path]:
    """Return the files of partners, by name: all YAML files but that of the sources."""
    return sorted(path for path in folder.glob("*.yaml") if path.name != SOURCES)


def load_partner(name: str, sftp: Mapping[str, Mapping[str, object]] | None = None, folder: Path = FOLDER) -> Partner:
    """Return one partner. `sftp` is the stage's own addresses by partner: they replace fields of the file's `sftp`.

    Raises UnknownPartner, PartnerInvalid.
    """
    known = [path.stem for path in partner_files(folder)]
    if name not in known:
        raise UnknownPartner(f"there is no partner {name!r}", f"the partners are: {', '.join(known)}")
    return _kept(folder / f"{name}.yaml", (sftp or {}).get(name, {}))


def load_partners(
    sftp: Mapping[str, Mapping[str, object]] | None = None,
    folder: Path = FOLDER,
    on_fault: Callable[[str, PartnerInvalid], None] | None = None,
) -> list[Partner]:
    """Return every partner of the folder, by name.

    A wrong file's name and fault go to `on_fault` and it is left out; without it, PartnerInvalid is raised.
    """
    partners: list[Partner] = []
    for path in partner_files(folder):
        try:
            partners.append(load_partner(path.stem, sftp, folder))
        except PartnerInvalid as fault:
            if on_fault is None:
                raise
            on_fault(path.stem, fault)
    return partners


def read_partner(path: Path) -> Partner:
    """Return the partner of a file anywhere, such as one that is being written; its name need not be the file's.

    Raises PartnerInvalid.
    """
    return _read(path, {}, is_draft=True)


def _kept(path: Path, sftp: Mapping[str, object]) -> Partner:
    """Return the partner of a file; one that did not change since this process read it is not read again."""
    try:
        found, sources = path.stat(), path.parent / SOURCES
        others = sources.stat().st_mtime_ns if sources.exists() else 0
    except OSError:
        return _read(path, sftp)
    key = (found.st_mtime_ns, others, found.st_size, json.dumps(sftp, sort_keys=True, default=str))
    if path not in _PARTNERS or _PARTNERS[path][0] != key:
        _PARTNERS[path] = key, _read(path, sftp)
    return _PARTNERS[path][1]


def _read(path: Path, sftp: Mapping[str, object], *, is_draft: bool = False) -> Partner:
    """Return the partner of one file; whatever the file holds, the only error is PartnerInvalid with file and lines."""
    shown = plain(str(path) if is_draft else f"partners/{path.name}")
    try:
        document = Document(_content(path))
        data = document.data
        if isinstance(data, dict) and isinstance(data.get("sftp"), dict):
            data["sftp"] = {**data["sftp"], **sftp}
        partner = Partner.model_validate(data)
        _check_sources(partner, document, shown, path.parent)
    except PartnerInvalid:
        raise
    except Misread as error:
        raise PartnerInvalid(
            f"{shown}:{error.line}: {error.problem}", "fix the YAML, then ./sealift partner lint"
        ) from None
    except ValidationError as error:
        raise PartnerInvalid(
            _faults(shown, document, data, error), "fix the file, then ./sealift partner lint"
        ) from None
    except Exception as error:
        words = f"{shown}:1: its check ended with {type(error).__name__}"
        raise PartnerInvalid(words, "take out the latest change of the file, then ./sealift partner lint") from error
    if partner.name != path.stem and not is_draft:
        line = document.line_of(("name",))
        raise PartnerInvalid(
            f"{shown}:{line}: name: is {partner.name!r}", "the file is called as the partner: <name>.yaml"
        )
    return partner


def _check_sources(partner: Partner, document: Document, shown: str, folder: Path) -> None:
    """Refuse a feed whose source is not in the sources' file beside the partner's. Raises PartnerInvalid."""
    named = {name: feed.source for name, feed in partner.feeds.items() if feed.source != WAREHOUSE}
    known = load_sources(folder, names=set(named.values())) if named else {}
    faults = [
        f"{shown}:{document.line_of(('feeds', name, 'source'))}: feeds.{name}.source: {source} is not in {SOURCES}"
        for name, source in named.items()
        if source not in known
    ]
    if faults:
        names = ", ".join([WAREHOUSE, *source_names(folder)])
        raise PartnerInvalid("\n".join(faults), f"add it to {SOURCES}, or name one of: {names}")


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise Misread(1, "this is not a regular file")
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Misread(1, f"the file cannot be read: {error.strerror}") from None


def _faults(shown: str, document: Document, data: object, error: ValidationError) -> str:
    found = sorted(all_faults(Partner, data, error), key=lambda each: document.line_of(each[0]))
    lines = [
        ": ".join([f"{shown}:{document.line_of(place)}", *_place(place), plain(words)])
        for place, words in found[:_MOST_FAULTS]
    ]
    more = len(found) - len(lines)
    return "\n".join([*lines, f"{shown}:1: and {more} more faults"] if more else lines)


def _place(parts: tuple[int | str, ...]) -> list[str]:
    return [plain(".".join(str(part) for part in parts))] if parts else []
