"""`./sealift partner lint`: read the partners, the sources and the examples, and report every fault, for people or programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from cli.partner_calendars import calendar_faults, calendar_notes
from cli.partner_tables import table_faults
from partners import PartnerInvalid, load_partner
from partners.checking import format_notes, layout_notes
from partners.loading import EXAMPLES, FOLDER, partner_files
from partners.model import Partner
from partners.sources import NAME as SOURCES
from partners.sources import load_sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What lint found in one file: it is right when it has no `faults`; `notes` are worth reading."""

    file: str
    feeds: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    hint: str = ""
    notes: tuple[str, ...] = ()


def lint(folder: Path = FOLDER, *, as_json: bool = False) -> int:
    """Print what every partner file of a folder, and every example, is; return 1 when one has a fault."""
    files = [*partner_files(folder), *partner_files(folder / EXAMPLES.name)]
    looked = [*_sources(folder), *(look(path, folder) for path in files)]
    if as_json:
        print(json.dumps([asdict(each) for each in looked], indent=2, ensure_ascii=False))
    else:
        for each in looked:
            _show(each)
    return 1 if any(each.faults for each in looked) else 0


def _sources(folder: Path) -> list[Looked]:
    """Return what is wrong with the file of the sources, whether a feed names one or not."""
    try:
        load_sources(folder)
    except PartnerInvalid as error:
        return [Looked(file=f"partners/{SOURCES}", faults=tuple(str(error).splitlines()), hint=error.hint)]
    return []


def look(path: Path, folder: Path) -> Looked:
    """Return what one partner file is."""
    file = (Path("partners") / path.relative_to(folder)).as_posix()
    tables = tuple(table_faults(path)) if path.parent == folder else ()
    try:
        partner = load_partner(path.stem, folder=path.parent)
    except PartnerInvalid as error:
        return Looked(file=file, faults=(*str(error).splitlines(), *tables), hint=error.hint)
    if tables:
        return Looked(file=file, faults=tables, hint="correct the name, or build the table in dbt_runner/project")
    if calendar := calendar_faults(partner, datetime.now(UTC)):
        hint = "./sealift feeds explain PARTNER FEED [DATE] shows a day"
        return Looked(file=file, faults=tuple(f"{file}: {fault}" for fault in calendar), hint=hint)
    return Looked(file=file, feeds=tuple(partner.feeds), notes=tuple(_notes(partner)))


def _notes(partner: Partner) -> list[str]:
    notes = []
    for name, feed in partner.feeds.items():
        columns = {column.name: column for column in feed.columns}
        notes += [f"{name}: {note}" for note in (*format_notes(feed.format), *layout_notes(feed.full_layout, columns))]
    return [*notes, *calendar_notes(partner, datetime.now(UTC))]


def _show(looked: Looked) -> None:
    if looked.faults:
        print("\n".join(f"  x {fault}" for fault in looked.faults))
        print(f"    hint: {looked.hint}")
        return
    print(f"  + {looked.file}: {len(looked.feeds)} feed(s): {', '.join(looked.feeds)}")
    for note in looked.notes:
        print(f"    ! {note}")
