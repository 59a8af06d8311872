"""Roles and rights in the warehouse: who may build, who may read. Made by its administrator, who is not a superuser on Azure.

    sealift_dbt      owns the marts; on the server that the template makes it signs in as dbt's identity, without a password
    sealift_reader   reads the marts for Data Factory, whose connector takes a password (decision 13); the password is made
                     here, goes into the vault, and is never shown, logged or sent to the server in clear

Every wish has a question that says whether it is fulfilled: what is there already is not touched, and a run that was
killed goes on.
Does not make the server, the database or the source tables.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from fault import Fault

SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
SOURCE_SCHEMA, MARTS = "loyalty", "marts"
READER = "sealift_reader"
_AUTHENTICATION = "28"  # SQLSTATE class: wrong password, no such role


class WarehouseRefused(Fault):
    """The warehouse does not take a connection or a statement: `message` holds its own words."""

    status = 502


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Who signs in: `dbt_object_id` is that of dbt's identity in Entra; empty where dbt has a password."""

    database: str
    dbt: str = "sealift_dbt"
    reader: str = READER
    dbt_object_id: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing that should be so: `question` answers true when it is; `statement` makes it so."""

    name: str
    question: Composed
    statement: Composed


def wishes(roles: Roles) -> Iterator[Wish]:
    """Yield what should be true of a warehouse, in an order in which each can be made."""
    dbt = Identifier(roles.dbt)
    yield _role(roles.dbt)
    yield Wish(
        f"the administrator acts for {roles.dbt}",  # else it may not grant what that role owns
        SQL("select pg_has_role(current_user, {}, 'SET') and pg_has_role(current_user, {}, 'USAGE')").format(
            roles.dbt, roles.dbt
        ),
        SQL("grant {} to current_user with inherit true, set true").format(dbt),
    )
    if roles.dbt_object_id:
        yield _identity(roles)
    yield _role(roles.reader)
    yield Wish(
        f"{roles.dbt} makes schemas in {roles.database}",
        SQL("select has_database_privilege({}, current_database(), 'CREATE')").format(roles.dbt),
        SQL("grant create on database {} to {}").format(Identifier(roles.database), dbt),
    )
    yield _schema(SOURCE_SCHEMA, "")
    yield _usage(SOURCE_SCHEMA, roles.dbt)
    yield _reads(SOURCE_SCHEMA, roles.dbt)
    yield _will_read(SOURCE_SCHEMA, roles.dbt, "")
    yield _schema(MARTS, roles.dbt)
    yield _usage(MARTS, roles.reader)
    yield _reads(MARTS, roles.reader)
    yield _will_read(MARTS, roles.reader, roles.dbt)


def _role(name: str) -> Wish:
    return Wish(
        f"role {name}",
        SQL("select exists (select from pg_roles where rolname = {} and rolcanlogin)").format(name),
        SQL("create role {} login").format(Identifier(name)),
    )


def _identity(roles: Roles) -> Wish:
    label = f"aadauth,oid={roles.dbt_object_id},type=service"
    return Wish(
        f"{roles.dbt} signs in as dbt's identity",
        SQL(
            "select exists (select from pg_shseclabel l join pg_roles r on r.oid = l.objoid"
            " where r.rolname = {} and l.provider = 'pgaadauth' and l.label like {})"
        ).format(roles.dbt, f"%oid={roles.dbt_object_id}%"),
        SQL("security label for pgaadauth on role {} is {}").format(Identifier(roles.dbt), Literal(label)),
    )


def _schema(name: str, owner: str) -> Wish:
    """`owner` "": the current user."""
    return Wish(
        f"schema {name}",
        SQL("select to_regnamespace({}) is not null").format(name),
        SQL("create schema {} authorization {}").format(
            Identifier(name), Identifier(owner) if owner else SQL("current_user")
        ),
    )


def _will_read(schema: str, role: str, owner: str) -> Wish:
    """`role` reads what `owner` ("": the current user) will make in a schema."""
    maker = Literal(owner) if owner else SQL("current_user")
    return Wish(
        f"{role} reads what {owner or 'the administrator'} will make in {schema}",
        SQL(
            "select exists (select from pg_default_acl a join pg_roles r on r.oid = a.defaclrole, aclexplode(a.defaclacl) x"
            " where r.rolname = {} and a.defaclnamespace = to_regnamespace({}) and x.privilege_type = 'SELECT'"
            " and x.grantee = (select oid from pg_roles where rolname = {}))"
        ).format(maker, schema, role),
        SQL("alter default privileges for role {} in schema {} grant select on tables to {}").format(
            Identifier(owner) if owner else SQL("current_user"), Identifier(schema), Identifier(role)
        ),
    )


def _usage(schema: str, role: str) -> Wish:
    return Wish(
        f"{role} uses schema {schema}",
        SQL("select has_schema_privilege({}, {}, 'USAGE')").format(role, schema),
        SQL("grant usage on schema {} to {}").format(Identifier(schema), Identifier(role)),
    )


def _reads(schema: str, role: str) -> Wish:
    return Wish(
        f"{role} reads the tables of {schema}",
        SQL(
            "select coalesce(bool_and(has_table_privilege({}, c.oid, 'SELECT')), true) from pg_class c"
            " where c.relnamespace = to_regnamespace({}) and c.relkind in ('r', 'v', 'm', 'p')"
        ).format(role, schema),
        SQL("grant select on all tables in schema {} to {}").format(Identifier(schema), Identifier(role)),
    )


def missing(connection: psycopg.Connection, roles: Roles) -> list[str]:
    """Return the names of what is not so yet; reads only. A question about a role that is not there counts as not so."""
    return [wish.name for wish in wishes(roles) if not _holds(connection, wish)]


def make(connection: psycopg.Connection, roles: Roles, say: Callable[[str], None]) -> int:
    """Make true what is not; return how many statements that took. Raises WarehouseRefused."""
    made = 0
    for wish in wishes(roles):
        if _holds(connection, wish):
            continue
        try:
            with connection.transaction():
                connection.execute(wish.statement)
        except psycopg.Error as error:
            raise _refused(f"{wish.name}: {_words(error)}", _hint(error)) from error
        say(wish.name)
        made += 1
    return made


def _holds(connection: psycopg.Connection, wish: Wish) -> bool:
    try:
        with connection.transaction():
            row = connection.execute(wish.question).fetchone()
    except (psycopg.errors.UndefinedObject, psycopg.errors.InvalidSchemaName):
        return False
    return bool(row and row[0])


def set_new_password(connection: psycopg.Connection, role: str) -> str:
    """Give a role a new random password and return it. The server gets its SCRAM verifier, never the password itself."""
    password = secrets.token_urlsafe(32)
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    try:
        connection.execute(SQL("alter role {} password {}").format(Identifier(role), Literal(verifier)))
    except psycopg.Error as error:
        raise _refused(f"role {role} takes no password: {error.sqlstate}", _hint(error)) from None
    return password


def opens(dsn: str, role: str, password: str) -> bool:
    """Return whether a password signs a role in. Raises WarehouseRefused when the server cannot be asked."""
    try:
        psycopg.connect(dsn, user=role, password=password, connect_timeout=15).close()
    except psycopg.OperationalError as error:
        if "authentication failed" in str(error) or (error.sqlstate or "").startswith(_AUTHENTICATION):
            return False
        raise _refused(_words(error), _hint(error)) from None
    return True


def connect(dsn: str, user: str, token: str) -> psycopg.Connection:
    """Connect as the administrator. Raises WarehouseRefused with the server's own words and one action."""
    try:
        return psycopg.connect(dsn, user=user, password=token, connect_timeout=15, autocommit=True)
    except psycopg.Error as error:
        raise _refused(_words(error), _hint(error)) from None


