"""The filter that signs: where it stands, what it signs, and whose credentials it uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from extproc.bootstrap.provider_listener import provider_listener
from extproc.bootstrap.typed_config import to_json
from extproc.exchange.snapshot import Snapshot

CONFIG = """
backends:
  chain: {provider: bedrock, region: us-east-1}
  profile: {provider: bedrock, region: eu-west-1, profile: team}
  file: {provider: bedrock, region: eu-west-1, credentialsFile: /etc/aws/credentials}
  key: {provider: bedrock, region: us-east-1, apiKey: {env: KEY}}
  other: {provider: custom, url: "http://127.0.0.1:9"}
routes:
  all: {models: ["*"], defaultBackend: {name: chain}, fallback: {backends: [profile, file, key, other]}}
"""


@pytest.fixture
def filters(compiled: Callable[[str], Snapshot]) -> Callable[[str], dict[str, Any]]:
    """The HTTP filters of a backend's listener, by name, in order."""
    snapshot = compiled(CONFIG)

    def of(backend: str) -> dict[str, Any]:
        target = next(target for target in snapshot.targets.values() if target.backend == backend)
        listener = to_json(provider_listener(target, snapshot.config.gateway))
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        return {entry["name"].rpartition(".")[2]: entry["typed_config"] for entry in manager["http_filters"]}

    return of


def test_request_is_signed_once_it_is_written(filters: Callable[[str], dict[str, Any]]) -> None:
    """Behind the attempt stage, before the router; the payload too."""
    assert list(filters("chain")) == ["ext_proc", "aws_request_signing", "router"]
    signer = filters("chain")["aws_request_signing"]
    assert (signer["service_name"], signer["region"]) == ("bedrock", "us-east-1")
    assert "use_unsigned_payload" not in signer
    assert signer["match_included_headers"] == [{"exact": "content-type"}, {"prefix": "x-amz"}]


def test_credentials_are_of_the_usual_chain_unless_named(filters: Callable[[str], dict[str, Any]]) -> None:
    """A profile that is named is the only one that is tried."""
    assert "credential_provider" not in filters("chain")["aws_request_signing"]
    assert filters("profile")["aws_request_signing"]["credential_provider"] == {
        "credentials_file_provider": {"profile": "team"},
        "custom_credential_provider_chain": True,
    }
    source = {"filename": "/etc/aws/credentials", "watched_directory": {"path": "/etc/aws"}}
    assert filters("file")["aws_request_signing"]["credential_provider"] == {
        "credentials_file_provider": {"credentials_data_source": source},
        "custom_credential_provider_chain": True,
    }


@pytest.mark.parametrize("backend", ["key", "other"])
def test_nothing_is_signed_when_a_header_is_the_credential(
    filters: Callable[[str], dict[str, Any]], backend: str
) -> None:
    """A Bedrock API key is one; other providers know no signatures."""
    assert list(filters(backend)) == ["ext_proc", "router"]
