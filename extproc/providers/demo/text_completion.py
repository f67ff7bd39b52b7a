"""``/v1/completions`` as the demo model answers it: a continuation of every prompt.

https://platform.openai.com/docs/api-reference/completions/create
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import orjson

from extproc.dialects.base import ClientReply
from extproc.openai.call import Call
from extproc.providers.demo.envelope import Envelope, body_id, event_stream, full_usage, usage_fields
from extproc.providers.demo.inputs import read_inputs
from extproc.providers.demo.limits import Limits, check_size, read_limits
from extproc.providers.demo.request_fields import a_boolean
from extproc.providers.demo.tokens import count_tokens, deltas
from extproc.providers.demo.wording import CLOSING, opening, quote

_KIND: Final = "text_completion"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Completion:
    """One choice: ``echoed`` is the prompt said back, empty where nobody asked; ``text`` is what was added to it."""

    echoed: str
    text: str
    finish_reason: str


def answer_text_completion(call: Call, model: str) -> ClientReply:
    """The reply to one or more prompts, ``n`` choices for each, whole or streamed. Raises InvalidRequest."""
    fields = call.fields()
    prompts = read_inputs(fields["prompt"], "prompt")
    limits = read_limits(fields, tokens=("max_tokens",), fewest=0)
    echo = fields.get("echo")
    completions = _complete(prompts, limits, echo=echo is not None and a_boolean(echo, "echo"))
    usage = full_usage(
        prompt=sum(map(count_tokens, prompts)),
        answer=sum(count_tokens(completion.text) for completion in completions),
    )
    envelope = Envelope(id=body_id("cmpl-", call.body), model=call.model, usage=usage)
    body = (
        _stream(completions, envelope, include_usage=call.include_usage)
        if call.stream
        else _whole(completions, envelope)
    )
    return ClientReply(body=body, usage=usage, model=model)


def _complete(prompts: list[str], limits: Limits, *, echo: bool) -> list[_Completion]:
    continued = [(prompt, _continuation(prompt, 0)) for prompt in prompts]
    check_size(limits.choices * sum(len(text) + len(prompt) * echo for prompt, text in continued), param="n")
    completions: list[_Completion] = []
    for prompt in prompts:
        for choice in range(limits.choices):
            text, reason = limits.cut(_continuation(prompt, choice))
            completions.append(_Completion(echoed=prompt if echo else "", text=text, finish_reason=reason))
    return completions


def _continuation(prompt: str, choice: int) -> str:
    return f" ... {opening(choice)} You asked me to go on from {quote(prompt)} {CLOSING}"


def _whole(completions: list[_Completion], envelope: Envelope) -> bytes:
    choices = [
        _choice(index, completion.echoed + completion.text, completion.finish_reason)
        for index, completion in enumerate(completions)
    ]
    fields = envelope.fields(_KIND)
    return orjson.dumps({**fields, "choices": choices, "usage": usage_fields(envelope.usage)})


def _stream(completions: list[_Completion], envelope: Envelope, *, include_usage: bool) -> bytes:
    streams = [
        [{"choices": [_choice(index, part, None)]} for part in deltas(completion.echoed + completion.text)]
        for index, completion in enumerate(completions)
    ]
    chunks = [chunk for turn in zip_longest(*streams) for chunk in turn if chunk is not None]
    chunks += [{"choices": [_choice(index, "", done.finish_reason)]} for index, done in enumerate(completions)]
    return event_stream(chunks, envelope, _KIND, include_usage=include_usage)


def _choice(index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}
