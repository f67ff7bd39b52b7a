"""Where Claude is served: the same messages, but for what a cloud wants in another place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """``version`` is ``anthropic_version`` in the body, where that is not Anthropic's own header."""

    version: str | None = None
    model_in_body: bool = True
    """Otherwise it stands in the path."""
    stream_in_body: bool = True
    """Otherwise the path says it."""
    betas_in_body: bool = False
    """As ``anthropic_beta``; otherwise in a header."""
    fetches: bool = True
    """Images and documents may be addresses; otherwise they must come as data."""


ANTHROPIC: Final = Hosting()
BEDROCK: Final = Hosting(version="bedrock-2023-05-31", model_in_body=False, stream_in_body=False, betas_in_body=True)
"""https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html"""
VERTEX: Final = Hosting(version="vertex-2023-10-16", model_in_body=False, fetches=False)
"""https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai"""
