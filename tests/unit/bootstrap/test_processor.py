"""How Envoy reaches the workers, and the words that both sides must use."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bootstrap import processor
from extproc.bootstrap.processor import arrival_filter, attempt_filter, processor_cluster
from extproc.bootstrap.typed_config import to_json
from extproc.server import messages, stream


def settings(filter_: Any) -> dict[str, Any]:
    """What the filter is given."""
    typed: dict[str, Any] = to_json(filter_)["typed_config"]
    return typed


def test_both_sides_use_the_same_words() -> None:
    """The renderer may not import the server, so each has them for itself."""
    names = ("STAGE", "TARGET", "ARRIVAL", "ATTEMPT", "PLAN_NAMESPACE", "ATTEMPTS_NAMESPACE")
    theirs = {**vars(messages), **vars(stream)}
    assert [getattr(processor, name) for name in names] == [theirs[name] for name in names]


def test_arrival_sees_the_request_and_writes_the_plan() -> None:
    """Without the headers the route would be chosen before the plan is there; the reply would only cost."""
    arrival = settings(arrival_filter())
    assert arrival["processing_mode"] == {
        "request_header_mode": "SEND",
        "request_body_mode": "BUFFERED",
        "response_header_mode": "SKIP",
    }
    namespaces = {"typed": ["kortex.plan"], "untyped": ["kortex.attempts"]}
    assert arrival["metadata_options"] == {"receiving_namespaces": namespaces}
    assert "allow_mode_override" not in arrival


def test_attempt_says_per_request_what_it_needs() -> None:
    """A configured full duplex could not be overridden."""
    attempt = settings(attempt_filter("backend/a/0"))
    assert attempt["allow_mode_override"] is True
    assert "response_body_mode" not in attempt["processing_mode"]


@pytest.mark.parametrize(
    ("workers", "kind"),
    [
        pytest.param(("unix:/run/0.sock", "unix:/run/1.sock"), "STATIC", id="sockets"),
        pytest.param(("127.0.0.1:9002", "[::1]:9002"), "STATIC", id="addresses"),
        pytest.param(("extproc:9002",), "STRICT_DNS", id="name"),
        pytest.param(("extproc:9002", "10.0.0.1:9002"), "STRICT_DNS", id="name-and-address"),
    ],
)
def test_workers_are_found(workers: tuple[str, ...], kind: str) -> None:
    """Behind a name may be several, and others tomorrow."""
    cluster = to_json(processor_cluster(workers))
    assert cluster["type"] == kind
    assert len(cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]) == len(workers)


@pytest.mark.parametrize(
    "workers", [pytest.param((), id="none"), pytest.param(("unix:/run/0.sock", "extproc:9002"), id="mixed")]
)
def test_workers_are_refused_when_envoy_could_not_reach_them(workers: tuple[str, ...]) -> None:
    """A cluster of Envoy's has one way of finding its endpoints."""
    with pytest.raises(ValueError, match="all be Unix sockets, or all host:port"):
        processor_cluster(workers)
