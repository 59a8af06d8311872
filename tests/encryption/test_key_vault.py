"""encryption/vault.py against the Key Vault stand-in, over TLS and with the real SDK."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential
from azure.keyvault.keys import KeyVaultKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from encryption_support import NOW, desk, file_info, make_certificate, pem, pgp_recipient, rsa_key

from encryption import (
    CertificateExpired,
    OpenPgp,
    SecretMissing,
    VaultError,
    VaultForbidden,
    VaultUnreachable,
    load_verification_key,
    seal,
    verify_signature,
)
from encryption.vault import Vault
from local.key_vault.identity import IdentityEndpoint
from local.key_vault.server import KeyVault
from local.wire.certificates import CertificateAuthority
from local.wire.faults import Fault


@pytest.fixture(scope="module")
def service(
    authority: CertificateAuthority, identity: IdentityEndpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KeyVault]:
    with KeyVault(authority, identity, folder=tmp_path_factory.mktemp("vault")) as vault:
        vault.allow("function-app", secrets=["*-certificate"], keys=["sealift-signing", "sealift-openpgp"])
        vault.create_key("sealift-signing")
        vault.create_key("sealift-openpgp")
        vault.create_key("closed")
        yield vault


@pytest.fixture
def vault(
    service: KeyVault, authority: CertificateAuthority, identity: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Vault]:
    for name, value in (authority.environment | identity.environment("function-app")).items():
        monkeypatch.setenv(name, value)
    credential = DefaultAzureCredential()
    vault = Vault(service.url, credential, retry_total=0)
    yield vault
    vault.close()
    credential.close()
    service.faults.clear()


def test_the_newest_certificate_of_a_secret_becomes_the_recipient(vault: Vault, service: KeyVault) -> None:
    version = service.set_secret(
        "northwind-certificate", pem(make_certificate(first_day=-99), make_certificate()).decode()
    )

    (found,) = vault.recipients("northwind-certificate", NOW)

    assert found.key_id == f"{service.url}/secrets/northwind-certificate/{version}"
    assert found.certificate.not_valid_before_utc == NOW - dt.timedelta(days=10)


def test_a_new_version_of_the_secret_counts_for_the_next_file(vault: Vault, service: KeyVault) -> None:
    service.set_secret("rotated-certificate", pem(make_certificate(last_day=3)).decode())
    first = vault.recipients("rotated-certificate", NOW)
    service.set_secret("rotated-certificate", pem(make_certificate(rsa_key("next"))).decode())

    second = vault.recipients("rotated-certificate", NOW)

    assert first[0].key_id != second[0].key_id
    assert first[0].thumbprint != second[0].thumbprint


def test_a_certificate_that_ends_soon_is_logged_and_told(
    vault: Vault, service: KeyVault, caplog: pytest.LogCaptureFixture
) -> None:
    service.set_secret("ending-certificate", pem(make_certificate(last_day=20)).decode())

    with caplog.at_level(logging.WARNING, logger="encryption.vault"):
        vault.recipients("ending-certificate", NOW)
        words = vault.expiry_warning("ending-certificate", NOW)

    assert words
    assert "ends in 20 days" in words
    assert f"secret 'ending-certificate': {words}" in caplog.text


def test_a_certificate_that_lasts_is_not_logged(
    vault: Vault, service: KeyVault, caplog: pytest.LogCaptureFixture
) -> None:
    service.set_secret("lasting-certificate", pem(make_certificate()).decode())

    with caplog.at_level(logging.WARNING, logger="encryption.vault"):
        vault.recipients("lasting-certificate", NOW)

    assert not caplog.records


def test_a_certificate_that_has_ended_is_the_partner_s_fault(vault: Vault, service: KeyVault) -> None:
    service.set_secret("ended-certificate", pem(make_certificate(last_day=-1)).decode())

    with pytest.raises(CertificateExpired):
        vault.recipients("ended-certificate", NOW)


def test_a_missing_secret_is_named_and_permanent(vault: Vault) -> None:
    with pytest.raises(SecretMissing, match="'nobody-certificate' is not in the vault") as caught:
        vault.recipients("nobody-certificate", NOW)

    assert not caught.value.transient


def test_a_secret_of_others_is_forbidden_and_permanent(vault: Vault, service: KeyVault) -> None:
    service.set_secret("warehouse-password", "secret")

    with pytest.raises(VaultForbidden, match="may not use secret 'warehouse-password'") as caught:
        vault.recipients("warehouse-password", NOW)

    assert not caught.value.transient
    assert "Key Vault Secrets User" in caught.value.hint


def test_a_manifest_is_signed_inside_the_vault_and_verifies(vault: Vault, service: KeyVault) -> None:
    data = b'{"type":"sealift-manifest"}'

    signature = vault.sign("sealift-signing", data)

    verify_signature(data, signature, load_verification_key(vault.public_key_pem("sealift-signing")))
    assert vault.key_id("sealift-signing").startswith(f"{service.url}/keys/sealift-signing/")
    assert "/sign" in service.log.read_text()


def test_a_key_of_others_is_forbidden(vault: Vault) -> None:
    for use in (
        lambda: vault.sign("closed", b""),
        lambda: vault.public_key_pem("closed"),
        lambda: vault.key_id("closed"),
    ):
        with pytest.raises(VaultForbidden):
            use()


@pytest.mark.parametrize(
    ("status", "error"), [(429, VaultUnreachable), (503, VaultUnreachable), (500, VaultUnreachable), (409, VaultError)]
)
def test_what_passes_by_itself_is_transient_and_the_rest_is_not(
    vault: Vault, service: KeyVault, status: int, error: type[VaultError]
) -> None:
    service.faults.add(Fault(path="/secrets/*", status=status, times=9))

    with pytest.raises(error, match=str(status)) as caught:
        vault.recipients("northwind-certificate", NOW)

    assert caught.value.transient == (error is VaultUnreachable)
    assert caught.value.status == (503 if error is VaultUnreachable else 500)


def test_a_vault_that_does_not_answer_is_transient(authority: CertificateAuthority) -> None:
    class Token:
        def get_token(self, *_: object, **__: object) -> AccessToken:
            return AccessToken("t", 2**31)

    vault = Vault("https://127.0.0.1:9", Token(), retry_total=0)

    with pytest.raises(VaultUnreachable, match="did not answer") as caught:
        vault.sign("sealift-signing", b"")

    assert caught.value.transient
    vault.close()


def test_an_identity_that_gets_no_token_is_forbidden(
    service: KeyVault, authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in authority.environment.items():
        monkeypatch.setenv(name, value)

    class NoToken:
        def get_token(self, *_: object, **__: object) -> AccessToken:
            raise ClientAuthenticationError("no identity here")

    vault = Vault(service.url, NoToken(), retry_total=0)

    with pytest.raises(VaultForbidden, match="does not accept this identity"):
        vault.recipients("northwind-certificate", NOW)
    vault.close()


def test_a_secret_s_text_is_read_as_it_is(vault: Vault, service: KeyVault) -> None:
    service.set_secret("any-certificate", "text")

    assert vault.secret("any-certificate") == "text"


def test_a_signing_key_that_is_not_rsa_is_refused(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    curve = KeyVaultKey("https://vault.example/keys/k/1", jwk={"kty": "EC", "crv": "P-256", "x": b"x", "y": b"y"})
    monkeypatch.setattr(vault._keys, "get_key", lambda *_: curve)

    with pytest.raises(VaultError, match="'k' is not an RSA key"):
        vault.public_key_pem("k")


def test_an_openpgp_file_is_signed_inside_the_vault_by_a_key_with_a_stable_fingerprint(
    vault: Vault, service: KeyVault
) -> None:
    signer, again = vault.openpgp_signer("sealift-openpgp"), vault.openpgp_signer("sealift-openpgp")
    options = OpenPgp(signer=signer)

    data = b"".join(seal([b"hello"], file=file_info(5), recipients=[pgp_recipient()], format=options))

    sender = load_pem_public_key(vault.public_key_pem("sealift-openpgp"))
    assert isinstance(sender, RSAPublicKey)
    assert desk().open(data, sender).content == b"hello"
    assert signer.key.fingerprint == again.key.fingerprint
    assert signer.key.created == vault._keys.get_key("sealift-openpgp").properties.created_on


def test_an_openpgp_certificate_in_a_secret_becomes_the_recipient(vault: Vault, service: KeyVault) -> None:
    service.set_secret("pgp-certificate", desk().certificate().decode())

    (found,) = vault.recipients("pgp-certificate", NOW)

    assert found.thumbprint == pgp_recipient().thumbprint
    assert vault.expiry_warning("pgp-certificate", NOW) is None


def test_an_openpgp_signature_by_a_key_of_others_is_forbidden(vault: Vault) -> None:
    with pytest.raises(VaultForbidden, match="may not use key 'closed'"):
        vault.openpgp_signer("closed")


def test_a_key_without_a_date_of_creation_cannot_sign_openpgp(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    undated = KeyVaultKey("https://vault.example/keys/k/1", jwk={"kty": "RSA", "n": b"n", "e": b"e"})
    monkeypatch.setattr(vault._keys, "get_key", lambda *_: undated)

    with pytest.raises(VaultError, match="'k' has no date of creation"):
        vault.openpgp_signer("k")
