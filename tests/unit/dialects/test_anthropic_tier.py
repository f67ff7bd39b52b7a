"""What a bill needs of Anthropic's replies, whole and streamed: the tier that served."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from extproc.dialects.anthropic import AnthropicTranslator
from extproc.dialects.base import UpstreamReply
from extproc.framing.sse import Event
from extproc.headers import Headers
from extproc.openai.call import Call, Operation

CALL = Call(operation=Operation.CHAT, model="m", body=b"{}", stream=True)


@pytest.mark.parametrize(
    ("tier", "served"),
    [
        ("batch", "batch"),
        ("priority", "priority"),
        ("standard", "default"),
        ("unheard-of", None),
        (7, None),
        (None, None),
    ],
)
def test_tier_is_told_by_openais_name(tier: Any, served: str | None) -> None:
    """A stream names it when it begins, and its later totals do not."""
    usage = {"input_tokens": 5, "output_tokens": 1, "service_tier": tier}
    message = {"id": "m", "model": "claude", "content": [{"type": "text", "text": "Hi."}], "usage": usage}
    whole = UpstreamReply(status=200, headers=Headers(), body=orjson.dumps(message))
    stream = AnthropicTranslator().stream(CALL)
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message | {"content": []}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    ]
    for event in events:
        stream.event(Event(raw=b"", data=orjson.dumps(event), event=event["type"].encode()))
    reply = AnthropicTranslator().decode(whole, replace(CALL, stream=False))
    assert (reply.service_tier, stream.state.service_tier) == (served, served)
