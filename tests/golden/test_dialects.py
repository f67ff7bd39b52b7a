"""Every dialect against its goldens: requests, whole replies, streams and errors, as bytes a reviewer can read.

A case is a folder under ``chat``. ``client.request.json`` becomes ``<dialect>.request.json``; ``<dialect>.reply.json``
becomes ``<dialect>.client.json``, ``.reply.sse`` (``.reply.jsonl`` where the provider's stream is binary) becomes
``.client.sse``, and ``.error.json`` becomes ``.client.error.json``. ``models.json`` names the provider's model where a
case is about one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.openai.features import used_features
from tests.golden.chat_stream import put_together, with_arguments_read
from tests.golden.dialects import (
    ABSENT,
    DIALECTS,
    OWN,
    Dialect,
    as_text,
    cases,
    decode,
    decode_error,
    decode_stream,
    encode,
    read_call,
    replies,
    settle,
)

REPLIES = list(replies())
STREAMS = [(case, dialect) for case, dialect, kind in REPLIES if kind == "sse"]
BOTH = [(case, dialect) for case, dialect in STREAMS if (case, dialect, "json") in REPLIES]


def of_kind(kind: str) -> pytest.MarkDecorator:
    """A test for every recorded reply of a kind."""
    chosen = [(case, dialect) for case, dialect, found in REPLIES if found == kind]
    return pytest.mark.parametrize(("case", "dialect"), chosen, ids=[f"{d.name}-{c.name}" for c, d in chosen])


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_request_is_as_recorded_when_encoded(case: Path, dialect: Dialect, *, update_golden: bool) -> None:
    """The provider's request, what of the client's is not in it, or why there is none."""
    settle(case / f"{dialect.name}.request.json", as_text(encode(case, dialect)), update=update_golden)


@of_kind("json")
def test_whole_reply_is_as_recorded_when_decoded(case: Path, dialect: Dialect, *, update_golden: bool) -> None:
    """The client's completion."""
    settle(case / f"{dialect.name}.client.json", as_text(decode(case, dialect)), update=update_golden)


@of_kind("sse")
def test_stream_is_as_recorded_when_decoded(case: Path, dialect: Dialect, *, update_golden: bool) -> None:
    """The client's stream, in one piece."""
    settle(case / f"{dialect.name}.client.sse", decode_stream(case, dialect), update=update_golden)


@of_kind("error")
def test_error_is_as_recorded_when_decoded(case: Path, dialect: Dialect, *, update_golden: bool) -> None:
    """Status, type, code and sentence."""
    settle(case / f"{dialect.name}.client.error.json", as_text(decode_error(case, dialect)), update=update_golden)


@pytest.mark.parametrize(("case", "dialect"), STREAMS, ids=[f"{d.name}-{c.name}" for c, d in STREAMS])
@settings(max_examples=25)
@given(sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5).map(tuple))
def test_stream_is_the_same_when_cut_anywhere(case: Path, dialect: Dialect, sizes: tuple[int, ...]) -> None:
    """However the network cuts the provider's stream, the client's bytes are those of the golden."""
    assert decode_stream(case, dialect, sizes) == (case / f"{dialect.name}.client.sse").read_bytes()


@pytest.mark.parametrize(("case", "dialect"), BOTH, ids=[f"{d.name}-{c.name}" for c, d in BOTH])
def test_stream_amounts_to_the_whole_reply(case: Path, dialect: Dialect) -> None:
    """Content, tool calls, finish reason and usage are the same, streamed or not."""
    assert put_together(decode_stream(case, dialect)) == with_arguments_read(decode(case, dialect))


def test_every_dialect_has_a_reply_where_one_has() -> None:
    """A missing pair is a decision, with its reason in ABSENT."""
    present = {(case.name, dialect.name) for case, dialect, _ in REPLIES}
    wanted = {
        (case, dialect.name)
        for case, _ in present
        for dialect in DIALECTS
        if OWN.get(case, dialect.name) == dialect.name
    }
    assert wanted - present == set(ABSENT)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_feature_is_used_by_a_case(dialect: Dialect) -> None:
    """What the dialect's table says of a feature is shown by at least one request."""
    used = {feature for case in cases() for feature in used_features(read_call(case).fields())}
    assert set(dialect.translator.support) - used == set()
