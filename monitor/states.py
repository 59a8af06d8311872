"""How each state is shown: a glyph and a word beside every colour, since a colour alone is read by nobody who cannot see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """`tone` is the class of the style sheet: good, soon, bad, calm, none."""

    glyph: str
    tone: str
    words: str


LOOKS: dict[str, Look] = {
    "delivered": Look("✓", "good", "delivered on time"),
    "delivered late": Look("✓L", "soon", "delivered after its deadline"),
    "acknowledged": Look("A", "good", "the partner accepted it"),
    "empty": Look("E", "calm", "no rows, so no file was due"),
    "due": Look("D", "soon", "its deadline is near"),
    "waiting": Look("W", "soon", "waits for dbt"),
    "late": Look("L", "bad", "its deadline has passed"),
    "missing": Look("M", "bad", "its deadline and its grace have passed"),
    "failed": Look("F", "bad", "a step failed"),
    "rejected": Look("R", "bad", "the partner rejected it"),
    "unreadable": Look("?", "bad", "its record cannot be read"),
    "under way": Look("…", "soon", "being worked on"),
    "planned": Look("…", "soon", "planned, nothing extracted yet"),
    "sealing": Look("…", "soon", "being shaped or sealed"),
    "sealed": Look("…", "soon", "sealed, not delivered yet"),
    "delivering": Look("…", "soon", "being delivered"),
    "superseded": Look("S", "calm", "a later batch took its days"),
    "closed": Look("H", "none", "the partner is closed"),
    "paused": Look("P", "calm", "the feed is paused"),
    "not expected": Look("-", "none", "none was expected"),
    "open": Look("○", "none", "not due yet"),
    "no batch": Look("·", "none", "no batch on record"),
}
# What needs attention comes first.
STRIP = (
    "missing",
    "late",
    "failed",
    "rejected",
    "unreadable",
    "waiting",
    "due",
    "under way",
    "delivered late",
    "delivered",
    "acknowledged",
    "empty",
)
ALARMING = frozenset({"missing", "late", "failed", "rejected", "unreadable"})


def look(state: str) -> Look:
    """Return how a state is shown; one that is not known here is shown as a question."""
    return LOOKS.get(state, Look("?", "bad", state))
