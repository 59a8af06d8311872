from __future__ import annotations

import base64
import json

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ManagedIdentityCredential
from service_support import Become

from local.key_vault.identity import IdentityEndpoint, TokenRefused


def claims_of(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    content: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return content


def test_default_credential_of_a_process_is_its_principal(become: Become) -> None:
    credential = become("function-app")

    token = credential.get_token("https://storage.azure.com/.default")

    assert claims_of(token.token)["oid"] == "function-app"
    assert claims_of(token.token)["aud"] == "https://storage.azure.com"


def test_a_token_is_good_for_its_audience_only(identity: IdentityEndpoint) -> None:
    token, _ = identity.token("dbt", "https://storage.azure.com")

    assert identity.verify(f"Bearer {token}", "https://storage.azure.com") == "dbt"
    with pytest.raises(TokenRefused, match="not for https://management"):
        identity.verify(f"Bearer {token}", "https://management.azure.com")


def test_a_changed_principal_breaks_the_token(identity: IdentityEndpoint) -> None:
    header, body, signature = identity.token("dbt", "https://storage.azure.com")[0].split(".")
    forged = claims_of(f".{body}") | {"oid": "operator"}
    body = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()

    with pytest.raises(TokenRefused):
        identity.verify(f"Bearer {header}.{body}.{signature}", "https://storage.azure.com")


@pytest.mark.parametrize("header", ["", "function-app", "function-app.0"])
def test_caller_without_a_known_header_gets_no_token(identity: IdentityEndpoint, header: str) -> None:
    query = {"resource": "https://storage.azure.com", "api-version": "2019-08-01"}

    answer = requests.get(identity.url, params=query, headers={"X-IDENTITY-HEADER": header})

    assert answer.status_code == 401


def test_one_process_cannot_use_anothers_user_assigned_identity(
    identity: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = "11111111-1111-4111-8111-111111111111"
    for name, value in identity.environment("assigned", client_id=mine).items():
        monkeypatch.setenv(name, value)

    with ManagedIdentityCredential(client_id=mine) as credential:
        assert claims_of(credential.get_token("https://storage.azure.com/.default").token)["appid"] == mine
    with (
        ManagedIdentityCredential(client_id=mine.replace("1", "2")) as credential,
        pytest.raises(ClientAuthenticationError),
    ):
        credential.get_token("https://storage.azure.com/.default")
