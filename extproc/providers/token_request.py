"""Short-lived tokens that providers want in place of a fixed secret, as values; ``extproc.credentials`` gets them."""

from __future__ import annotations

from dataclasses import dataclass


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


TokenRequest = GoogleToken
"""Equal requests are served by one token. ``str()`` names one for the operator."""
