"""A request's place in its client's trace: the same from wherever it is computed."""

from __future__ import annotations

import pytest

from extproc.exchange.trace import continue_trace
from extproc.headers import Headers
from tests.unit.exchange.conftest import StartAttempt

EXCHANGE = "0123456789abcdef8000000000000000"
CLIENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("traceparent", "ratio", "sampled"),
    [
        pytest.param(CLIENT, 0.0, True, id="client-samples"),
        pytest.param(CLIENT[:-2] + "00", 1.0, False, id="client-does-not"),
        pytest.param("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-more", 0.0, True, id="later-version"),
    ],
)
def test_a_clients_trace_is_continued(traceparent: str, ratio: float, sampled: bool) -> None:
    """With its choice, whatever ours would have been."""
    trace = continue_trace(traceparent, exchange=EXCHANGE, ratio=ratio)
    assert (trace.id, trace.parent) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert trace.sampled is sampled


@pytest.mark.parametrize(
    "traceparent",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", id="version"),
        pytest.param("00-00000000000000000000000000000000-00f067aa0ba902b7-01", id="no-trace"),
        pytest.param("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", id="no-span"),
        pytest.param(CLIENT.upper(), id="upper-case"),
        pytest.param(CLIENT + "-more", id="too-long"),
        pytest.param(CLIENT + ", " + CLIENT, id="twice"),
    ],
)
@pytest.mark.parametrize(("ratio", "sampled"), [(0.0, False), (0.4, False), (0.6, True), (1.0, True)])
def test_a_trace_of_our_own_begins_when_the_client_has_none(
    traceparent: str | None, ratio: float, sampled: bool
) -> None:
    """The exchange's id is its id and decides, so that every stage decides alike."""
    trace = continue_trace(traceparent, exchange=EXCHANGE, ratio=ratio)
    assert (trace.id, trace.parent, trace.sampled) == (EXCHANGE, None, sampled)


def test_every_span_has_an_id_of_its_own() -> None:
    """The exchange's, and each attempt's."""
    trace = continue_trace(CLIENT, exchange=EXCHANGE, ratio=1.0)
    spans = {trace.span, *(trace.attempt_span(number) for number in range(1, 6))}
    assert len(spans) == 6
    assert trace.traceparent(2) == f"00-{trace.id}-{trace.attempt_span(2)}-01"


@pytest.mark.parametrize(
    ("traceparent", "state"),
    [pytest.param(CLIENT, "kept", id="continued"), pytest.param("nonsense", "removed", id="begun")],
)
def test_a_provider_is_told_the_attempts_span(start: StartAttempt, traceparent: str, state: str) -> None:
    """A state that belongs to another trace goes no further."""
    headers = (("traceparent", traceparent), ("tracestate", "vendor=1"))
    attempt = start(number=2, headers=headers, trace_ratio=1.0)
    assert attempt.trace is not None
    written = attempt.encode(Headers(headers), b'{"model":"gpt-4","messages":[]}')
    assert dict(written.set_headers)["traceparent"] == attempt.trace.traceparent(2)
    assert ("tracestate" in written.remove_headers) is (state == "removed")


def test_without_tracing_the_clients_own_headers_go_on(start: StartAttempt) -> None:
    """As they are."""
    headers = (("traceparent", CLIENT), ("tracestate", "vendor=1"))
    written = start(headers=headers).encode(Headers(headers), b'{"model":"gpt-4","messages":[]}')
    assert "traceparent" not in dict(written.set_headers)
    assert not {"traceparent", "tracestate"} & set(written.remove_headers)
