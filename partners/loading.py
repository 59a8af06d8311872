"""Reads partner files. Every fault of a file is told at once, with its place."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from partners.errors import PartnerInvalid, UnknownPartner
from partners.model import Partner

FOLDER = Path(__file__).parent


class _StrictLoader(yaml.SafeLoader):
    """YAML without the trap that a key written twice silently wins."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if doubled := {str(key) for key in keys if keys.count(key) > 1}:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {', '.join(sorted(doubled))} is written twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def load_partner(name: str, sftp: Mapping[str, Mapping[str, object]] | None = None, folder: Path = FOLDER) -> Partner:
    """Return one partner. `sftp` is the stage's own addresses by partner: they replace fields of the file's `sftp`.

    Raises UnknownPartner, PartnerInvalid.
    """
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise UnknownPartner(f"there is no partner {name!r}", f"the partners are: {', '.join(known)}")
    return _read(folder / f"{name}.yaml", (sftp or {}).get(name, {}))


def load_partners(
    sftp: Mapping[str, Mapping[str, object]] | None = None,
    folder: Path = FOLDER,
    on_fault: Callable[[str, PartnerInvalid], None] | None = None,
) -> list[Partner]:
    """Return every partner of the folder, by name.

    A wrong file's name and fault go to `on_fault` and it is left out; without it, PartnerInvalid is raised.
    """
    partners: list[Partner] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            partners.append(load_partner(path.stem, sftp, folder))
        except PartnerInvalid as fault:
            if on_fault is None:
                raise
            on_fault(path.stem, fault)
    return partners


def _read(path: Path, sftp: Mapping[str, object]) -> Partner:
    shown = f"partners/{path.name}"
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PartnerInvalid(f"{shown}: {error}", "mend the YAML, then ./sealift partner lint") from None
    if isinstance(data, dict) and isinstance(data.get("sftp"), dict):
        data["sftp"] = {**data["sftp"], **sftp}
    try:
        partner = Partner.model_validate(data)
    except ValidationError as error:
        faults = [f"{shown}: {'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise PartnerInvalid("\n".join(faults), "mend the file, then ./sealift partner lint") from None
    if partner.name != path.stem:
        raise PartnerInvalid(f"{shown}: name: is {partner.name!r}", "the file is called as the partner: <name>.yaml")
    return partner
