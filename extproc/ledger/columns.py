"""The names of what is counted and of what it is told apart by."""

from __future__ import annotations

from typing import Final

TOKENS: Final = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
)
DIMENSIONS: Final = (
    "key",
    "tenant",
    "user",
    "route",
    "rule",
    "experiments",
    "operation",
    "requested_model",
    "model",
    "served_model",
    "backend",
    "provider",
    "outcome",
    "currency",
)
MONEY: Final = ("cost_nanos", "cost_attos")
"""As ``extproc.ledger.money`` splits it."""
COUNTS: Final = (
    "requests",
    "refused",
    "attempts",
    "failed_attempts",
    "estimated_attempts",
    "unpriced_attempts",
    *TOKENS,
    *MONEY,
)
TIMES: Final = {"hour": "%Y-%m-%dT%H:00Z", "day": "%Y-%m-%d", "month": "%Y-%m"}
"""Further dimensions, and how they are written."""
