"""What is refused of a client's body before anybody is asked."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from extproc.errors import InvalidRequest
from extproc.openai.call import OPERATION_PATHS, Operation, path_of, read_call

CHAT = {"model": "m", "messages": [{"role": "user", "content": "a"}]}


def body(**fields: Any) -> bytes:
    """A chat with more fields."""
    return orjson.dumps({**CHAT, **fields})


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n", "best_of"])
@pytest.mark.parametrize(
    ("value", "got"),
    [
        ("5000", "a string"),
        (5000.0, "a decimal number"),
        (True, "a boolean"),
        ([5], "an array"),
        (1e26, "a decimal number"),
    ],
)
def test_counts_that_some_servers_would_read_all_the_same_are_refused(name: str, value: Any, got: str) -> None:
    """Or a budget would hold what it holds for a call without a limit."""
    with pytest.raises(InvalidRequest) as refused:
        read_call(Operation.CHAT, body(**{name: value}))

    assert str(refused.value) == f"Invalid type for '{name}': expected an integer, but got {got} instead."
    assert refused.value.param == name


@pytest.mark.parametrize("value", [None, 0, 1, -1, 2**63])
def test_counts_are_integers_of_any_size_or_null(value: int | None) -> None:
    """Which of them a provider takes is the provider's to say."""
    _, fields = read_call(Operation.CHAT, body(max_tokens=value))

    assert fields["max_tokens"] == value


def test_an_operation_is_known_by_its_path_when_a_slash_follows() -> None:
    """One only, and only where it is an operation's: elsewhere it may belong to a name."""
    for path in OPERATION_PATHS:
        for target in (path, f"{path}/", f"{path}?a=/b/", f"{path}/?a=1"):
            assert path_of(target) == path
        assert path_of(f"{path}//") == f"{path}//"
    assert path_of("/v1/models/org/?a") == "/v1/models/org/"
    assert path_of("/") == "/"
