"""The services that `./sealift demo --keep` left up, for the other verbs: one file says where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.stack import ROOT, Connection
from local.wire.processes import ServiceError

KEPT = ROOT / ".sealift-kept.json"


class AlreadyKept(ServiceError):
    """Another `demo --keep` has its services up."""

    def __init__(self) -> None:
        super().__init__(
            "services are up already: another ./sealift demo --keep runs",
            "use those, or end them first: Ctrl-C where they were started",
        )


def kept_services() -> Connection | None:
    """Return the kept services if they are up. What a killed owner left is removed."""
    try:
        connection = Connection.read(KEPT)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # cut, or written by another version
        KEPT.unlink(missing_ok=True)
        return None
    if _is_alive(connection.owner) and Path(connection.folder).is_dir():
        return connection
    KEPT.unlink(missing_ok=True)
    return None


@contextmanager
def keeping(connection: Connection) -> Iterator[None]:
    """Let other verbs find these services for as long as the block runs. Raises AlreadyKept."""
    if kept_services() is not None:
        raise AlreadyKept
    try:
        connection.write(KEPT)
    except FileExistsError:
        raise AlreadyKept from None
    try:
        yield
    finally:
        KEPT.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
