"""Key Vault, this package's one edge: certificates out of secrets, signatures by a key that never leaves.

The Azure SDK retries what passes by itself; what still fails is classified by `transient`, so that a worker knows
whether its queue should try again. Nothing is cached: a rotated certificate counts for the very next file.
It does NOT hold a private key of ours, and reads certificates only from secrets that hold public PEM text.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from encryption.errors import SecretMissing, VaultError, VaultForbidden, VaultUnreachable
from encryption.openpgp import Signer
from encryption.openpgp.keys import key_of
from encryption.receiving import load_receivers, receiver_warning
from encryption.signed_data import FileSigner, own_smime_certificate
from encryption.wrapping import Receiver

if TYPE_CHECKING:
    from azure.keyvault.keys import KeyVaultKey
    from azure.keyvault.keys.crypto import SignatureAlgorithm

log = logging.getLogger(__name__)

_PASSING = frozenset({408, 429, 500, 502, 503, 504})


class Vault:
    """One Key Vault, as one identity sees it."""

    def __init__(self, url: str, credential: TokenCredential, **options: Any) -> None:
        """`options` go to the SDK's clients: retry_total and the like."""
        self.url = url.rstrip("/")
        # Imported here: a fifth of the app's start, which only its first invocation needs.
        from azure.keyvault.keys import KeyClient
        from azure.keyvault.secrets import SecretClient

        self._secrets = SecretClient(self.url, credential, **options)
        self._keys = KeyClient(self.url, credential, **options)

    def close(self) -> None:
        """Give the connections back."""
        self._secrets.close()
        self._keys.close()

    def certificate_pem(self, secret_name: str) -> tuple[bytes, str]:
        """Return the PEM text of a certificate secret and the secret's id with version."""
        with _told(f"secret '{secret_name}'"):
            secret = self._secrets.get_secret(secret_name)
        return (secret.value or "").encode(), secret.id or secret_name

    def secret(self, name: str) -> str:
        """Return the text of a secret that is not a certificate: a key or password for a partner's server."""
        return self.certificate_pem(name)[0].decode()

    def recipients(self, secret_name: str, now: datetime) -> list[Receiver]:
        """Return the newest valid certificate of a secret, X.509 or OpenPGP; logs a warning from 30 days before it ends.

        Raises the leaves of RecipientError and VaultError.
        """
        pem, secret_id = self.certificate_pem(secret_name)
        found = load_receivers(pem, secret_id, now)
        if words := receiver_warning(pem, now):
            log.warning("secret '%s': %s", secret_name, words)
        return found

    def expiry_warning(self, secret_name: str, now: datetime) -> str | None:
        """Return what a status page should say about a certificate's end, or None."""
        return receiver_warning(self.certificate_pem(secret_name)[0], now)

    def sign(self, key_name: str, data: bytes) -> bytes:
        """Return RSA-PSS-SHA256 over `data`, made inside Key Vault: only the hash goes there."""
        with _told(f"key '{key_name}'"):
            client = self._keys.get_cryptography_client(key_name)
            return client.sign(_algorithm("PS256"), hashlib.sha256(data).digest()).signature

    def openpgp_signer(self, key_name: str) -> Signer:
        """Return the newest version of a key as a signer of OpenPGP files: one call now, and one for each signature.

        It makes PKCS#1 v1.5 signatures, so it must not be the key that signs manifests. The key's OpenPGP fingerprint depends on
        when Key Vault made that version, which never changes. Raises VaultError.
        """
        key, made, sign_digest = self._file_key(key_name)
        return Signer(key_of(key, made), sign_digest)

    def smime_signer(self, key_name: str) -> FileSigner:
        """Return the newest version of a key as a signer of S/MIME files: two calls now, and one for each signature.

        It makes PKCS#1 v1.5 signatures, so it must not be the key that signs manifests. The key signs its own certificate,
        which is the same each time for as long as its version is. Raises VaultError.
        """
        key, made, sign_digest = self._file_key(key_name)
        return FileSigner(own_smime_certificate(key, key_name, made, sign_digest), sign_digest)

    def _file_key(self, key_name: str) -> tuple[RSAPublicKey, datetime, Callable[[bytes], bytes]]:
        """Return a key's public half, when that version of it was made, and what signs a digest with it."""
        with _told(f"key '{key_name}'"):
            found = self._keys.get_key(key_name)
            client = self._keys.get_cryptography_client(key_name, key_version=found.properties.version)
        if found.properties.created_on is None:
            raise VaultError(f"key '{key_name}' has no date of creation", hint="use a key that Key Vault has made")

        def sign_digest(digest: bytes) -> bytes:
            with _told(f"key '{key_name}'"):
                return client.sign(_algorithm("RS256"), digest).signature

        return _rsa_key(found, key_name), found.properties.created_on, sign_digest

    def key_id(self, key_name: str) -> str:
        """Return the signing key's id with version, as the manifest names it."""
        with _told(f"key '{key_name}'"):
            return str(self._keys.get_key(key_name).id)

    def public_key_pem(self, key_name: str, version: str | None = None) -> bytes:
        """Return the public half of a signing key, which verifies manifests; by default of its newest version."""
        with _told(f"key '{key_name}'"):
            found = self._keys.get_key(key_name, version)
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return _rsa_key(found, key_name).public_bytes(encoding, form)


def _algorithm(name: str) -> SignatureAlgorithm:
    from azure.keyvault.keys.crypto import SignatureAlgorithm

    return SignatureAlgorithm(name)


def _rsa_key(found: KeyVaultKey, key_name: str) -> RSAPublicKey:
    """Return the public half of a key of the vault."""
    key = found.key
    if not key or not key.n or not key.e:  # type: ignore[attr-defined]  # JsonWebKey sets its members from the answer
        raise VaultError(f"key '{key_name}' is not an RSA key", hint="make it as RSA 3072: infra/ does")
    n, e = (int.from_bytes(each, "big") for each in (key.n, key.e))  # type: ignore[attr-defined]
    return RSAPublicNumbers(e, n).public_key()


def _is_disabled(error: HttpResponseError) -> bool:
    """Return whether the vault refused because the secret is switched off, as a placeholder of the template is."""
    inner = (error.error.innererror if error.error else None) or {}
    return inner.get("code") == "SecretDisabled"


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn the SDK's errors into ours: missing, forbidden, or not answering."""
    try:
        yield
    except ResourceNotFoundError as error:
        raise SecretMissing(
            f"{what} is not in the vault", hint="compare the name in the partner's file with the names in the vault"
        ) from error
    except ClientAuthenticationError as error:
        raise VaultForbidden(f"the vault does not accept this identity for {what}") from error
    except HttpResponseError as error:
        if error.status_code in _PASSING:
            raise VaultUnreachable(f"the vault answered {error.status_code} for {what}") from error
        if _is_disabled(error):
            raise SecretMissing(
                f"{what} is switched off: it has no value yet",
                hint="store it: ./sealift keys import, or az keyvault secret set",
            ) from error
        if error.status_code == 403:
            raise VaultForbidden(f"this identity may not use {what}") from error
        raise VaultError(f"the vault refused {what}: {error.status_code}") from error
    except AzureError as error:
        raise VaultUnreachable(f"the vault did not answer for {what}") from error
