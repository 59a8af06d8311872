"""The query of a batch in T-SQL: SQL Server 2017 and later, Azure SQL Database and Managed Instance.

One statement gives rows and totals, as PostgreSQL's does; it is asked for under snapshot isolation, so that both are of one
state of the table. Every value leaves as text in one canonical form. A value whose text would not be the value leaves as
`{"refused": rule}`, and the writer names its row and column; columns of other types than the feed states are named in
`aliens`. Only conversions are used that SQL Server documents for every type that the column may have.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

from partners.extract import Dates, Extract, Instants, counted_loads
from partners.late import Loaded
from partners.layout import Column

# By code units: no language, case, width or accent makes two texts the same.
_BINARY = "COLLATE Latin1_General_BIN2"
_CHARACTERS = "char varchar nchar nvarchar"
_WHOLE = "bit tinyint smallint int bigint"
_EXACT = f"{_WHOLE} decimal numeric"
_WITHOUT_ZONE = "datetime datetime2 smalldatetime"
# The types of the table that a column of the feed may have, by its own type and how it is stored.
_TYPES = {
    ("text", None): f"{_CHARACTERS} uniqueidentifier {_EXACT}",
    ("text", "time"): "time",
    ("text", "binary"): "binary varbinary",
    ("integer", None): _EXACT,
    ("decimal", None): f"{_EXACT} money smallmoney",
    ("integer", "float"): "float",
    ("integer", "real"): "real",
    ("decimal", "float"): "float",
    ("decimal", "real"): "real",
    ("date", None): "date",
    ("timestamp", None): "datetimeoffset",
}
_DIGITS = re.compile(r"0|-?[1-9][0-9]*")
_LAST = 2**63 - 1
_ARGUMENTS = 90  # of one CONCAT: SQL Server takes 254, other servers that speak T-SQL fewer


def identifier(name: str) -> str:
    """Return a name in brackets, as T-SQL takes any name."""
    return f"[{name.replace(']', ']]')}]"


def literal(value: str) -> str:
    """Return a text as T-SQL writes it. A backslash before the end of a line would join lines: such letters stand apart."""
    runs, apart = [""], []
    for letter in value:
        if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp"):
            apart.append(f" + NCHAR({ord(letter)}) + ")
            runs.append("")
        else:
            runs[-1] += "''" if letter == "'" else letter
    text = "".join(f"N'{run}'{letter}" for run, letter in zip(runs, [*apart, ""], strict=True))
    return f"({text})" if apart else text


def sql_server(extract: Extract) -> str:
    """Return the statement for SQL Server: one column `row`, in order, the control object last."""
    names = "".join(f", src.{identifier(column.name)}" for column in extract.columns)
    order = ", ".join(_sorted(name, is_text=is_text) for name, is_text in extract.order)
    return (
        f"WITH known AS ({_known(extract)}), picked AS (SELECT row_number() OVER (ORDER BY {order}) AS [row number],"  # noqa: S608 - names and texts are quoted
        f" rank() OVER (ORDER BY {order}) AS [row rank]{names}"
        f" FROM {_table(extract.table)} AS src WHERE {' AND '.join(_rows(extract))})"
        f" SELECT [row] FROM (SELECT picked.[row number] AS place, {_row(extract.columns)} AS [row]"
        f" FROM picked CROSS JOIN known CROSS APPLY (SELECT {_values(extract.columns)}) AS v"
        f" UNION ALL SELECT {_LAST}, {_control(extract)} FROM picked) AS everything ORDER BY place"
    )


def _table(name: str) -> str:
    return ".".join(identifier(part) for part in name.split("."))


def _sorted(name: str, *, is_text: bool) -> str:
    """Return the order by a column: NULL last; texts by their code units, blanks at their end included."""
    column = f"src.{identifier(name)}"
    value = f"(CONVERT(nvarchar(max), {column}) + NCHAR(1)) {_BINARY}" if is_text else column
    return f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END, {value}"


# Which rows


def _rows(extract: Extract) -> Iterator[str]:
    yield from _in_period(extract.rows_period, "src")
    yield from _with_texts(extract, "src")
    loaded = extract.loaded
    if loaded is None:
        return
    at = f"src.{identifier(loaded.column)}"
    yield f"{at} < {_instant(loaded.until)}"
    if loaded.takes_late and loaded.seen and loaded.before:
        day = f"src.{identifier(extract.period.column)}"
        yield f"NOT ({day} <= {_day(loaded.before)} AND {at} < {_instant(loaded.seen)})"


def _in_period(period: Dates | Instants, table: str) -> Iterator[str]:
    column = f"{table}.{identifier(period.column)}"
    if isinstance(period, Instants):
        yield f"{column} >= {_instant(period.start)}"
        yield f"{column} < {_instant(period.end)}"
    elif period.first == period.last:
        yield f"{column} = {_day(period.first)}"
    else:
        yield f"{column} BETWEEN {_day(period.first)} AND {_day(period.last)}"


def _with_texts(extract: Extract, table: str) -> Iterator[str]:
    """Yield the filters: the first half may use an index, the second refuses what only the column's language takes as equal."""
    for name, value in extract.where:
        column = f"{table}.{identifier(name)}"
        yield f"{column} = {literal(value)} AND CONVERT(nvarchar(max), {column}) = {literal(value)} {_BINARY}"


