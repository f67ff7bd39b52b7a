"""What a fake says, and how it counts tokens: a piece of streamed text is one token.

A user's text may hold directives: ``[unicode]`` adds ``UNICODE`` to the answer, ``[words=200]`` two hundred words,
``[parallel]`` asks for two tool calls instead of one, and ``[loop=3]`` for three rounds of them.
"""

from __future__ import annotations

import re

from tests.fakes.steps import Json

# Letters of two, three and four bytes, joined emoji, and separators that str.splitlines() takes for line ends.
UNICODE = (
    "naïve café, 日本語の文, שלום, \U0001f469\u200d\U0001f469\u200d\U0001f467 "
    '\U0001f1ea\U0001f1fa \U0001f44d\U0001f3fd \U0001f389, “quoted” \\ " \t, \u2028\u2029\x85 end'
)

REASONING_TOKENS = 5
_LONGEST_QUOTE = 2000  # characters; an echo of 20 MB would test patience only


def said_by(name: str, text: str) -> str:
    """The answer of the fake ``name`` to ``text``."""
    quote = text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}… ({len(text)} characters)"
    words = re.search(r"\[words=(\d+)\]", text)
    parts = [f"{name} says: {quote}"]
    if "[unicode]" in text:
        parts.append(UNICODE)
    if words:
        parts.append(" ".join(f"word{number}" for number in range(1, int(words[1]) + 1)))
    return " ".join(parts)


def pieces(text: str) -> tuple[str, ...]:
    """``text`` in the pieces that a stream sends; joined they are the text again."""
    return tuple(re.findall(r"\s*\S{1,12}|\s+$", text))


def text_of(content: object) -> str:
    """The text in a message's ``content``: a string, or a list of parts of which some are text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(str(part["text"]) for part in content if part.get("type") == "text")
    return ""


def tokens_in(text: str) -> int:
    """Tokens of a prompt: its words."""
    return len(text.split())


def usage(prompt_tokens: int, spoken_tokens: int) -> Json:
    """Usage as OpenAI counts it: cached tokens are part of the prompt's, reasoning tokens part of the completion's."""
    completion_tokens = spoken_tokens + REASONING_TOKENS
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": prompt_tokens // 4, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": REASONING_TOKENS,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
