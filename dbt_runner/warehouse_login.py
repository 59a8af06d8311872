"""How dbt signs in at the warehouse, once for each of its commands, so that no run outlives what it signed in with.

WAREHOUSE_LOGIN   entra                          a token of the container's identity, which PostgreSQL in Azure takes as password
                  https://.../secrets/<name>     a password, read from Key Vault as the container's identity
                  (not set)                      DBT_ENV_SECRET_PG_PASSWORD as it is
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Any

from azure.core import PipelineClient
from azure.core.exceptions import AzureError
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy
from azure.core.rest import HttpRequest
from azure.identity import DefaultAzureCredential

ENTRA = "entra"
WAREHOUSE_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
VAULT_SCOPE = "https://vault.azure.net/.default"
SETTING = "WAREHOUSE_LOGIN"
PASSWORD = "DBT_ENV_SECRET_PG_PASSWORD"  # noqa: S105 - a name


class LoginFailed(Exception):
    """There is nothing to sign in with: one sentence says why, and what to do."""


class Login:
    """Puts what opens the warehouse where dbt's profile looks; `secrets` hears of it, so that nothing prints it."""

    def __init__(self, way: str, secrets: list[str], *, vault_scope: str = VAULT_SCOPE) -> None:
        self._way = way
        self._secrets = secrets
        self._vault_scope = vault_scope

    def renew(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Fetch it anew. Raises LoginFailed."""
        if not self._way:
            return
        try:
            # A new credential each time: one that is kept would hand out the token that it got before.
            credential = DefaultAzureCredential()
            password = self._token(credential) if self._way == ENTRA else self._secret(credential)
        except AzureError as error:
            words = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise LoginFailed(f"no sign-in for the warehouse: {words}") from None
        if password not in self._secrets:
            self._secrets.append(password)
        environment[PASSWORD] = password

    def _token(self, credential: DefaultAzureCredential) -> str:
        return str(credential.get_token(WAREHOUSE_SCOPE).token)

    def _secret(self, credential: DefaultAzureCredential) -> str:
        policies = [RetryPolicy(retry_total=3, retry_backoff_factor=0.5)]
        policies.append(BearerTokenCredentialPolicy(credential, self._vault_scope))  # type: ignore[arg-type]
        name = self._way.rpartition("/")[2]
        client: PipelineClient[Any, Any] = PipelineClient(self._way, policies=policies)
        with client:
            answer = client.send_request(HttpRequest("GET", f"{self._way}?api-version=7.4"))
            if answer.status_code == 200:
                return str(answer.json()["value"])
        if answer.status_code == 403:
            raise LoginFailed(
                f"the vault refuses the secret {name!r} (403): it is switched off, or dbt's identity has no grant on it yet"
            )
        raise LoginFailed(f"the vault answered {answer.status_code} for the secret {name!r}")
