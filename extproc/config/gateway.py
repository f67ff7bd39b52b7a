"""``gateway:`` the listeners, the limits of the data plane, and the root of the whole file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializeAsAny

from extproc.config.backends import Backend
from extproc.config.health import CircuitBreaker
from extproc.config.keys import ClientKey
from extproc.config.ledger import Ledger
from extproc.config.limits import Budget, Limit, Quota
from extproc.config.prices import Unpriced
from extproc.config.routes import Retries, Route, Timeouts
from extproc.config.scalars import Duration, ListenAddress, Model, Name, Size
from extproc.config.tracing import Tracing

DEFAULT_TIMEOUTS = Timeouts.model_validate(
    {"connect": "5s", "firstToken": "60s", "unstreamed": "10m", "idle": "60s", "total": None}
)
DEFAULT_CIRCUIT_BREAKER = CircuitBreaker.model_validate(
    {
        "enabled": True,
        "consecutiveFailures": 5,
        "failureRate": 50,
        "window": "30s",
        "minimumRequests": 20,
        "openFor": "1s",
        "openForAtMost": "8s",
        "halfOpenRequests": 1,
        "successesToClose": 2,
    }
)
DEFAULT_RETRIES = Retries.model_validate({"perBackend": 1, "backoff": "100ms"})


class Gateway(Model):
    """The gateway itself."""

    listen: ListenAddress = "127.0.0.1:8080"
    """Where clients connect."""
    admin: ListenAddress = "127.0.0.1:9090"
    """Health, readiness, effective config and metrics."""
    auth: Literal["none"] | None = None
    """``none``: whoever reaches the gateway may use it. Needed to listen beyond this machine without ``keys``."""
    body_limit: Size = Field(default=32 << 20, ge=1 << 10, le=1 << 30)
    """Largest request body; sets Envoy's buffers and the gRPC message limits too. Over it: 413."""
    max_connections: int = Field(default=50_000, ge=1)
    """Client connections that may be open at once; more are closed on arrival."""
    heap_limit: Size | None = Field(default=None, ge=64 << 20)
    """Memory at which Envoy sheds load (stops keep-alive at 92 %, refuses requests at 95 %). Default: no limit."""
    drain: Duration = 30_000
    """On SIGTERM, how long running requests may take to finish."""
    retries: Retries = Retries()
    """Defaults for every route."""
    timeouts: Timeouts = Timeouts()
    """Defaults for every route."""
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    """Defaults for every backend."""
    unpriced: Unpriced = "allow"
    """What becomes of calls for a model whose price nobody knows: `allow`, `reject`, or a price for all of them."""
    access_log: bool = True
    """One JSON line per attempt on standard output."""
    explain: Literal["off", "all", "tagged"] = "tagged"
    """Who learns with ``x-kortex-explain: 1`` why a request went where: nobody, all, or keys tagged ``explain``."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Of Kortex itself, on standard error."""
    tracing: Tracing | None = None
    """Traces to an OpenTelemetry collector. Default: none."""


class Config(Model):
    """kortex.yaml."""

    gateway: Gateway = Gateway()
    """The gateway itself."""
    backends: dict[Name, SerializeAsAny[Backend]] = {}
    """The upstreams, by a name of yours."""
    routes: dict[Name, Route] = {}
    """Which models clients may ask for and which backends answer, by a name of yours."""
    ledger: Ledger | None = None
    """What each request used and cost, in a database. Default: none is kept."""

    keys: tuple[ClientKey, ...] | None = Field(default=None, min_length=1)
    """Who may call. Without any, and without ``keysFile``, nobody is asked for a key."""
    keys_file: str | None = Field(default=None, min_length=1)
    """More of them, one JSON object a line, as ``kortex keys`` writes them; read again when it changes."""
    limits: tuple[Limit, ...] = ()
    """How fast callers may go."""
    budgets: tuple[Budget, ...] = ()
    """How much they may spend in all."""
    quota: Quota = Quota()
    """Where limits and budgets are counted."""

    @property
    def asks_for_keys(self) -> bool:
        """Whether a client needs a key."""
        return self.keys is not None or self.keys_file is not None

    def redacted(self) -> dict[str, Any]:
        """The effective config for people to look at. It holds references to secrets, never secrets."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
