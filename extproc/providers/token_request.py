"""Short-lived tokens that providers want in place of a fixed secret, as values; ``extproc.credentials`` gets them."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.config.scalars import SecretRef


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleToken:
    """An access token for Google Cloud.

    ``credentials_file`` is a service account's key, or the configuration of a workload identity; None is whatever the
    host offers (https://cloud.google.com/docs/authentication/application-default-credentials).
    """

    credentials_file: str | None = None

    def __str__(self) -> str:
        """Where it comes from, for the log."""
        return f"Google's token of {self.credentials_file or 'the application default credentials'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntraToken:
    """An access token of Microsoft Entra ID for ``scope``.

    With a secret it is a service principal's. Without one it is what the host offers, where a ``client_id`` chooses
    among managed identities (https://learn.microsoft.com/python/api/azure-identity/azure.identity.defaultazurecredential).
    """

    scope: str
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: SecretRef | None = None

    def __str__(self) -> str:
        """Where it comes from, for the log."""
        return f"Entra ID's token of {self.client_id or 'the default credential'}"


TokenRequest = GoogleToken | EntraToken
"""Equal requests are served by one token. ``str()`` names one for the operator."""
