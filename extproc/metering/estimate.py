"""How many tokens a request will take, before anybody is asked: the prompt, and the answer where it has a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.metering.counting import counter_for
from extproc.metering.prompt import read_prompt
from extproc.metering.rough import rough_count
from extproc.openai.call import Operation

_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_CHOICES: Final = ("n", "best_of")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """``exact``: counted to its end with the model's own vocabulary, and with nothing in it but text."""

    tokens: int
    exact: bool


def estimate_input(fields: Mapping[str, Any], operation: Operation, model: str) -> Estimate:
    """The prompt's tokens for a model, by the provider's name for it; at most some milliseconds, however long."""
    counter = counter_for(model)
    prompt = read_prompt(fields, operation, model, counter.family)
    counted, whole = counter.count_all(prompt.texts)
    return Estimate(tokens=prompt.fixed + counted, exact=whole and prompt.plain and counter.family.exact)


def longer_than(fields: Mapping[str, Any], operation: Operation, model: str, limit: int) -> bool:
    """The same as ``estimate_input(…).tokens > limit``, but counts no further than to the limit."""
    counter = counter_for(model)
    prompt = read_prompt(fields, operation, model, counter.family)
    return counter.all_longer_than(prompt.texts, limit - prompt.fixed)


def rough_input(fields: Mapping[str, Any], operation: Operation, model: str) -> int:
    """The prompt's tokens by the kinds of its characters: microseconds, for what is only needed if all goes wrong."""
    family = counter_for(model).family
    prompt = read_prompt(fields, operation, model, family)
    return prompt.fixed + rough_count(prompt.texts) * family.percent // 100


def requested_output(fields: Mapping[str, Any]) -> int | None:
    """The most tokens that the client wants for all answers together; None where it sets no limit.

    Of two limits the longer one: which of them a provider goes by differs.
    """
    limits = [fields[name] for name in _LIMITS if fields.get(name) is not None]
    if not limits or not all(map(_is_count, limits)):
        return None  # -1 is no limit at some servers
    return int(max(limits)) * requested_answers(fields)


def requested_answers(fields: Mapping[str, Any]) -> int:
    """How many answers are produced, each as long as the client's limit lets it become: choices, for each prompt."""
    choices = max((fields[name] for name in _CHOICES if _is_count(fields.get(name))), default=1)
    prompt = fields.get("prompt")
    prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    return int(choices) * prompts


def image_count(fields: Mapping[str, Any]) -> int:
    """The images in the messages of a chat that arrival has read."""
    messages = fields.get("messages")
    contents = [message.get("content") for message in messages] if isinstance(messages, list) else []
    return sum(_is_image(part) for content in contents if isinstance(content, list) for part in content)


def _is_image(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "image_url"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
