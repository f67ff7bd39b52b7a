"""``backends:`` the named upstreams. Each provider's own settings extend ``Backend`` in ``extproc/providers``."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from extproc.config.health import CircuitBreaker, HealthCheck
from extproc.config.prices import Cost, Unpriced
from extproc.config.scalars import Model, SecretRef

_HEADER_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_NEVER_FORWARDED: Final = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "host"}
)


def _check_url(value: str) -> str:
    # The value is not repeated: people write credentials into URLs.
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        msg = "this is not a URL: check its host and port"
        raise ValueError(msg) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        msg = "this is not a base URL: write http://host[:port][/path] or https://…"
        raise ValueError(msg)
    if parts.username is not None or parts.query or parts.fragment:
        msg = "a base URL has no user, password, query or fragment: credentials belong in apiKey"
        raise ValueError(msg)
    if not value.isprintable() or " " in value:
        msg = "a URL has no white space or control characters"
        raise ValueError(msg)
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_check_url), Field(examples=["https://api.openai.com/v1"])]
"""An http or https URL without a trailing slash."""


class Capabilities(Model):
    """What a model can do, where it is known: a call that needs what is `false` here goes to another backend."""

    vision: bool | None = None
    """Images in messages."""
    audio: bool | None = None
    """Sounds in messages."""
    files: bool | None = None
    """Files in messages."""
    tools: bool | None = None
    """Functions that it may call."""
    json_schema: bool | None = None
    """Answers that follow a JSON schema."""
    reasoning: bool | None = None
    """`reasoning_effort`."""


class Backend(Model):
    """One upstream: a provider's API at an address, with our credential and our name for it."""

    health_path: ClassVar[str | None] = None
    """The server's own health endpoint, where the provider's servers have one."""

    provider: str
    """Whose API it speaks."""
    url: BaseUrl
    """Base URL, with or without ``/v1``."""
    model: str | None = Field(default=None, min_length=1)
    """The provider's name for the model. Default: the name the client asked for."""
    api_key: SecretRef | None = None
    """The credential sent to this provider and to no other."""
    context_window: int | None = Field(default=None, ge=1)
    """Tokens the model can hold, if known: a prompt too long for one backend skips those known to be smaller."""
    max_output: int | None = Field(default=None, ge=1)
    """Tokens the model can answer with, if known."""
    capabilities: Capabilities = Capabilities()
    """What the model can do, if known. What is left out excludes nothing."""
    cost: Cost | None = None
    """What its tokens cost. Default: the built-in price list."""
    unpriced: Unpriced | None = None
    """What becomes of calls for a model without a price. Default: as `gateway.unpriced`."""
    ca_file: str | None = None
    """PEM file with the certificate authority to trust in place of the system's, for private servers."""
    forward_headers: tuple[str, ...] = ()
    """Further request headers of the client that this provider may see (credentials and cookies never)."""

    max_concurrency: int | None = Field(default=None, ge=1)
    """Requests it may have at once; the next one goes to the next backend. Default: no limit."""
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    """As ``gateway.circuitBreaker``, for this backend; a key left out keeps the gateway's value."""
    health_check: HealthCheck = HealthCheck()
    """Active checks by Envoy; on by default where the provider's servers have a health endpoint."""

    @property
    def checked_path(self) -> str | None:
        """What Envoy asks the server for to see whether it is healthy; None where it does not."""
        return (self.health_check.path or self.health_path) if self.health_check.enabled else None

    @field_validator("health_check")
    @classmethod
    def _has_a_path(cls, check: HealthCheck) -> HealthCheck:
        if check != HealthCheck() and check.enabled and check.path is None and cls.health_path is None:
            msg = "this provider has no health endpoint of its own: name a path"
            raise ValueError(msg)
        return check

    @field_validator("forward_headers")
    @classmethod
    def _forwardable(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        lowered = tuple(name.lower() for name in names)
        for position, name in enumerate(lowered, start=1):
            if not _HEADER_NAME.fullmatch(name):
                # Not repeated: "authorization: Bearer …" holds more than a name.
                msg = f"entry {position} is not a header name"
                raise ValueError(msg)
            if "_" in name:
                msg = f"the header {name!r} has an underscore; the gateway drops such headers, which servers mix up"
                raise ValueError(msg)
            if name in _NEVER_FORWARDED or name.startswith(("x-kortex-", "x-envoy-")):
                msg = f"the header {name!r} is never forwarded to a provider"
                raise ValueError(msg)
        return lowered
