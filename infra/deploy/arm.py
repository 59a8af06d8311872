"""The resource manager's side: list, read, write and delete the items of one factory, start and stop triggers.

azure-core gives tokens, retries (also for 429) and the transport; this module gives addresses, ETags and waiting for
answers that say 202. Retries never turn a write that took effect into an error: see put().
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import mktime_tz, parsedate_tz
from typing import Any, Self
from urllib.parse import quote, urljoin, urlsplit

from azure.core import PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.core.pipeline.policies import (
    BearerTokenCredentialPolicy,
    HeadersPolicy,
    RequestIdPolicy,
    RetryPolicy,
    UserAgentPolicy,
)
from azure.core.rest import HttpRequest, HttpResponse

from infra.deploy.errors import EditedMeanwhileError, RefusedError
from infra.deploy.planning import ADDED_BY_AZURE, plain
from infra.deploy.source import COLLECTIONS, GLOBAL_PARAMETERS, Item

API_VERSION = "2018-06-01"
PUBLIC_CLOUD = "https://management.azure.com"
WAIT_SECONDS = 600
PAUSE_SECONDS = 5.0


class Factory:
    """One live data factory; a context manager that closes its connections."""

    def __init__(
        self,
        factory_id: str,
        credential: TokenCredential,
        *,
        endpoint: str = PUBLIC_CLOUD,
        backoff_seconds: float = 0.8,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.id = factory_id
        self._endpoint = endpoint.rstrip("/")
        self._sleep = sleep
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
            self._endpoint,
            policies=[
                RequestIdPolicy(),
                HeadersPolicy(),
                UserAgentPolicy(base_user_agent="sealift-deploy"),
                # A 429 counts as a status: `retry_total` alone would stop at three of them.
                RetryPolicy(retry_total=10, retry_status=8, retry_backoff_factor=backoff_seconds),
                BearerTokenCredentialPolicy(credential, f"{self._endpoint}/.default"),
            ],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    # -- items ----------------------------------------------------------------------------------------------------

    def items(self) -> Iterator[Item]:
        """Everything that the factory holds, all pages."""
        for kind, collection in COLLECTIONS.items():
            url: str | None = self._url(collection)
            while url:
                page = self._send("GET", url).json()
                for body in page.get("value", ()):
                    yield _item(kind, body)
                url = page.get("nextLink")

    def get(self, kind: str, name: str) -> Item | None:
        response = self._send("GET", self._url(COLLECTIONS[kind], name), also=(404,))
        return None if response.status_code == 404 else _item(kind, response.json())

    def put(self, item: Item, etag: str) -> None:
        """Write an item: over the one with `etag`, or as a new one where `etag` is empty.

        Raises EditedMeanwhileError when the live item is not the one with `etag`, unless it is what we are writing:
        then an earlier try of this very request was carried out and only its answer was lost.
        """
        headers = {"If-Match": etag} if etag else {}
        url = self._url(COLLECTIONS[item.kind], item.name)
        properties = {name: value for name, value in item.properties.items() if name not in ADDED_BY_AZURE}
        response = self._send("PUT", url, {"properties": properties}, headers=headers, also=(412,))
        if response.status_code != 412:
            self._wait(response)
            return
        live = self.get(item.kind, item.name)
        if live is None or plain(live) != plain(item):
            raise EditedMeanwhileError(item.title)

    def delete(self, item: Item) -> None:
        """Delete an item that is still as the plan saw it; one that is gone already is fine."""
        live = self.get(item.kind, item.name)
        if live is None:
            return
        if live.etag != item.etag:
            raise EditedMeanwhileError(item.title)
        self._wait(self._send("DELETE", self._url(COLLECTIONS[item.kind], item.name), also=(404,)))

    # -- triggers -------------------------------------------------------------------------------------------------

    def stop(self, trigger: Item) -> None:
        """Stop a trigger; one that listens for events is unsubscribed too, as a deletion needs it."""
        self._act(trigger, "stop")
        if _listens(trigger):
            self._act(trigger, "unsubscribeFromEvents")

    def start(self, trigger: Item) -> None:
        """Start a trigger; one that listens for events is subscribed first, and starts only when that has ended."""
        if _listens(trigger):
            self._act(trigger, "subscribeToEvents")
        self._act(trigger, "start")

    def _act(self, trigger: Item, action: str) -> None:
        self._wait(self._send("POST", self._url("triggers", trigger.name, action)))

    # -- requests -------------------------------------------------------------------------------------------------

    def _url(self, *path: str) -> str:
        return f"{self._endpoint}{self.id}/{'/'.join(map(quote, path))}?api-version={API_VERSION}"

    def _send(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        also: tuple[int, ...] = (),
    ) -> HttpResponse:
        """Send one request; raises RefusedError for any answer of 400 and above that is not in `also`."""
        if urlsplit(url).netloc != urlsplit(self._endpoint).netloc:
            # A token must go to the resource manager only, wherever an answer points.
            raise RefusedError(f"the resource manager sent us to {urlsplit(url).netloc}", "try again later")
        request = HttpRequest(method, url, json=body, headers=headers)
        try:
            response = self._client.send_request(request)
            response.read()
        except ClientAuthenticationError as error:
            raise RefusedError(f"no token: {error.message}", "sign in: azd auth login, or az login") from error
        except AzureError as error:
            raise RefusedError(f"{method} {urlsplit(url).path}: {error.message}", "is the network up?") from error
        if response.status_code >= 400 and response.status_code not in also:
            raise _refusal(method, url, response)
        return response

    def _wait(self, response: HttpResponse) -> None:
        """Follow the Location of a 202 until it says something else; raises RefusedError after ten minutes."""
        waited = 0.0
        while response.status_code == 202 and (location := response.headers.get("Location")):
            location = urljoin(f"{self._endpoint}/", location)
            seconds = _pause(response.headers.get("Retry-After", ""))
            waited += seconds
            if waited > WAIT_SECONDS:
                raise RefusedError(f"{urlsplit(location).path} did not end in time", "run the same command again")
            self._sleep(seconds)
            response = self._send("GET", location)


def _pause(retry_after: str) -> float:
    """Seconds that an answer asks to wait: it may say a number or a date, and nonsense counts as nothing said."""
    if retry_after.isdecimal():
        return float(retry_after)
    date = parsedate_tz(retry_after)
    return max(1.0, mktime_tz(date) - time.time()) if date else PAUSE_SECONDS


def _item(kind: str, body: dict[str, Any]) -> Item:
    name = GLOBAL_PARAMETERS[1] if kind == GLOBAL_PARAMETERS[0] else body["name"]
    return Item(kind=kind, name=name, properties=body.get("properties", {}), etag=body.get("etag", ""))


def _listens(trigger: Item) -> bool:
    return trigger.properties.get("type") in ("BlobEventsTrigger", "CustomEventsTrigger")


def _refusal(method: str, url: str, response: HttpResponse) -> RefusedError:
    try:
        found = response.json()["error"]
        text = f"{found['code']}: {found['message']}"
    except (ValueError, KeyError, TypeError):
        text = response.text()[:300]
    hints = {
        401: "sign in again: azd auth login, or az login",
        403: "who deploys needs 'Data Factory Contributor' on the factory",
        404: "is this the right stage? The factory is made by `azd provision`",
        429: "the resource manager is busy: wait a few minutes, then run the same command again",
    }
    hint = hints.get(response.status_code, "fix what the message names, then run the same command again")
    return RefusedError(f"{method} {urlsplit(url).path}: {response.status_code} {text}", hint)
