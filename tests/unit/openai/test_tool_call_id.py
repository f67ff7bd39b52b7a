"""Payloads in the ids of tool calls: they come back whole, and nobody else ever sees them."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.openai.tool_call_id import LONGEST, bare, carried, carry, without_carried

IDS = st.text(alphabet="abcXYZ019_-|:.é", min_size=1, max_size=40).filter(lambda text: ".kortex-" not in text)


@given(identifier=IDS, payload=st.binary(max_size=2_000))
def test_payload_comes_back_for_the_dialect_that_packed_it(identifier: str, payload: bytes) -> None:
    """Whatever bytes it has, and for no other dialect."""
    packed = carry(identifier, "anthropic", payload)
    assert carried(packed, "anthropic") == payload
    assert carried(packed, "gemini") is None
    assert bare(packed) == identifier
    assert packed.isprintable()


@given(identifiers=st.lists(IDS, min_size=1, max_size=4), payload=st.binary(max_size=200))
def test_request_has_bare_ids_when_it_goes_elsewhere(identifiers: list[str], payload: bytes) -> None:
    """Calls and their results, and not a byte more is changed."""
    plain = {"messages": [{"tool_calls": [{"id": one}], "tool_call_id": one, "content": one} for one in identifiers]}
    packed = {
        "messages": [
            {
                "tool_calls": [{"id": carry(one, "anthropic", payload)}],
                "tool_call_id": carry(one, "x", b""),
                "content": one,
            }
            for one in identifiers
        ]
    }
    assert without_carried(orjson.dumps(packed)) == orjson.dumps(plain)


@pytest.mark.parametrize(
    "identifier",
    [
        pytest.param("call_1", id="none"),
        pytest.param("call_1.kortex-anthropic.", id="nothing"),
        pytest.param("call_1.kortex-anthropic.AAAA", id="not-deflated"),
        pytest.param("call_1.kortex-anthropic.A", id="not-base64"),
        pytest.param(carry("call_1", "anthropic", b"abcdefgh" * 30)[:-6], id="cut-off"),
        pytest.param(carry("call_1", "anthropic", bytes(2 << 20)), id="bomb"),
    ],
)
def test_id_carries_nothing_when_damaged(identifier: str) -> None:
    """It is an id all the same."""
    assert carried(identifier, "anthropic") is None
    assert bare(identifier) == "call_1"


def test_payload_is_left_out_when_too_long() -> None:
    """Rather than an id that no database has a column for."""
    noise = bytes((index * index * 31 + index // 7) % 251 for index in range(2 * LONGEST))
    long = carry("call_1", "anthropic", noise)
    assert len(long) <= LONGEST
