"""The T-SQL by which a source lets Sealift read its feeds' tables, and by which one asks whether it does.

Nothing is run here: an administrator of the database runs it, or a command of `./sealift azure` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from partners.model import Partner
from partners.sources import Source
from partners.tsql import identifier, literal


def tables_of(partners: Iterable[Partner], source: str) -> list[str]:
    """Return the tables that the feeds of a source read, totals included, each once, by name."""
    feeds = [feed for partner in partners for feed in partner.feeds.values() if feed.source == source]
    return sorted({name for feed in feeds for name in (feed.table, feed.control.table if feed.control else feed.table)})


def grants(source: Source, tables: Iterable[str], factory: str) -> list[str]:
    """Return the statements, which may be run again: the user, the isolation that an extract asks for, the tables alone.

    `factory` is the Data Factory's name: in Azure SQL its managed identity is the user.
    """
    user = factory if source.kind == "azure-sql" else str(source.user)
    origin = "from external provider" if source.kind == "azure-sql" else f"for login {identifier(user)}"
    missing = f"if not exists (select * from sys.database_principals where name = {literal(user)})"  # noqa: S608 - quoted
    made = [f"{missing} create user {identifier(user)} {origin};"]
    if source.kind == "sql-server":  # Azure SQL allows it always
        made.append("alter database current set allow_snapshot_isolation on;")
    return made + [f"grant select on {_object(table)} to {identifier(user)};" for table in tables]


def script(partners: Sequence[Partner], sources: Mapping[str, Source], factory: str) -> list[str]:
    """Return the lines for an administrator: for each source a comment that names its database, then its statements."""
    lines = []
    for name, source in sources.items():
        lines.append(f"-- {name}: database {source.database} of {source.server}")
        lines += grants(source, tables_of(partners, name), factory)
    return lines


def missing_grants(source: Source, tables: Iterable[str], factory: str) -> str:
    """Return the query whose rows are the tables that the user may not read; none means that all is granted."""
    user = literal(factory if source.kind == "azure-sql" else str(source.user))
    wanted = ", ".join(f"({literal(table)}, {literal(_object(table))})" for table in tables)
    return (
        f"select w.name from (values {wanted}) as w(name, quoted) where not exists (select * from sys.database_permissions as p"  # noqa: S608 - quoted
        f" join sys.database_principals as u on u.principal_id = p.grantee_principal_id where u.name = {user}"
        " and p.permission_name = 'SELECT' and p.state in ('G', 'W')"
        " and (p.class = 0 or p.class = 1 and p.major_id = object_id(w.quoted)"
        " or p.class = 3 and p.major_id = schema_id(parsename(w.quoted, 2))))"
    )


def _object(table: str) -> str:
    return ".".join(identifier(part) for part in table.split("."))
