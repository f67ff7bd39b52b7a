"""What every backend has: a base URL without credentials in it, and headers that may be forwarded."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from extproc.config.backends import Backend


def _backend(**keys: object) -> Backend:
    return Backend.model_validate({"provider": "plain", "url": "http://host", **keys})


@pytest.mark.parametrize(
    ("written", "url"),
    [
        pytest.param("https://api.openai.com/v1", "https://api.openai.com/v1", id="as-it-is"),
        pytest.param("http://host:8000//", "http://host:8000", id="trailing-slashes"),
        pytest.param("http://[::1]:11434", "http://[::1]:11434", id="ipv6"),
    ],
)
def test_a_base_url_is_taken_when_it_is_http(written: str, url: str) -> None:
    """Without slashes at its end, so that a path can follow."""
    assert _backend(url=written).url == url


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        pytest.param("host:8000", "not a base URL", id="no-scheme"),
        pytest.param("ftp://user:hunter2@host", "not a base URL", id="other-scheme"),
        pytest.param("http://", "not a base URL", id="no-host"),
        pytest.param("http://host:0", "not a base URL", id="port-zero"),
        pytest.param("http://host:hunter2", "not a URL", id="port-is-no-number"),
        pytest.param("http://host:65536", "not a URL", id="port-too-high"),
        pytest.param("http://[hunter2", "not a URL", id="open-bracket"),
        pytest.param("https://user:hunter2@host", "credentials belong in apiKey", id="password"),
        pytest.param("https://hunter2@host", "credentials belong in apiKey", id="user"),
        pytest.param("https://host/?key=hunter2", "credentials belong in apiKey", id="query"),
        pytest.param("https://host/#hunter2", "credentials belong in apiKey", id="fragment"),
        pytest.param("http://host/hunter2\nx", "white space", id="line-break"),
        pytest.param("http://host/hunter2 x", "white space", id="space"),
    ],
)
def test_a_base_url_is_not_repeated_when_it_is_refused(url: str, sentence: str) -> None:
    """People write passwords into URLs."""
    with pytest.raises(ValidationError) as refusal:
        _backend(url=url)
    (detail,) = refusal.value.errors()
    assert sentence in detail["msg"]
    assert "hunter2" not in detail["msg"]


def test_forwarded_headers_are_lower_case_when_read() -> None:
    """As everywhere in Kortex."""
    assert _backend(forwardHeaders=["X-Trace", "accept-language"]).forward_headers == ("x-trace", "accept-language")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        pytest.param("Authorization", "never forwarded", id="credential"),
        pytest.param("x-kortex-plan", "never forwarded", id="ours"),
        pytest.param("x-envoy-max-retries", "never forwarded", id="envoys"),
        pytest.param("x-key: hunter2", "entry 2 is not a header name", id="with-its-value"),
        pytest.param("", "entry 2 is not a header name", id="empty"),
        pytest.param("x_team", "underscore", id="underscore"),
    ],
)
def test_a_header_is_refused_when_no_provider_may_see_it(name: str, sentence: str) -> None:
    """Credentials, and what steers Kortex and Envoy."""
    with pytest.raises(ValidationError) as refusal:
        _backend(forwardHeaders=["x-fine", name])
    (detail,) = refusal.value.errors()
    assert sentence in detail["msg"]
    assert "hunter2" not in detail["msg"]
