"""What a request is made shorter to, whatever limit it came with."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from extproc.openai.call import Operation
from extproc.openai.stretched import stretch


def shortened(operation: Operation = Operation.CHAT, **fields: Any) -> dict[str, Any]:
    """What is left of the fields."""
    body = stretch(orjson.dumps(fields), operation, max_output=100, less_reasoning=False)
    return dict(orjson.loads(body))


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        pytest.param({}, {"max_completion_tokens": 100}, id="none"),
        pytest.param({"max_tokens": None}, {"max_tokens": None, "max_completion_tokens": 100}, id="null"),
        pytest.param({"max_tokens": 5}, {"max_tokens": 5}, id="shorter"),
        pytest.param({"max_tokens": 500}, {"max_tokens": 100}, id="longer"),
        pytest.param(
            {"max_tokens": 50, "max_completion_tokens": 500},
            {"max_tokens": 50, "max_completion_tokens": 100},
            id="by-both-names",
        ),
        pytest.param({"max_tokens": -1}, {"max_tokens": 100}, id="minus-one-is-no-limit-to-ollama"),
        pytest.param({"max_tokens": 0}, {"max_tokens": 1}, id="nor-is-zero"),
    ],
)
def test_no_answer_is_longer_than_it_may_be(given: dict[str, Any], sent: dict[str, Any]) -> None:
    """Nor has it a limit that is none."""
    assert shortened(**given) == sent


def test_a_completion_has_one_name_for_its_limit() -> None:
    """The older one."""
    assert shortened(Operation.TEXT_COMPLETION) == {"max_tokens": 100}
