"""What may leave the warehouse in an error's text."""

from __future__ import annotations

import pytest

from dbt_runner.messages import clean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('invalid input syntax for type integer: "M000100001"', 'invalid input syntax for type integer: "…"'),
        ('column "points" does not exist', 'column "points" does not exist'),
        (
            'invalid input syntax for type integer: "Ada L\n  12 Main Street"\n  compiled code at x',
            'invalid input syntax for type integer: "…" compiled code at x',
        ),
        ('invalid input syntax for type integer: "6" Ada"', 'invalid input syntax for type integer: "…"'),
        ('invalid input syntax for type integer: "user "ada@x.org" now"', 'invalid input syntax for type integer: "…"'),
        (
            'null value in column "points" of relation "accruals"\n  DETAIL:  Failing row contains (M000100001, 12.50).',
            'null value in column "points" of relation "accruals"',
        ),
        (
            'duplicate key value violates unique constraint "members_pkey"\nDETAIL: Key (id)=(7) already exists.',
            'duplicate key value violates unique constraint "members_pkey"',
        ),
        ("Key (email)=(ada@example.com) already exists", "… already exists"),
        ('date/time field value out of range: "2026-13-01"', 'date/time field value out of range: "…"'),
        ("division by zero\nLINE 4: select 1/0 -- ada@example.com", "division by zero"),
        ("two\n  lines", "two lines"),
    ],
)
def test_values_and_rows_are_cut_and_names_are_kept(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_secrets_are_blotted_out() -> None:
    assert clean("password hunter2 is wrong", ["hunter2", ""]) == "password ***** is wrong"


def test_long_messages_are_cut() -> None:
    assert clean("x" * 1000, limit=10) == "x" * 9 + "…"
