"""Parquet as rows, by pyarrow, which is an extra: `pip install pyarrow`.

Whole numbers, floats, booleans and text go both ways. A decimal, date or time has a text in Data Factory that depends on the
sink, which is not run here: it is refused with the cast. A file is held in memory, a group of rows at a time is decoded.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from adf_runner.errors import ActivityFailed

GROUP_ROWS = 10_000
FILE_BYTES = 512 * 1024 * 1024
# Kinds of a database's columns that have no text here in a Parquet file.
NO_TEXT = frozenset({"decimal", "date", "datetime", "datetimeoffset"})
PLAIN = (bool, int, float, str, type(None))


def _pyarrow() -> Any:
    try:
        pyarrow = importlib.import_module("pyarrow")
        importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ActivityFailed(
            "Parquet needs pyarrow, which is not installed",
            "pip install pyarrow",
            code="MissingPackage",
            retriable=False,
        ) from error
    return pyarrow


def read_parquet(files: Iterator[tuple[str, Iterator[bytes]]]) -> tuple[list[str], Iterator[list[Any]]]:
    """Return the columns of the first file, and the rows of all; each must have the same columns. Raises ActivityFailed."""
    tables = _tables(files)
    first = next(tables, None)
    if first is None:
        return [], iter(())
    names = first[1].schema_arrow.names

    def rows() -> Iterator[list[Any]]:
        for path, file in chain([first], tables):
            if file.schema_arrow.names != names:
                raise ActivityFailed(f"{path}: its columns differ from the first file's", code="UserErrorInvalidFormat")
            for batch in file.iter_batches(GROUP_ROWS):
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    yield [_plain(name, value) for name, value in zip(names, row, strict=True)]

    return names, rows()


def _tables(files: Iterator[tuple[str, Iterator[bytes]]]) -> Iterator[tuple[str, Any]]:
    pyarrow = _pyarrow()
    for path, pieces in files:
        content = io.BytesIO()
        for piece in pieces:
            content.write(piece)
            if content.tell() > FILE_BYTES:
                raise ActivityFailed(f"{path} is larger than {FILE_BYTES >> 20} MiB, which is held in memory here")
        try:
            yield path, pyarrow.parquet.ParquetFile(content)
        except pyarrow.ArrowInvalid as error:
            raise ActivityFailed(f"{path} is not Parquet", code="UserErrorInvalidFormat") from error


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, PLAIN):
        return value
    raise ActivityFailed(
        f"column {name!r} holds {type(value).__name__}, which is not run here", "leave it out of the mapping",
        code="UserErrorTypeNotRun", retriable=False,
    )  # fmt: skip


def write_parquet(names: Sequence[str], values: Iterator[list[Any]], codec: str, write: Callable[[bytes], None]) -> int:
    """Write rows with the types of the first group of rows; return how many. Raises ActivityFailed for a row that differs."""
    pyarrow = _pyarrow()
    group = list(islice(values, GROUP_ROWS))
    kinds = [_kind(pyarrow, name, [row[index] for row in group]) for index, name in enumerate(names)]
    schema = pyarrow.schema(list(zip(names, kinds, strict=True)))
    count = 0
    with pyarrow.parquet.ParquetWriter(_Pipe(write), schema, compression=codec) as writer:
        while group:
            try:
                columns = [pyarrow.array([row[index] for row in group], type=kind) for index, kind in enumerate(kinds)]
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OverflowError) as error:
                raise ActivityFailed(
                    f"a value after row {count} has another type than its column before", code="UserErrorTypeNotRun"
                ) from error
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
            count += len(group)
            group = list(islice(values, GROUP_ROWS))
    return count


def _kind(pyarrow: Any, name: str, column: list[Any]) -> Any:
    kinds = {type(value) for value in column if value is not None}
    if kinds <= {str}:
        return pyarrow.string()
    if kinds == {bool}:
        return pyarrow.bool_()
    if kinds == {int}:
        return pyarrow.int64()
    if kinds <= {int, float}:
        return pyarrow.float64()
    raise ActivityFailed(f"column {name!r} holds values of several types", code="UserErrorTypeNotRun", retriable=False)


class _Pipe(io.RawIOBase):
    """What pyarrow writes to: passes bytes on."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, piece: Any) -> int:
        data = bytes(piece)
        self._write(data)
        self._size += len(data)
        return len(data)