def _instant(moment: datetime) -> str:
    return f"CAST(N'{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} +00:00' AS datetimeoffset(7))"


def _day(day: date) -> str:
    return f"CAST(N'{day.isoformat()}' AS date)"


# Values


def _known(extract: Extract) -> str:
    """Return what is the same for all rows: patterns for LIKE, and the type of each text column in the table.

    `odd` finds all but ordinary characters, `control` the control characters among them. `head` and `tail` find a half of a
    pair without the other half; they are NULL, and find nothing, where the server keeps no halves (LEN counts characters).
    """
    first, last = (f"N'{chr(point)}' {_BINARY}" for point in (0x10000, 0x10FFFF))
    heads = f"LEFT({first}, 1) + N'-' + LEFT({last}, 1)"
    tails = f"RIGHT({first}, 1) + N'-' + RIGHT({last}, 1)"
    patterns = {
        "odd": "N'%[^ -' + NCHAR(55295) + NCHAR(57344) + N'-' + NCHAR(65535) + N']%'",
        "control": f"N'%[^ -' + RIGHT({last}, 1) + NCHAR(57344) + N'-' + NCHAR(65535) + N']%'",
        "head": f"CASE WHEN LEN({first}) = 2 THEN N'%[' + {heads} + N'][^' + {tails} + N']%' END",
        "tail": f"CASE WHEN LEN({first}) = 2 THEN N'%[^' + {heads} + N'][' + {tails} + N']%' END",
    }
    members = [
        "COUNT(*) AS columns",  # one row, also for a feed without texts
        *(f"({pattern}) {_BINARY} AS {name}" for name, pattern in patterns.items()),
        *(
            f"MAX(CASE WHEN LOWER(c.name) {_BINARY} = {literal(column.name.lower())} THEN t.name END) AS k{number}"
            for number, column in enumerate(extract.columns)
            if _is_plain_text(column)
        ),
    ]
    return (
        f"SELECT {', '.join(members)} FROM sys.columns AS c JOIN sys.types AS t ON t.user_type_id = c.system_type_id"  # noqa: S608 - as above
        f" WHERE c.object_id = OBJECT_ID({literal(_table(extract.table))})"
    )


def _is_plain_text(column: Column) -> bool:
    return column.type == "text" and column.stored is None


def _values(columns: Sequence[Column]) -> str:
    return ", ".join(f"{_value(column, number)} AS v{number}" for number, column in enumerate(columns))


def _value(column: Column, number: int) -> str:
    """Return a value in its canonical form, still without quotes; NULL stays NULL.

    All texts have one collation: SQL Server joins no texts of different ones.
    """
    name = f"picked.{identifier(column.name)}"
    if column.is_number:
        return f"TRY_CAST({name} AS decimal(38,{column.scale or 0}))"
    if column.type == "date":
        return f"CONVERT(nvarchar(40), {name}, 121) {_BINARY}"
    if column.type == "timestamp":
        text = f"STUFF(CONVERT(nvarchar(40), {name}, 121), 11, 1, N'T') {_BINARY}"
        return f"REPLACE(REPLACE({text}, N' +', N'+'), N' -', N'-') + {literal(column.offset)}"
    if column.stored == "time":
        return f"CONVERT(nvarchar(16), CAST({name} AS time(7)), 121) {_BINARY}"
    if column.stored == "binary":
        return f"CONVERT(varchar(max), {name}, 2) {_BINARY}"
    text = f"CONVERT(nvarchar(max), {name})"
    return (
        f"(CASE WHEN known.k{number} IN (N'char', N'nchar') THEN RTRIM({text})"
        f" WHEN known.k{number} = N'uniqueidentifier' THEN LOWER({text}) ELSE {text} END) {_BINARY}"
    )


