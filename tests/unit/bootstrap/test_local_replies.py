"""What clients read when Envoy itself answers."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bootstrap.local_replies import edge_replies, provider_replies
from extproc.bootstrap.typed_config import to_json
from extproc.config.gateway import Gateway
from extproc.errors import BodyTooLarge, PathNotFound
from extproc.exchange.trail import read_trail
from extproc.server import messages

EDGE: list[dict[str, Any]] = to_json(edge_replies(Gateway()))["mappers"]
INSIDE: list[dict[str, Any]] = to_json(provider_replies("a"))["mappers"]


def error(reply: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's error object."""
    body: dict[str, Any] = reply["body_format_override"]["json_format"]["error"]
    return body


def status(reply: dict[str, Any]) -> int | None:
    """The status that it is for; None for those that are found by their details."""
    filter_ = reply["filter"].get("status_code_filter", {"comparison": {"value": {"default_value": None}}})
    value: int | None = filter_["comparison"]["value"]["default_value"]
    return value


@pytest.mark.parametrize("replies", [pytest.param(EDGE, id="edge"), pytest.param(INSIDE, id="inside")])
def test_our_own_replies_are_left_alone(replies: list[dict[str, Any]]) -> None:
    """They come first, and are known by the start of their details."""
    own, *others = replies
    expression = own["filter"]["extension_filter"]["typed_config"]["expression"]
    assert expression == f"response.code_details.startsWith('{messages.DETAILS_PREFIX}')"
    assert own.keys() == {"filter"}
    assert all("body_format_override" in reply for reply in others)


def test_every_reply_is_an_error_of_openais() -> None:
    """With the four fields that its SDKs read, a sentence, and a type that fits the status."""
    for reply in EDGE[1:]:
        body = error(reply)
        assert {"message", "type", "param", "code"} <= body.keys() <= {"message", "type", "param", "code", "attempts"}
        assert body["message"].endswith(".")
        theirs = (status(reply) or 503) < 500
        assert body["type"] == ("invalid_request_error" if theirs or status(reply) == 501 else "server_error")


def test_codes_are_those_of_our_own_errors() -> None:
    """A client cannot tell who refused it."""
    codes = {status(reply): error(reply)["code"] for reply in EDGE[1:]}
    assert (codes[404], codes[413]) == (PathNotFound.code, BodyTooLarge.code)


def test_details_are_told_only_where_they_are_about_the_request() -> None:
    """Above 499 they hold addresses of providers and paths of sockets."""
    telling = [status(reply) for reply in EDGE[1:] if "%RESPONSE_CODE_DETAILS%" in str(reply["body_format_override"])]
    assert telling == [400]


def test_last_ones_catch_the_rest() -> None:
    """The more special first: of those that fit, the first counts."""
    operators = [reply["filter"].get("status_code_filter", {}).get("comparison", {}).get("op") for reply in EDGE]
    assert operators[-2:] == ["GE", "GE"]
    assert "GE" not in operators[:-2]
    assert [status(reply) for reply in EDGE[-2:]] == [500, 400]


def test_failure_inside_moves_on_with_an_entry_in_the_trail() -> None:
    """Also where no worker saw it."""
    for reply in INSIDE[1:]:
        headers = {entry["header"]["key"]: entry["header"]["value"] for entry in reply["headers_to_add"]}
        [entry] = read_trail(headers["x-kortex-outcome"].replace("%DURATION%", "12"))
        assert (entry.backend, entry.outcome, entry.milliseconds) == ("a", headers["x-kortex-failover"], 12)
        assert headers["x-kortex-local-reply"] == "%RESPONSE_CODE_DETAILS%"
