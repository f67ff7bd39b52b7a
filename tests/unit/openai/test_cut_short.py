"""The end of a stream whose budget is used up, in the words of what its client called."""

from __future__ import annotations

import orjson
import pytest

from extproc.openai.call import Operation
from extproc.openai.cut_short import end_stream, says_end


@pytest.mark.parametrize(
    ("operation", "said"),
    [(Operation.CHAT, {"delta": {}}), (Operation.TEXT_COMPLETION, {"text": ""})],
)
def test_a_stream_ends_as_one_that_reached_its_limit(operation: Operation, said: dict[str, object]) -> None:
    """It is the same answer's, with its usage where that was asked for, and its end."""
    last = b'data: {"id":"c-1","object":"o","model":"m","choices":[{"index":1,"delta":{"content":"a"}}]}\n\n'
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    lines = end_stream(last, operation, usage).decode().split("\n\n")
    assert lines[2:] == ["data: [DONE]", ""]
    end, told = (orjson.loads(line.removeprefix("data: ")) for line in lines[:2])
    assert end["choices"] == [{"index": 1, **said, "finish_reason": "length"}]
    assert (end["id"], end["usage"], told["id"], told["choices"], told["usage"]) == ("c-1", None, "c-1", [], usage)
    assert says_end(end_stream(last, operation, None))
    assert not says_end(last)