def _cell(column: Column, number: int) -> str:
    """Return a value as JSON: a text in quotes, null, or the rule by which it is refused."""
    value = f"v.v{number}"
    if column.is_number:
        name = f"picked.{identifier(column.name)}"
        again = f"CAST({value} AS {column.stored})" if column.stored else value
        return (
            f"CASE WHEN {name} IS NULL THEN N'null' WHEN {again} = {name} THEN N'\"' + CONVERT(nvarchar(41), {value}) + N'\"'"
            f" WHEN {value} IS NULL THEN {_refused('range')} ELSE {_refused('digits')} END"
        )
    if column.stored == "time":  # as short as it is: 10:11:12, 10:11:12.5
        short = f"REPLACE(RTRIM(REPLACE({value}, N'0', N' ')), N' ', N'0')"
        value = f"CASE WHEN {value} LIKE N'%.0000000' THEN LEFT({value}, 8) ELSE {short} END"
    if not _is_plain_text(column):
        return f"ISNULL(N'\"' + {value} + N'\"', N'null')"
    around = f"N'.' + {value} + N'.'"
    return (
        f"CASE WHEN {value} IS NULL THEN N'null' WHEN {value} LIKE known.odd AND {value} LIKE known.control"
        f" THEN {_refused('control')} WHEN {value} LIKE known.odd AND ({around} LIKE known.head OR {around} LIKE known.tail)"
        f" THEN {_refused('surrogate')}"
        rf""" ELSE N'"' + REPLACE(REPLACE({value}, N'\', N'\u005c'), N'"', N'\"') + N'"' END"""
    )


def _refused(rule: str) -> str:
    return literal(json.dumps({"refused": rule}))


def _row(columns: Sequence[Column]) -> str:
    cells = [_cell(column, number) for number, column in enumerate(columns)]
    return _joined(["N'['", "picked.[row number]", *(part for cell in cells for part in ("N', '", cell)), "N']'"])


def _joined(parts: Sequence[str]) -> str:
    """Return the parts as one text without a limit of its length."""
    groups = [parts[at : at + _ARGUMENTS] for at in range(0, len(parts), _ARGUMENTS)]
    texts = [f"CONCAT(CAST(N'' AS nvarchar(max)), {', '.join(group)})" for group in groups]
    return texts[0] if len(texts) == 1 else _joined(texts)


# What the database counts


def _control(extract: Extract) -> str:
    members = {
        "rows": "COUNT_BIG(*)",
        "ties": "ISNULL(SUM(CASE WHEN picked.[row number] <> picked.[row rank] THEN 1 ELSE 0 END), 0)",
        "sums": _object({column.name: _sum(f"picked.{identifier(column.name)}", column) for column in extract.numbers}),
        "aliens": f"N'{{' + ISNULL(({_aliens(extract)}), N'') + N'}}'",
    }
    if extract.unique:
        types = {column.name: column for column in extract.columns}
        members["repeated"] = _object({name: _repeated(types[name]) for name in extract.unique})
    if extract.control is not None:
        members["totals"] = _totals(extract)
    if extract.loaded is not None:
        members |= _loads(extract, extract.loaded)
    members["range"] = f"CASE WHEN COUNT_BIG(*) = 0 THEN ({_range(extract)}) ELSE N'null' END"
    return _object(members)


def _object(members: dict[str, str]) -> str:
    """Return a JSON object of members that are JSON already."""
    parts: list[str] = []
    for name, value in members.items():
        before = ", " if parts else "{"
        parts += [literal(f"{before}{json.dumps(name, ensure_ascii=False)}: "), value]
    return _joined([*parts, "N'}'"]) if parts else "N'{}'"


def _number(value: str) -> str:
    """Return a decimal as JSON: its digits as text, or null."""
    return f"ISNULL(N'\"' + CONVERT(nvarchar(41), {value}) + N'\"', N'null')"


def _sum(name: str, column: Column) -> str:
    return _number(f"SUM(TRY_CAST({name} AS decimal(38,{column.scale or 0})))")


def _repeated(column: Column) -> str:
    name = f"picked.{identifier(column.name)}"
    value = f"(CONVERT(nvarchar(max), {name}) + N'|') {_BINARY}" if _is_plain_text(column) else name
    return f"COUNT_BIG({name}) - COUNT_BIG(DISTINCT {value})"


