"""Which tokenizer a model has, by its name, and what its prompt format adds to the text.

Where no library carries the vocabulary (Claude, Command, models nobody has heard of) OpenAI's stands in, scaled. How
far each is off, and against which recorded usage that was measured, stands in README.md beside this file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final


class ToolFormat(StrEnum):
    """How the tools a request offers become text of the prompt."""

    DECLARATIONS = "declarations"
    """OpenAI's: a line for each function and each parameter."""
    JSON = "json"
    """Their JSON Schema as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Tokens that the prompt's format adds: to each message, each name, once to the prompt, and once for tools.

    ``role`` is who speaks, one token in every vocabulary, or 0 where a provider counts the text alone. ``function`` is
    for each tool, and ``tools`` for all of them.
    """

    message: int = 4
    role: int = 1
    name: int = 1
    prompt: int = 3
    tool_format: ToolFormat = ToolFormat.JSON
    function: int = 4
    tools: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A tokenizer. ``exact``: it is the model's own, so that plain text counts here as it does at the provider.

    ``percent`` scales what is counted, where another vocabulary stands in.
    """

    vocabulary: str
    overhead: Overhead
    exact: bool = True
    percent: int = 100


# OpenAI's cookbook: https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
_OPENAI: Final = Overhead(message=3, tool_format=ToolFormat.DECLARATIONS, function=7, tools=12)
_OPENAI_OLD: Final = Overhead(message=3, tool_format=ToolFormat.DECLARATIONS, function=10, tools=12)
# The system prompt that tools bring along: https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview
_CLAUDE: Final = Overhead(message=3, prompt=0, tools=346)
# What Gemini and Command charge for is the text: the recorded usage stands in tests/unit/metering/test_recorded.py.
_TEXT_ALONE: Final = Overhead(message=0, role=0, prompt=0)
# The chat templates that the open models are published with: the marks around a turn, and those that begin the answer.
_LLAMA: Final = Overhead(message=4, prompt=5)
# From 3.1 on it begins with when the model's knowledge ends and which day it is: 20 tokens.
_LLAMA_DATED: Final = Overhead(message=4, prompt=25)
_CHATML: Final = Overhead(message=4, prompt=3)
_MISTRAL: Final = Overhead(message=1, prompt=1)
_DEEPSEEK: Final = Overhead(message=1, prompt=2)

UNKNOWN: Final = Family(vocabulary="o200k_base", overhead=_CHATML, exact=False, percent=110)
"""A model nobody has heard of: a little above the middle, so that a window or a budget is not overrun."""


def _own(vocabulary: str, overhead: Overhead) -> Family:
    return Family(vocabulary=vocabulary, overhead=overhead)


def _near(vocabulary: str, overhead: Overhead, percent: int = 100) -> Family:
    return Family(vocabulary=vocabulary, overhead=overhead, exact=False, percent=percent)


_O200K: Final = _own("o200k_base", _OPENAI)
_LLAMA3: Final = _own("llama3", _LLAMA)
_QWEN: Final = _own("qwen3", _CHATML)

# The first that is found in the name wins.
_FAMILIES: Final[tuple[tuple[re.Pattern[str], Family], ...]] = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        # "Approximately 30 percent more tokens than on earlier models":
        # https://platform.claude.com/docs/en/build-with-claude/token-counting
        (
            r"claude-(fable|mythos)|claude-opus-(4-[789]|[5-9])|claude-(sonnet|haiku)-[5-9]",
            _near("o200k_base", _CLAUDE, 158),
        ),
        (r"claude", _near("o200k_base", _CLAUDE, 122)),
        # What Google's own SDK counts with: google.genai.local_tokenizer
        (r"gemini", _own("gemma3", _TEXT_ALONE)),
        (r"gemma-?4", _own("gemma4", _CHATML)),
        (r"gemma-?3|medgemma", _own("gemma3", _CHATML)),
        (r"gemma", _own("gemma2", _CHATML)),
        (r"distill-llama", _LLAMA3),
        (r"distill-qwen", _QWEN),
        (r"deepseek", _own("deepseek_v3", _DEEPSEEK)),
        (r"gpt-oss|gpt-4o|gpt-4\.[15]|gpt-[5-9]|chatgpt|(^|[/.:])o[1-9]\b|codex|computer-use", _O200K),
        (r"gpt-4|gpt-3\.5|gpt-35|text-embedding-", _own("cl100k_base", _OPENAI_OLD)),
        (r"voyage-3", _own("voyage3_base", _TEXT_ALONE)),
        (r"code-?llama", _own("codellama", _MISTRAL)),
        (r"llama-?2|tinyllama|vicuna|phi-?3", _own("llama2", _MISTRAL)),
        (r"llama-?4", _near("llama3", _LLAMA)),
        (r"llama-?3[.-][1-3](?![0-9b])", _own("llama3", _LLAMA_DATED)),
        (r"llama", _LLAMA3),
        (r"mixtral-8x22b|codestral-22b", _own("mistral_v2", _MISTRAL)),
        (
            r"mistral-(nemo|large|medium|small|saba)|pixtral|ministral|magistral|devstral|codestral|voxtral",
            _own("mistral_v3", _MISTRAL),
        ),
        (r"mistral|mixtral", _own("mistral_v1", _MISTRAL)),
        (r"qwen-?(3\.[5-9]|[4-9])", _near("qwen3", _CHATML)),
        (r"qwen|qwq|qvq", _QWEN),
        (r"glm", _own("glm4", _CHATML)),
        (r"kimi|moonshot", _own("kimi_k2", _CHATML)),
        (r"phi-?4", _own("phi4", _CHATML)),
        (r"olmo-?2", _own("olmo2", _CHATML)),
        (r"command|c4ai|cohere", _near("o200k_base", _TEXT_ALONE, 105)),
    )
)


@lru_cache(maxsize=1_024)
def family_of(model: str) -> Family:
    """The tokenizer of a model, by the provider's name for it."""
    name = model.lower()
    return next((family for pattern, family in _FAMILIES if pattern.search(name)), UNKNOWN)
