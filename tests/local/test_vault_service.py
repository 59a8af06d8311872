from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm, SignatureAlgorithm
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from service_support import Become

from local.key_vault.identity import IdentityEndpoint
from local.key_vault.server import KeyVault
from local.wire.certificates import CertificateAuthority
from local.wire.faults import Fault


def error_of(failure: pytest.ExceptionInfo[HttpResponseError]) -> tuple[int | None, str, str | None]:
    error = failure.value.error
    assert error is not None
    inner: Any = error.innererror
    return failure.value.status_code, str(error.code), inner["code"] if inner else None


def test_secret_is_set_read_versioned_and_listed_by_the_real_sdk(vault: KeyVault, become: Become) -> None:
    vault.allow("operator", secrets=["*"], write=True)
    with SecretClient(vault.url, become("operator")) as client:
        first = client.set_secret("northwind-certificate", "one", content_type="application/x-pem-file")
        client.set_secret("northwind-certificate", "two")

        assert client.get_secret("northwind-certificate").value == "two"
        assert client.get_secret("northwind-certificate", first.properties.version).value == "one"
        versions = list(client.list_properties_of_secret_versions("northwind-certificate"))
        assert [version.content_type for version in versions] == ["application/x-pem-file", None]
        assert [item.name for item in client.list_properties_of_secrets()] == ["northwind-certificate"]


def test_a_long_list_comes_in_pages(vault: KeyVault, become: Become) -> None:
    vault.allow("operator", secrets=["*"])
    for number in range(60):
        vault.set_secret(f"secret-{number:02}", "x")

    with SecretClient(vault.url, become("operator")) as client:
        assert len({item.name for item in client.list_properties_of_secrets()}) == 60


def test_unknown_secret_is_not_found(vault: KeyVault, become: Become) -> None:
    vault.allow("operator", secrets=["*"])
    with SecretClient(vault.url, become("operator")) as client, pytest.raises(ResourceNotFoundError) as failure:
        client.get_secret("nobody")

    assert error_of(failure) == (404, "SecretNotFound", None)


def test_principal_reads_only_what_it_was_allowed(vault: KeyVault, become: Become) -> None:
    vault.set_secret("northwind-certificate", "public")
    vault.set_secret("northwind-sftp-key", "private")
    vault.allow("function-app", secrets=["*-certificate"])
    with SecretClient(vault.url, become("function-app")) as client:
        assert client.get_secret("northwind-certificate").value == "public"
        with pytest.raises(HttpResponseError) as read:
            client.get_secret("northwind-sftp-key")
        with pytest.raises(HttpResponseError) as write:
            client.set_secret("northwind-certificate", "mine")

    assert error_of(read) == error_of(write) == (403, "Forbidden", "ForbiddenByRbac")


def test_disabled_secret_is_refused_in_azures_words(vault: KeyVault, become: Become) -> None:
    vault.allow("operator", secrets=["*"], write=True)
    with SecretClient(vault.url, become("operator")) as client:
        client.set_secret("old", "x", enabled=False)
        with pytest.raises(HttpResponseError) as failure:
            client.get_secret("old")

    assert error_of(failure) == (403, "Forbidden", "SecretDisabled")


def test_signature_made_in_the_vault_verifies_with_the_published_certificate(vault: KeyVault, become: Become) -> None:
    vault.create_key("sealift-signing")
    vault.allow("function-app", keys=["sealift-signing"])
    digest = hashlib.sha256(b"manifest").digest()
    credential = become("function-app")

    with KeyClient(vault.url, credential) as keys:
        key = keys.get_key("sealift-signing")
    with CryptographyClient(key, credential) as crypto:
        signature = crypto.sign(SignatureAlgorithm.ps256, digest).signature
        assert crypto.verify(SignatureAlgorithm.ps256, digest, signature).is_valid

    certificate = x509.load_der_x509_certificate(_certificate(vault))
    public_key = certificate.public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    assert public_key.key_size == 3072
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    public_key.verify(signature, digest, scheme, utils.Prehashed(hashes.SHA256()))


