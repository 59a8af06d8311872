"""What the ledger knows of a batch: each step with its time, its data and its attempts, and its totals with who counted them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batches import Record
from batches.record import shown

# What is left beside a step that worked: none of these moves a batch on.
_BESIDE = frozenset({"failed", "replayed", "resend asked", "forced"})
_DETAIL_LETTERS = 500

Content = dict[str, Any]  # one entry of the ledger, which anybody with access to storage may have written


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One entry of the ledger.

    `seconds` since the entry before it, waiting included; `bytes` is what the step read, `rate` of that in bytes a second;
    `attempt`: which one it was, None where there is only one by nature.
    """

    name: str
    at: datetime | None
    delivery: int
    who: str
    run_id: str
    seconds: float | None
    bytes: int | None
    rate: float | None
    attempt: int | None
    details: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A number that several have counted. `said`: by whom, and what."""

    what: str
    said: tuple[tuple[str, str], ...]

    @property
    def agree(self) -> bool:
        return len({value for _, value in self.said}) < 2


def read_steps(contents: list[Content], plain_bytes: int, sealed_bytes: int | None) -> tuple[Step, ...]:
    """Return the batch's steps, oldest first."""
    steps: list[Step] = []
    before: datetime | None = None
    failures = 0
    for content in contents:
        name, at = str(content.get("step", "")), _time(content.get("at"))
        details = _members(content.get("details"))
        seconds = (at - before).total_seconds() if at and before else None
        moved = _bytes(name, details, plain_bytes, sealed_bytes)
        failures += name == "failed"
        steps.append(
            Step(
                name=name,
                at=at,
                delivery=content["delivery"] if isinstance(content.get("delivery"), int) else 0,
                who=str(content.get("who") or ""),
                run_id=str(content.get("run_id") or ""),
                seconds=seconds,
                bytes=moved,
                rate=moved / seconds if moved is not None and seconds else None,
                attempt=failures if name == "failed" else None if name in _BESIDE or moved is None else failures + 1,
                details=tuple((str(key), _text(value)) for key, value in details.items() if value is not None),
            )
        )
        failures = failures if name in _BESIDE else 0
        before = at or before
    return tuple(steps)


def read_totals(record: Record | None, contents: list[Content], manifest: dict[str, Any] | None) -> tuple[Total, ...]:
    """Return rows, bytes and sums of the batch, each with everybody who counted it."""
    shaped, accepted = _details_of(contents, "shaped"), _details_of(contents, "accepted")
    sealed = _members(manifest.get("totals")) if manifest else {}
    staged = (record.staged or []) if record else []
    rows = {
        "shaping": shaped.get("rows"),
        "the record": _sum([file.rows for file in staged]),
        "the signed manifest": sealed.get("rows"),
    }
    plain = {
        "accepting": accepted.get("bytes"),
        "the record": _sum([file.size_bytes for file in staged]),
        "the signed manifest": sealed.get("plaintext_bytes"),
    }
    found = [_total("rows", rows), _total("bytes before sealing", plain)]
    found += [_total(f"sum of {name}", said) for name, said in _sums(shaped, sealed).items()]
    if shaped.get("control_totals_agree") is not None:
        agreed = "agree" if shaped["control_totals_agree"] is True else "differ"
        found.append(_total("the mart's control totals", {"shaping": agreed}))
    return tuple(total for total in found if total.said)


def _bytes(name: str, details: Content, plain_bytes: int, sealed_bytes: int | None) -> int | None:
    if name == "extracted":
        return details["bytes"] if isinstance(details.get("bytes"), int) else None
    return {"shaped": plain_bytes, "sealed": plain_bytes, "delivered": sealed_bytes}.get(name)


def _details_of(contents: list[Content], step: str) -> Content:
    found = [each.get("details") for each in contents if each.get("step") == step]
    return _members(found[-1]) if found else {}


def _members(value: object) -> Content:
    return value if isinstance(value, dict) else {}


def _sum(counts: list[Any]) -> int | None:
    return sum(counts) if counts and all(isinstance(each, int) for each in counts) else None


def _sums(shaped: Content, sealed: Content) -> dict[str, dict[str, object]]:
    """Return the control sums by column, as shaping added them up and as the reader did while the files were sealed."""
    counted = _members(shaped.get("sums"))
    listed = sealed.get("sums") if isinstance(sealed.get("sums"), list) else []
    again = {str(each.get("column")): each.get("sum") for each in listed or [] if isinstance(each, dict)}
    return {
        shown(str(name))[:_DETAIL_LETTERS]: {"shaping": counted.get(name), "the signed manifest": again.get(name)}
        for name in dict.fromkeys([*counted, *again])
    }


def _total(what: str, said: dict[str, object]) -> Total:
    given = tuple((who, _text(value)) for who, value in said.items() if value is not None)
    return Total(what=what, said=given)


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else None


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return shown(text)[:_DETAIL_LETTERS]
