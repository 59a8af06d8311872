"""Sample source tables of a card-linked loyalty programme: members, cards, merchants, transactions in schema `loyalty`.

Everything is synthetic and deterministic: the same arguments give the same rows, because every "random" value is arithmetic
on the row's number. PostgreSQL makes the rows itself, so a million transactions take seconds. Not for a real warehouse: it
drops and remakes the source schema and the schemas that dbt builds from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import LiteralString

import psycopg
from psycopg import sql

END_DATE = date(2026, 11, 21)
SCHEMAS = ("loyalty", "staging", "intermediate", "marts", "snapshots")

_MEMBERS: LiteralString = """
create table loyalty.members as
select
    n::bigint as member_id,
    'M' || lpad((100000 + n)::text, 9, '0') as member_number,
    (array['Ada', 'Bruno', 'Chiara', 'Dario', 'Elin', 'Farid', 'Greta', 'Hugo', 'Ines', 'Jonas', 'Kaya', 'Luca', 'Mira',
           'Nils', 'Olga', 'Pablo', 'Rosa', 'Sven', 'Tilda', 'Umut', 'Vera', 'Willem', 'Yara'])[1 + n * 7 %% 23] as first_name,
    (array['Abendroth', 'Bakker', 'Conti', 'Dubois', 'Eriksen', 'Fontana', 'Grünwald', 'Horvath', 'Ivanova', 'Jansen',
           'Keller', 'Lindqvist', 'Moreau', 'Novak', 'Okafor', 'Petrov', 'Quinn', 'Rossi', 'Schuster'])[1 + n * 5 %% 19]
        as last_name,
    'member' || n || '@example.com' as email,
    case when n %% 50 = 49 then 'closed' else 'active' end as status,
    %(opened)s::timestamptz + n %% 700 * interval '1 day' as enrolled_at,
    %(opened)s::timestamptz + n %% 700 * interval '1 day' as updated_at
from generate_series(1, %(members)s) as n
"""

# Two members in ten hold a second card; one card in fifty was unlinked before the first transaction.
_CARDS: LiteralString = """
create table loyalty.cards as
select
    n::bigint as card_id,
    (1 + (n - 1) %% %(members)s)::bigint as member_id,
    'tok_' || lpad(to_hex(n::bigint * 2654435761 %% 4294967296), 8, '0') as card_token,
    (array['visa', 'mastercard', 'amex'])[1 + n %% 3] as scheme,
    %(opened)s::timestamptz + n %% 700 * interval '1 day' as linked_at,
    case when n %% 50 = 13 then %(closed)s::timestamptz end as unlinked_at,
    %(opened)s::timestamptz + n %% 700 * interval '1 day' as updated_at
from generate_series(1, %(cards)s) as n
"""

# Half of the merchants belong to NORTHWIND; an eighth belongs to no partner.
_MERCHANTS: LiteralString = """
create table loyalty.merchants as
select
    n::bigint as merchant_id,
    'S' || lpad((5000 + n)::text, 6, '0') as merchant_number,
    (array['Linden', 'Harbour', 'Corner', 'Station', 'Market', 'Garden', 'Old Town', 'Riverside'])[1 + n * 3 %% 8]
        || ' ' || (array['Bakery', 'Books', 'Coffee', 'Grocer', 'Pharmacy', 'Outfitters', 'Cinema'])[1 + n * 5 %% 7]
        || ' ' || n as merchant_name,
    (array['NORTHWIND', 'CEDARWAY', 'NORTHWIND', 'TIDEWATER', 'NORTHWIND', 'CEDARWAY', 'NORTHWIND', null])[1 + (n - 1) %% 8]
        as partner_code,
    (array['food', 'books', 'coffee', 'grocery', 'health', 'clothing', 'leisure'])[1 + n * 5 %% 7] as category,
    (array[1.0, 1.5, 2.0])[1 + n %% 3]::numeric(6, 2) as points_per_unit,
    (array[1.00, 2.50, 5.00])[1 + n %% 3]::numeric(12, 2) as minimum_amount,
    %(opened)s::timestamptz as updated_at
