"""POST /completions (the older text API), whole and streamed: https://platform.openai.com/docs/api-reference/completions."""

from __future__ import annotations

from tests.fakes.replies.persona import Call
from tests.fakes.replies.wording import pieces, said_by, tokens_in, usage
from tests.fakes.steps import DONE, Json, Reply, event, event_reply, json_reply


def answer(call: Call) -> Reply:
    """The reply to a checked request: ``n`` choices for each prompt."""
    prompts = _prompts(call.body["prompt"])
    texts = [said_by(call.persona.name, prompt) for prompt in prompts for _ in range(call.body.get("n") or 1)]
    limit = call.body.get("max_tokens")
    spoken = [pieces(text)[:limit] for text in texts]
    ends = ["stop" if "".join(spoken[index]) == text else "length" for index, text in enumerate(texts)]
    used = usage(sum(map(tokens_in, prompts)), sum(map(len, spoken)))
    if call.wants_stream:
        return _streamed(call, spoken, ends, used)
    choices = [_choice(index, "".join(spoken[index]), end) for index, end in enumerate(ends)]
    return json_reply({**_header(call), "choices": choices, "usage": used})


def _prompts(prompt: str | list[str] | list[int] | list[list[int]]) -> list[str]:
    """One text for each prompt; a prompt given as token numbers is as many words."""
    if isinstance(prompt, str):
        return [prompt]
    if prompt and all(isinstance(part, int) for part in prompt):
        return [" ".join(map(str, prompt))]
    return [part if isinstance(part, str) else " ".join(map(str, part)) for part in prompt if not isinstance(part, int)]


def _streamed(call: Call, spoken: list[tuple[str, ...]], ends: list[str], used: Json) -> Reply:
    without_usage = {"usage": None} if call.wants_usage else {}
    chunks = []
    for index, end in enumerate(ends):
        parts = [_choice(index, piece, None) for piece in spoken[index]] + [_choice(index, "", end)]
        chunks += [{**_header(call), "choices": [part], **without_usage} for part in parts]
    if call.wants_usage:
        chunks.append({**_header(call), "choices": [], "usage": used})
    return event_reply(*map(event, chunks), DONE)


def _header(call: Call) -> Json:
    return {**call.header("cmpl", "text_completion"), "system_fingerprint": call.system_fingerprint}


def _choice(index: int, text: str, finish_reason: str | None) -> Json:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}
