"""What a bill needs of Converse's replies, whole and streamed: the tier that served, and what is cached for an hour."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from extproc.dialects.base import UpstreamReply
from extproc.dialects.converse import ConverseTranslator
from extproc.framing.sse import Event
from extproc.headers import Headers
from extproc.openai.call import Call, Operation
from extproc.openai.usage import Usage

CALL = Call(operation=Operation.CHAT, model="m", body=b"{}", stream=True)
TOKENS = {"inputTokens": 5, "outputTokens": 3, "totalTokens": 108, "cacheWriteInputTokens": 100}


def told(metadata: dict[str, Any]) -> list[tuple[Usage | None, str | None]]:
    """By a whole reply and by a stream."""
    message = {"message": {"role": "assistant", "content": [{"text": "Hi."}]}}
    whole = orjson.dumps({"output": message, "stopReason": "end_turn", **metadata})
    reply = ConverseTranslator().decode(
        UpstreamReply(status=200, headers=Headers(), body=whole), replace(CALL, stream=False)
    )
    stream = ConverseTranslator().stream(CALL)
    for kind, payload in (("messageStart", {}), ("messageStop", {"stopReason": "end_turn"}), ("metadata", metadata)):
        stream.event(Event(raw=b"", data=orjson.dumps(payload), event=kind.encode()))
    return [(reply.usage, reply.service_tier), (stream.state.usage, stream.state.service_tier)]


@pytest.mark.parametrize(
    ("details", "hour"),
    [
        pytest.param([{"ttl": "5m", "inputTokens": 40}, {"ttl": "1h", "inputTokens": 60}], 60, id="both"),
        pytest.param([{"ttl": "5m", "inputTokens": 100}], None, id="minutes alone"),
        pytest.param([{"ttl": "1h", "inputTokens": "x"}, 7], None, id="nonsense"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_tokens_cached_for_an_hour_are_told_apart(details: Any, hour: int | None) -> None:
    """They cost more."""
    expected = Usage(input=105, output=3, cache_write=100, cache_write_1h=hour)
    assert [usage for usage, _ in told({"usage": {**TOKENS, "cacheDetails": details}})] == [expected] * 2


@pytest.mark.parametrize(
    ("tier", "served"),
    [({"type": "flex"}, "flex"), ({"type": "priority"}, "priority"), ({"type": "reserved"}, None), (7, None)],
)
def test_tier_is_told_by_openais_name(tier: Any, served: str | None) -> None:
    """AWS's own has none."""
    assert [name for _, name in told({"usage": TOKENS, "serviceTier": tier})] == [served] * 2