from generate_series(1, %(merchants)s) as n
"""

_TRANSACTIONS: LiteralString = """
create table loyalty.transactions (
    transaction_id text not null,
    card_id bigint not null,
    merchant_id bigint not null,
    transaction_at timestamptz not null,
    amount numeric(12, 2) not null,
    currency text not null,
    status text not null,
    loaded_at timestamptz not null
)
"""

# Transactions in the last hour of a day are loaded after midnight; all others within the hour.
_MORE_TRANSACTIONS: LiteralString = """
insert into loyalty.transactions
select
    'T' || lpad(n::text, 11, '0'),
    1 + h %% %(cards)s,
    1 + (h / 7) %% %(merchants)s,
    at,
    (100 + (h / 11) %% 19900) / 100.0,
    case when (h / 7) %% %(merchants)s %% 8 = 3 then 'GBP' else 'EUR' end,
    case when h %% 100 < 93 then 'settled' when h %% 100 < 97 then 'pending' else 'reversed' end,
    at + interval '55 minutes'
from (
    select n, h, %(start)s::timestamptz + (h %% %(days)s * 86400 + (h / 13) %% 86400) * interval '1 second' as at
    from (
        select n, (n::bigint * 48271 + 12345) * 69621 %% 2147483647 as h
        from generate_series(%(first)s::bigint, %(last)s::bigint) as n
    ) as numbered
) as timed
"""

_KEYS: LiteralString = """
alter table loyalty.members add primary key (member_id);
alter table loyalty.cards add primary key (card_id);
alter table loyalty.merchants add primary key (merchant_id);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """How many rows each source table holds."""

    members: int
    cards: int
    merchants: int
    transactions: int


def load(
    dsn: str,
    transactions: int,
    *,
    end_date: date = END_DATE,
    days: int = 3,
    canary_name: str | None = None,
    canary_number: str | None = None,
) -> Loaded:
    """Make schema `loyalty` anew with so many transactions, spread evenly over the business dates that end with `end_date`.

    A canary replaces the last name or the member number of the one member who surely has a qualifying transaction at
    NORTHWIND on `end_date`: a test plants it and then searches every place where it must not be.
    """
    members = max(20, transactions // 10)
    counts = Loaded(
        members=members,
        cards=members + members // 5,
        merchants=max(16, min(400, transactions // 50)),
        transactions=transactions,
    )
    with _connection(dsn) as connection:
        for schema in SCHEMAS:
            connection.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema)))
        connection.execute("create schema loyalty")
        days_before = {"opened": _midnight(end_date, -900), "closed": _midnight(end_date, -days - 10)}
        sizes = {"members": counts.members, "cards": counts.cards, "merchants": counts.merchants}
        _execute(connection, _MEMBERS, sizes | days_before)
        _execute(connection, _CARDS, sizes | days_before)
        _execute(connection, _MERCHANTS, sizes | days_before)
        connection.execute(_TRANSACTIONS)
        if transactions:
            _add(connection, counts, first=1, last=transactions, end_date=end_date, days=days)
            _make_first_one_qualify(connection, end_date)
        connection.execute(_KEYS)
        if canary_name is not None:
            connection.execute("update loyalty.members set last_name = %s where member_id = 1", [canary_name])
        if canary_number is not None:
            connection.execute("update loyalty.members set member_number = %s where member_id = 1", [canary_number])
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("analyze")
    return counts


def _add(
    connection: psycopg.Connection[tuple[int, ...]],
    counts: Loaded,
    *,
    first: int,
    last: int,
    end_date: date,
    days: int,
) -> None:
    values = {"cards": counts.cards, "merchants": counts.merchants, "first": first, "last": last, "days": days}
    _execute(connection, _MORE_TRANSACTIONS, values | {"start": _midnight(end_date, 1 - days)})


def _make_first_one_qualify(connection: psycopg.Connection[tuple[int, ...]], end_date: date) -> None:
    connection.execute(
        "update loyalty.transactions set card_id = 1, merchant_id = 1, status = 'settled', amount = 42.50, currency = 'EUR',"
        " transaction_at = %(noon)s, loaded_at = %(noon)s where transaction_id = 'T00000000001'",
        {"noon": f"{end_date.isoformat()} 12:00:00+00"},
    )


def _execute(
    connection: psycopg.Connection[tuple[int, ...]], statement: LiteralString, values: dict[str, str | int]
) -> None:
    # A client cursor: CREATE TABLE AS takes no server-side parameters.
    psycopg.ClientCursor(connection).execute(statement, values)


def _midnight(day: date, offset: int) -> str:
    return f"{date.fromordinal(day.toordinal() + offset).isoformat()} 00:00:00+00"


@contextmanager
def _connection(dsn: str) -> Iterator[psycopg.Connection[tuple[int, ...]]]:
    with psycopg.connect(dsn, options="-c timezone=UTC -c synchronous_commit=off") as connection:
        yield connection
