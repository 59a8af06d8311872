"""The app that the contract's tests call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests
from azure.storage.blob import ContainerClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An app to hold against the contract."""

    url: str
    key: str
    raw: ContainerClient | None
    session: requests.Session

    def call(self, method: str, path: str, *, key: str | None = "", **more: Any) -> requests.Response:
        """Call a route; `key=None` sends none, another key replaces the good one."""
        headers = dict(more.pop("headers", {}))
        if key is not None:
            headers["x-functions-key"] = key or self.key
        return self.session.request(
            method, f"{self.url}{path}", headers=headers, timeout=60, allow_redirects=False, **more
        )
