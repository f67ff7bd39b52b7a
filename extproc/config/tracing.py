"""``gateway.tracing:`` where traces go, and of how many requests."""

from __future__ import annotations

from pydantic import Field

from extproc.config.backends import BaseUrl
from extproc.config.scalars import Model, SecretRef


class Tracing(Model):
    """One trace per request, in OpenTelemetry's GenAI conventions."""

    otlp_endpoint: BaseUrl
    """Base URL of a collector that takes OTLP over HTTP, such as ``http://localhost:4318``; ``/v1/traces`` is added."""
    headers: dict[str, SecretRef] = {}
    """What the collector asks for, such as ``authorization``; the values are secrets."""
    sampling: float = Field(default=1.0, ge=0, le=1)
    """Share of requests that get a trace. A client that sends a ``traceparent`` has decided already."""
    service_name: str = Field(default="kortex", min_length=1)
    """OpenTelemetry's ``service.name``."""
