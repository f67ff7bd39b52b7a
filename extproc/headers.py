"""HTTP headers as a value, and every header name that Kortex gives a meaning to."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence
from typing import Final, Self, TypeVar, overload

# What a client may send. Envoy's own limits are wider, for they hold for what arrival adds, too.
MOST_HEADERS: Final = 100
LARGEST_HEADERS: Final = 96 << 10

REQUEST_ID: Final = "x-request-id"

# Set on replies, for the client and its logs.
BACKEND: Final = "x-kortex-backend"
ATTEMPTS: Final = "x-kortex-attempts"
MODEL: Final = "x-kortex-model"
TRAIL: Final = "x-kortex-trail"
UPSTREAM_REQUEST_ID: Final = "x-kortex-upstream-request-id"
USAGE: Final = "x-kortex-usage"
COST: Final = "x-kortex-cost"
EXPERIMENT: Final = "x-kortex-experiment"
DROPPED_PARAMS: Final = "x-kortex-dropped-params"
LIMIT: Final = "x-kortex-limit"
"""On a 429 of our own: the limit or budget. A provider's 429 has none."""
BROWNOUT: Final = "x-kortex-brownout"
MAX_OUTPUT: Final = "x-kortex-max-output"
"""The tokens that a budget let an answer have at most, where the client had set no such limit or a wider one."""

# Only where the client asked for it with x-kortex-explain: 1, and may.
DECISION: Final = "x-kortex-decision"
DECISION_REASON: Final = "x-kortex-decision-reason"

# Asked by clients.
EXPLAIN: Final = "x-kortex-explain"

# What arrival tells the attempt stage (extproc/exchange/assignment.py); no provider and no client ever sees it.
ASSIGNMENT: Final = "x-kortex-assignment"

# Between the two listeners: "this reply should go to the next backend", and what happened, for the attempts after it.
FAILOVER: Final = "x-kortex-failover"
OUTCOME: Final = "x-kortex-outcome"
# Set by the edge on an attempt that follows one which lost its connection without a word (trail_filter).
BROKEN_OFF: Final = "x-kortex-broken-off"
# Set by the provider listener's local_reply_config: Envoy's own name for why it made the reply.
LOCAL_REPLY: Final = "x-kortex-local-reply"

# How the response code details of our own replies begin: Envoy's local_reply_config leaves those alone.
LOCAL_DETAILS_PREFIX: Final = "kortex_"

INTERNAL_PREFIXES: Final = ("x-kortex-", "x-envoy-")

# Envoy's per-request knobs: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/router_filter
ENVOY_MAX_RETRIES: Final = "x-envoy-max-retries"
ENVOY_PER_TRY_TIMEOUT_MS: Final = "x-envoy-upstream-rq-per-try-timeout-ms"
ENVOY_TIMEOUT_MS: Final = "x-envoy-upstream-rq-timeout-ms"
ENVOY_ATTEMPT_COUNT: Final = "x-envoy-attempt-count"

_SECRET: Final = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "set-cookie"}
)


def is_secret(name: str) -> bool:
    """Whether a header's value must never be shown."""
    return name in _SECRET


_Default = TypeVar("_Default")


class Headers(Mapping[str, str]):
    """An immutable multi-map with lower-case names. ``headers[name]`` joins repeated values with ", " (RFC 9110, 5.3).

    ``lines`` is how many there were before that. Its repr shows ``***`` for credentials.
    """

    __slots__ = ("_values", "lines")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        values: dict[str, str] = {}
        self.lines = 0
        for name, value in pairs:
            self.lines += 1
            key = name.lower()
            values[key] = f"{values[key]}, {value}" if key in values else value
        self._values = values

    @classmethod
    def of_lower_case(cls, pairs: Sequence[tuple[str, str]]) -> Self:
        """The same where all names are lower-case already, as Envoy's are: a third of the cost."""
        values = dict(pairs)
        if len(values) < len(pairs):
            return cls(pairs)
        headers = cls()
        headers._values, headers.lines = values, len(pairs)
        return headers

    @property
    def size(self) -> int:
        """Characters of all names and values."""
        return sum(map(len, self._values)) + sum(map(len, self._values.values()))

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str | _Default) -> str | _Default: ...
    def get(self, name: str, /, default: object = None) -> object:
        """As of every mapping, but without an exception for each header that is not there."""
        return self._values.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def items(self) -> ItemsView[str, str]:
        """As of every mapping, at the cost of a dict's."""
        return self._values.items()

    def __repr__(self) -> str:
        shown = {name: "***" if is_secret(name) else value for name, value in self._values.items()}
        return f"Headers({shown!r})"
