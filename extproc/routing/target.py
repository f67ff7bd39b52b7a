"""A backend as a route reaches it: its provider, its settings, and the name that Envoy knows it by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from extproc.config.backends import Backend
from extproc.providers.base import Provider

Credential = Callable[[], str | None]
"""Gives the backend's secret as it is now; asked at every attempt. Raises CredentialUnavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A backend as one route reaches it: what Envoy has a provider listener and clusters for.

    ``name`` is the name of those resources. It holds a digest of all that shapes them, so that a changed backend is
    another target: a request under way finishes on what it began with, and no request is ever written for one
    address and sent to another.
    """

    name: str
    backend: str
    provider: Provider[Any]
    settings: Backend
    credential: Credential
    connect_ms: int
    backoff_ms: int

    @property
    def authority(self) -> str:
        """host[:port], as HTTP's Host header has it."""
        return urlsplit(self.settings.url).netloc

    @property
    def context_window(self) -> int | None:
        """Tokens the model can hold, where that is known."""
        return self.settings.context_window
