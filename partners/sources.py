"""The databases that feeds read beside the warehouse: `sources.yaml`, one entry each. Secrets are named, never written.

Such as `crm: {kind: azure-sql, server: crm.database.windows.net, database: crm}`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails

from partners.errors import PartnerInvalid
from partners.places import MOST_BYTES, Document, Misread, plain

NAME: Final = "sources.yaml"
# The source of a feed that names none: the company's PostgreSQL.
WAREHOUSE: Final = "warehouse"
Stages = Mapping[str, Mapping[str, object]]

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,29}$")]
_Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f;'\"{}]{1,128}$")]


class Source(BaseModel):
    """A database of SQL Server: where it is and how Data Factory signs in."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["azure-sql", "sql-server"] = Field(
        description="azure-sql: Azure SQL Database, by the factory's identity; sql-server: any other, by the self-hosted runtime."
    )
    server: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.\\-]{0,252}(,\d{1,5})?$")] = Field(
        description="Its name, with a port where that is not 1433: erp.corp.example,1433."
    )
    database: _Text = Field(description="The database.")
    user: _Text | None = Field(default=None, description="sql-server: the name to log in with.")
    password: Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z-]{1,127}$")] | None = Field(
        default=None, description="sql-server: the Key Vault secret with its password."
    )

    @model_validator(mode="after")
    def _check_sign_in(self) -> Source:
        if self.kind == "azure-sql" and (self.user or self.password):
            raise ValueError("azure-sql signs in by the factory's managed identity: leave out user and password")
        if self.kind == "sql-server" and not (self.user and self.password):
            raise ValueError("sql-server needs user, and password: the name of the secret")
        return self


_SHOWN = f"partners/{NAME}"
_ALL = TypeAdapter(dict[Name, Source])
# What to write instead of a text that its pattern refuses, by the place of the text.
_PATTERNS = {
    "[key]": "a source's name is small letters, digits and -, 30 at most, a letter first",
    "server": "write the server's name, with its port after a comma where that is not 1433: erp.corp.example,1433",
    "database": "write the database's name, without quotes, semicolons and braces",
    "user": "write the user's name, without quotes, semicolons and braces",
    "password": "write the name of the Key Vault secret, which is letters, digits and -; never the password",
}


def load_sources(folder: Path, stage: Stages | None = None, names: Collection[str] | None = None) -> dict[str, Source]:
    """Return the sources of a folder of partner files by name, none where there is no `sources.yaml`.

    `stage` are fields that differ in this stage, by source. With `names`, only these are read: a fault of another source
    is not a fault of the feeds that do not name it. Raises PartnerInvalid with every fault and its line.
    """
    document = _read(folder)
    data = document.data if document.data is not None else {}
    if isinstance(data, dict):
        _check_stage(stage or {}, data)
        data = {
            name: _of_stage(value, (stage or {}).get(name, {}))
            for name, value in data.items()
            if names is None or name in names
        }
    try:
        found = _ALL.validate_python(data)
    except ValidationError as error:
        faults = [
            f"{_SHOWN}:{document.line_of(each['loc'])}: {_fault(each)}" for each in error.errors(include_url=False)
        ]
        raise PartnerInvalid("\n".join(faults), "fix the file, then ./sealift partner lint") from None
    if WAREHOUSE in found:
        line = document.line_of((WAREHOUSE,))
        raise PartnerInvalid(f"{_SHOWN}:{line}: {WAREHOUSE} is the PostgreSQL of every feed", "give it another name")
    return found


def source_names(folder: Path) -> list[str]:
    """Return the names in `sources.yaml`, also of sources that have a fault. Raises PartnerInvalid."""
    data = _read(folder).data
    return [plain(str(name)) for name in data] if isinstance(data, dict) else []


def _read(folder: Path) -> Document:
    path = folder / NAME
    if not path.exists():
        return Document(b"")
    try:
        with path.open("rb") as file:
            return Document(file.read(MOST_BYTES + 1))
    except Misread as error:
        raise PartnerInvalid(f"{_SHOWN}:{error.line}: {error.problem}", "fix the YAML") from None
    except OSError as error:
        raise PartnerInvalid(f"{_SHOWN}:1: the file cannot be read: {error.strerror}", "make it readable") from None


def _fault(error: ErrorDetails) -> str:
    """Return where a fault is and what to write instead; a value is not repeated, it may be a password."""
    place = error["loc"]
    if not place:
        return "the file is not a list of sources by name, such as crm: {kind: azure-sql, server: ..., database: ...}"
    words = error["msg"].removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":
        words = _PATTERNS[str(place[-1])]
    return f"{plain('.'.join(map(str, place)))}: {plain(words)}"


def _check_stage(stage: Stages, data: Mapping[str, object]) -> None:
    """Refuse a stage's own fields for a source that the file lacks: a misspelt name would read another stage's database."""
    if wrong := [
        plain(str(name)) for name, fields in stage.items() if name not in data or not isinstance(fields, Mapping)
    ]:
        raise PartnerInvalid(
            f"the setting FEED_SOURCES: {', '.join(wrong)}: no fields of a source of partners/{NAME}",
            'azd env set SEALIFT_FEED_SOURCES \'{"NAME": {"server": ...}}\' with its name there, then azd provision',
        )


def _of_stage(value: object, stage: Mapping[str, object]) -> object:
    return {**value, **stage} if isinstance(value, dict) else value
