"""What differs between the models behind Converse, by their names.

https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html
https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

from extproc.dialects.blocks import models as claude


class Thinking(Enum):
    """How a model is asked to reason."""

    NOT = "not"
    CLAUDE = "claude"
    NOVA = "nova"
    """``reasoningConfig``: https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html"""
    EFFORT = "effort"
    """``reasoning_effort``, as OpenAI's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One about which nothing is known, such as that of an application inference profile, is taken at its word."""

    claude: claude.Model | None = None
    thinking: Thinking = Thinking.NOT
    caches: bool = False
    """``cachePoint`` is accepted; other models refuse the whole request."""
    caches_tools: bool = False
    """Also behind tools."""
    caches_long: bool = False
    """For an hour, too."""
    structured: bool = False
    """``outputConfig.textFormat`` and strict tools."""
    forces_any_tool: bool = True
    forces_one_tool: bool = True
    marks_errors: bool = False
    """``toolResult.status`` is accepted."""
    plain_schema: bool = False
    """A tool's schema has nothing but type, properties and required at its root."""


_CACHING_CLAUDE_3: Final = re.compile(r"claude-3-5-(?:haiku|sonnet-20241022)")
_CLAUDE: Final = re.compile(r"anthropic\.claude-|(?<![a-z])claude-")
# With its maker's name in front, as in us.amazon.nova-pro-v1:0 and …:foundation-model/amazon.nova-pro-v1:0.
_OTHERS: Final[tuple[tuple[re.Pattern[str], Model], ...]] = (
    (
        re.compile(r"amazon\.nova-2"),
        Model(thinking=Thinking.NOVA, caches=True, marks_errors=True, plain_schema=True),
    ),
    (re.compile(r"amazon\.nova"), Model(caches=True, marks_errors=True, plain_schema=True)),
    (re.compile(r"openai\.gpt-oss"), Model(thinking=Thinking.EFFORT, structured=True)),
    (re.compile(r"meta\.llama|ai21\.|amazon\.titan"), Model(forces_any_tool=False, forces_one_tool=False)),
    (
        re.compile(r"mistral\.(?:mistral-large-3|ministral|magistral|voxtral)"),
        Model(structured=True, forces_one_tool=False),
    ),
    (re.compile(r"mistral\."), Model(forces_one_tool=False)),
    (
        re.compile(r"qwen\.qwen3|deepseek\.v3|google\.gemma|minimax\.|moonshot(?:ai)?\.kimi|nvidia\.nemotron"),
        Model(structured=True),
    ),
)


@lru_cache(maxsize=256)
def model_facts(name: str) -> Model:
    """The facts of a model, by an id, an inference profile or an ARN that has its name in it."""
    if _CLAUDE.search(name):
        facts = claude.model_facts(name)
        caches = facts.thinks or _CACHING_CLAUDE_3.search(name) is not None
        return Model(
            claude=facts,
            thinking=Thinking.CLAUDE,
            caches=caches,
            caches_tools=caches,
            caches_long=facts.structured,
            structured=facts.structured,
            forces_any_tool=facts.forces_tools,
            forces_one_tool=facts.forces_tools,
            marks_errors=True,
        )
    return next((facts for pattern, facts in _OTHERS if pattern.search(name)), Model())
