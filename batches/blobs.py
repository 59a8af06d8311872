"""Small blobs, read and written so that calls at the same time agree: read or None, write once, update under the ETag.

Knows no batch. A blob of ours that is not what we write raises Unreadable with its name, never the caller's error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import ContainerClient
from pydantic import BaseModel, ValidationError

from batches.errors import Unreadable

Model = TypeVar("Model", bound=BaseModel)


def read(container: ContainerClient, name: str) -> bytes | None:
    """Return a blob's content, or None where there is none."""
    found = _download(container, name)
    return None if found is None else found[0]


def read_model(container: ContainerClient, name: str, model: type[Model]) -> Model | None:
    """Return a blob as a value, or None where there is none. Raises Unreadable."""
    content = read(container, name)
    return None if content is None else parse(content, name, model)


def parse(content: bytes, name: str, model: type[Model]) -> Model:
    """Return content that was read before as a value. Raises Unreadable, which names the blob and no value of it."""
    try:
        return model.model_validate_json(content)
    except (ValidationError, RecursionError):
        raise Unreadable(name) from None


def write_once(container: ContainerClient, name: str, content: bytes) -> bytes:
    """Write a blob that is never replaced; return what it holds now, which is another's content when that came first."""
    try:
        container.upload_blob(name, content, match_condition=MatchConditions.IfMissing)
    except (ResourceExistsError, ResourceModifiedError):
        return container.download_blob(name).readall()
    return content


def update(container: ContainerClient, name: str, change: Callable[[bytes | None], bytes]) -> None:
    """Replace a blob's content by what `change` makes of the newest (None: no blob yet); again when another was faster.

    Nothing is written where `change` returns what is there.
    """
    while True:
        found = _download(container, name)
        content = change(found and found[0])
        if found and content == found[0]:
            return
        try:
            if found:
                container.upload_blob(
                    name, content, overwrite=True, etag=found[1], match_condition=MatchConditions.IfNotModified
                )
            else:
                container.upload_blob(name, content, match_condition=MatchConditions.IfMissing)
        except (ResourceExistsError, ResourceModifiedError):
            continue
        return


def _download(container: ContainerClient, name: str) -> tuple[bytes, str] | None:
    try:
        download = container.download_blob(name)
    except ResourceNotFoundError:
        return None
    return download.readall(), download.properties.etag
