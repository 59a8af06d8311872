"""The refusals of a batch: where a value does not fit, why, in which row; never the value. Twenty are kept, all are counted."""

from __future__ import annotations

from dataclasses import dataclass, field

from partners.errors import PartnerError

SHOWN = 20


class FileRefused(PartnerError):
    """Rows do not fit the partner's layout, or the figures disagree: no file is made."""


class EmptyBatch(PartnerError):
    """There are no rows, and the feed says that this is a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One value that does not fit. `number` is the field's place in its record, from 1; `row` the row's, None outside rows."""

    record: str
    number: int
    name: str
    reason: str
    row: int | None

    def __str__(self) -> str:
        where = f"row {self.row}, " if self.row is not None else ""
        if not self.number:
            return f"{where}{f'column {self.name}: ' if self.name else ''}{self.reason}"
        return f"{where}record {self.record}, field {self.number} '{self.name}': {self.reason}"


@dataclass(slots=True)
class Refusals:
    """Collects refusals: the first twenty, then their number."""

    kept: list[Refusal] = field(default_factory=list)
    count: int = 0

    def add(self, refusal: Refusal) -> None:
        self.count += 1
        if len(self.kept) < SHOWN:
            self.kept.append(refusal)

    def error(self) -> FileRefused:
        """Return what is raised for them."""
        more = [f"and {self.count - len(self.kept)} more"] if self.count > len(self.kept) else []
        lines = "\n".join([*(str(refusal) for refusal in self.kept), *more])
        what = "1 value does not fit" if self.count == 1 else f"{self.count} values do not fit"
        return FileRefused(
            f"{what} the partner's layout:\n{lines}",
            "correct the rows in the mart, or the layout in the partner file, then run the window again",
        )