def _certificate(vault: KeyVault) -> bytes:
    import base64

    return base64.b64decode(vault.store.certificate("sealift-signing", vault.url)["cer"])


def test_signing_key_cannot_unwrap(vault: KeyVault, become: Become) -> None:
    vault.create_key("sealift-signing")
    vault.allow("function-app", keys=["*"])
    credential = become("function-app")
    with KeyClient(vault.url, credential) as keys:
        key_id = keys.get_key("sealift-signing").id
    assert key_id is not None
    answer = requests.post(
        f"{key_id}/unwrapkey?api-version=7.4",
        json={"alg": "RSA-OAEP-256", "value": "AAAA"},
        headers={"Authorization": f"Bearer {vault_token(vault)}"},
    )

    assert answer.status_code == 403
    assert answer.json()["error"]["innererror"]["code"] == "KeyOperationForbidden"


def vault_token(vault: KeyVault, principal: str = "function-app") -> str:
    return vault._identity.token(principal, vault._resource)[0]


def test_key_is_created_and_a_file_key_wrapped_and_unwrapped_through_the_sdk(vault: KeyVault, become: Become) -> None:
    vault.allow("operator", keys=["*"], write=True)
    credential = become("operator")
    with KeyClient(vault.url, credential) as keys:
        key = keys.create_rsa_key("escrow", size=3072)
    with CryptographyClient(key, credential) as crypto:
        wrapped = crypto.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"0" * 32).encrypted_key
        assert crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == b"0" * 32


def test_log_tells_who_asked_for_what_and_never_a_value(vault: KeyVault, become: Become, tmp_path: Path) -> None:
    vault.set_secret("warehouse-password", "canary-value")
    vault.allow("data-factory", secrets=["warehouse-password"])
    with SecretClient(vault.url, become("data-factory")) as client:
        assert requests.get(f"{vault.url}/secrets/warehouse-password?api-version=7.6").status_code == 401
        client.get_secret("warehouse-password")

    # The SDK asks without a token first, but not where it remembers the challenge of an earlier vault on the same port.
    entries = [(entry["principal"], entry["method"], entry["path"], entry["status"]) for entry in vault.requests()]
    refused, answered = (
        ("-", "GET", "/secrets/warehouse-password", 401),
        ("data-factory", "GET", "/secrets/warehouse-password", 200),
    )
    assert entries in ([refused, answered], [refused, refused, answered])
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"canary-value" in path.read_bytes()]


@pytest.mark.parametrize("status", [429, 503])
def test_sdk_rides_out_a_busy_vault(vault: KeyVault, become: Become, status: int) -> None:
    vault.set_secret("s", "value")
    vault.allow("operator", secrets=["*"])
    vault.faults.add(Fault(path="/secrets/s*", status=status, retry_after_seconds=0, times=2))

    with SecretClient(vault.url, become("operator")) as client:
        assert client.get_secret("s").value == "value"

    assert [entry["status"] for entry in vault.requests()] == [401, status, status, 200]


def test_slow_vault_answers_after_its_delay(vault: KeyVault, become: Become) -> None:
    vault.set_secret("s", "value")
    vault.allow("operator", secrets=["*"])
    vault.faults.add(Fault(delay_seconds=0.3))
    started = time.monotonic()

    with SecretClient(vault.url, become("operator")) as client:
        assert client.get_secret("s").value == "value"

    assert time.monotonic() - started >= 0.3


def test_token_for_another_audience_is_challenged_again(
    vault: KeyVault, identity: IdentityEndpoint, authority: CertificateAuthority
) -> None:
    token, _ = identity.token("operator", "https://storage.azure.com")

    answer = requests.get(
        f"{vault.url}/secrets/s?api-version=7.4",
        headers={"Authorization": f"Bearer {token}"},
        verify=str(authority.bundle),
    )

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization=")
