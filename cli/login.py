"""Who the person at this machine is for Azure."""

from __future__ import annotations

from azure.identity import DefaultAzureCredential


def logged_in() -> DefaultAzureCredential:
    """Return the person's credential for storage. Raises ClientAuthenticationError at once: a client would try on for long."""
    credential = DefaultAzureCredential()
    credential.get_token("https://storage.azure.com/.default")
    return credential