def address(host: str, database: str) -> str:
    """Return how a server in Azure is reached: encrypted, and its certificate checked."""
    return f"host={host} port=5432 dbname={database} sslmode=verify-full sslrootcert=system"


_HINTS: Sequence[tuple[str, str]] = (
    ("no pg_hba.conf entry", "add your address to operatorIpRanges of the stage's parameter file, then: azd provision"),
    ("timeout", "add your address to operatorIpRanges of the stage's parameter file, then: azd provision"),
    ("AadAuth", "the administrator was made just now: wait two minutes, then run the same command again"),
    ("validating the access token", "sign in again: az login"),
    ("authentication failed", "are you the warehouse's administrator (SEALIFT_PRINCIPAL_NAME)? Then: az login"),
    ("is not loaded", "this server takes no Entra identities: leave out dbt's object id, and give dbt a password"),
    ("permission denied", "run this as the server's administrator"),
    ("translate host name", "is the server there? azd provision makes it"),
)


def _hint(error: psycopg.Error) -> str:
    text = str(error)
    return next((hint for words, hint in _HINTS if words in text), "fix what the message names, then run this again")


def _words(error: psycopg.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _refused(message: str, hint: str) -> WarehouseRefused:
    return WarehouseRefused(f"the warehouse: {message}", hint)