def _totals(extract: Extract) -> str:
    """Return the mart's totals as a JSON array: for one day each row of the table, for more days their sum."""
    control, period = extract.control, extract.period
    assert control is not None, "asked for only with control totals"
    where = " AND ".join([*_in_period(period, "totals"), *_with_texts(extract, "totals")])
    source = f"FROM {_table(control.table)} AS totals WHERE {where}"
    scales = {column.name: column.scale or 0 for column in extract.columns}
    columns = {name: (f"totals.{identifier(total)}", scales[name]) for name, total in control.sums.items()}
    count = (f"totals.{identifier(control.rows)}", 0)
    if isinstance(period, Dates) and period.first == period.last:
        shown = {name: _as_it_is(*column) for name, column in columns.items()}
        one = _object({"rows": _as_it_is(*count), "sums": _object(shown)})
        return f"N'[' + ISNULL((SELECT STRING_AGG({one}, N', ') {source}), N'') + N']'"
    sums = _object({name: _number(f"SUM({_if_exact(*column)})") for name, column in columns.items()})
    rows = _number(f"ISNULL(SUM({_if_exact(*count)}), 0)")
    return f"(SELECT N'[' + {_object({'rows': rows, 'sums': sums})} + N']' {source})"


def _if_exact(value: str, scale: int) -> str:
    """Return a number as a decimal of the feed's scale, NULL where that would be another number."""
    exact = f"TRY_CAST({value} AS decimal(38,{scale}))"
    return f"CASE WHEN {exact} = {value} THEN {exact} END"


def _as_it_is(value: str, scale: int) -> str:
    """Return a number as JSON; one that the feed's scale does not hold equals no sum."""
    shown = f"ISNULL(CONVERT(nvarchar(41), {_if_exact(value, scale)}), N'inexact')"
    return f"CASE WHEN {value} IS NULL THEN N'null' ELSE N'\"' + {shown} + N'\"' END"


def _loads(extract: Extract, loaded: Loaded) -> dict[str, str]:
    """Return the counts of late rows, and of rows of which nobody knows when they were loaded."""
    source = f"(SELECT COUNT_BIG(*) FROM {_table(extract.table)} AS whole WHERE "  # noqa: S608 - as above
    return {
        name: source + " AND ".join([*conditions, *_with_texts(extract, "whole")]) + ")"
        for name, conditions in counted_loads(extract, loaded, identifier, _day, _instant).items()
    }


def _range(extract: Extract) -> str:
    """Return the first and the last day of the whole table, of all partners: asked only where a batch has no rows."""
    column = f"whole.{identifier(extract.period.column)}"
    ends = [f"{end}({column})" for end in ("MIN", "MAX")]
    if isinstance(extract.period, Instants):
        ends = [f"CAST(SWITCHOFFSET({end}, '+00:00') AS date)" for end in ends]
    first, last = (f"ISNULL(N'\"' + CONVERT(nvarchar(10), {end}, 121) + N'\"', N'null')" for end in ends)
    pair = _joined(["N'['", first, "N', '", last, "N']'"])
    return f"SELECT {pair} FROM {_table(extract.table)} AS whole"  # noqa: S608 - as above


def _aliens(extract: Extract) -> str:
    """Return the members of a JSON object: the columns whose type in the table is another than the feed states, and that type."""
    wanted = {column.name: allowed_types(column) for column in extract.columns}
    for name, value in extract.where:
        types = _types_with(value)
        wanted[name] = " ".join(each for each in wanted.get(name, types).split() if each in types.split())
    wanted[extract.period.column] = "date" if isinstance(extract.period, Dates) else "datetimeoffset"
    if extract.loaded is not None:
        wanted[extract.loaded.column] = "datetimeoffset"
    rows = ", ".join(
        f"({literal(name.lower())}, {literal(json.dumps(name, ensure_ascii=False))}, {literal(f' {types} ')})"
        for name, types in wanted.items()
    )
    kind = f"ISNULL(ISNULL(t.name, TYPE_NAME(c.user_type_id)), N'unknown') {_BINARY}"
    member = _joined(["w.shown", "N': \"'", kind, "N'\"'"])
    return (
        f"SELECT STRING_AGG({member}, N', ') FROM (VALUES {rows}) AS w(name, shown, types)"  # noqa: S608 - as above
        f" LEFT JOIN sys.columns AS c ON c.object_id = OBJECT_ID({literal(_table(extract.table))})"
        f" AND LOWER(c.name) {_BINARY} = w.name LEFT JOIN sys.types AS t ON t.user_type_id = c.system_type_id"
        f" WHERE CHARINDEX(N' ' + {kind} + N' ', w.types) = 0"
    )


def _types_with(value: str) -> str:
    """Return the types of which some value has this text: 'true' and 05 are no text of a number, and would find no row."""
    return f"{_CHARACTERS} {_WHOLE}" if _DIGITS.fullmatch(value) else _CHARACTERS


def allowed_types(column: Column) -> str:
    """Return the types of SQL Server that a column may have in the table, with blanks between them."""
    if column.type == "timestamp" and column.zone is not None:
        return _WITHOUT_ZONE
    return _TYPES[column.type, column.stored]
