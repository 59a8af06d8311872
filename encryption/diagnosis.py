"""What the key doctor answers: what a file is, facts to show, problems with what to do about each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault and its fix; a `grave` one means that the file cannot be used."""

    text: str
    fix: str
    grave: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found: the kind in words, facts to show, problems to fix, and the text that a secret should hold."""

    kind: str
    facts: tuple[tuple[str, str], ...] = ()
    problems: tuple[Problem, ...] = ()
    pem: bytes | None = None

    @property
    def is_usable(self) -> bool:
        """Return whether Sealift can seal for it today, as it is."""
        return not any(each.grave for each in self.problems)


def not_this(kind: str, fix: str) -> Diagnosis:
    """Return the answer for something that is not a certificate."""
    return Diagnosis(kind=kind, problems=(Problem(text=f"this is {kind}, not a certificate", fix=fix),))
