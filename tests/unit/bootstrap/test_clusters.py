"""How providers are reached: by name or address, with TLS or without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from extproc.bootstrap.clusters import clusters_of
from extproc.bootstrap.typed_config import to_json
from extproc.exchange.snapshot import Snapshot

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
Provider = Callable[..., dict[str, Any]]


@pytest.fixture
def provider(compiled: Callable[[str], Snapshot]) -> Provider:
    """The cluster of a provider at a URL."""

    def render(url: str, *, kind: str = "custom", **settings: str) -> dict[str, Any]:
        more = "".join(f", {key}: {value}" for key, value in settings.items())
        snapshot = compiled(
            f'backends: {{b: {{provider: {kind}, url: "{url}"{more}}}}}\n'
            "routes: {r: {models: [m], defaultBackend: {name: b}, timeouts: {connect: 1500ms}}}"
        )
        return to_json(clusters_of(next(iter(snapshot.targets.values())))[1])

    return render


def trust(cluster: dict[str, Any]) -> dict[str, Any]:
    """What is checked in the server's certificate, and against which authorities."""
    tls: dict[str, Any] = cluster["transport_socket"]["typed_config"]["common_tls_context"]
    return tls


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        pytest.param("http://a.example.com", "a.example.com", 80, id="http"),
        pytest.param("https://a.example.com/openai/v1", "a.example.com", 443, id="https"),
        pytest.param("https://a.example.com:8443", "a.example.com", 8443, id="port"),
        pytest.param("http://[::1]:1234/v1", "::1", 1234, id="ipv6"),
        pytest.param("http://LocalHost:1234", "localhost", 1234, id="capitals"),
    ],
)
def test_provider_is_where_its_url_says(provider: Provider, url: str, host: str, port: int) -> None:
    """The path is the attempt stage's."""
    cluster = provider(url)
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": host, "port_value": port}
    assert cluster["connect_timeout"] == "1.5s"


def test_addresses_of_a_name_are_tried_in_turn(provider: Provider) -> None:
    """Both families, so that ``localhost`` finds a server on either loopback address."""
    cluster = provider("http://localhost:11434")
    assert cluster["cluster_type"]["typed_config"] == {
        "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
        "dns_lookup_family": "ALL",
        "all_addresses_in_single_endpoint": True,
        "respect_dns_ttl": True,
    }
    assert "type" not in cluster


def test_address_is_not_looked_up(provider: Provider) -> None:
    """Neither IPv4 nor IPv6."""
    for url in ("http://10.0.0.1", "http://[fd00::1]"):
        cluster = provider(url)
        assert cluster["type"] == "STATIC"
        assert "cluster_type" not in cluster


def test_certificate_must_be_for_the_providers_name(provider: Provider) -> None:
    """Which is sent as SNI, so that a server with several certificates shows the right one."""
    cluster = provider("https://a.example.com")
    assert cluster["transport_socket"]["typed_config"]["sni"] == "a.example.com"
    checked = trust(cluster)["combined_validation_context"]
    names = [{"san_type": "DNS", "matcher": {"exact": "a.example.com"}}]
    assert checked["default_validation_context"] == {"match_typed_subject_alt_names": names}
    assert checked["validation_context_sds_secret_config"] == {"name": "system-roots"}


def test_certificate_must_be_for_the_providers_address(provider: Provider) -> None:
    """An address is never sent as a server's name."""
    cluster = provider("https://10.0.0.1")
    assert "sni" not in cluster["transport_socket"]["typed_config"]
    checked = trust(cluster)["combined_validation_context"]["default_validation_context"]
    assert checked == {"match_typed_subject_alt_names": [{"san_type": "IP_ADDRESS", "matcher": {"exact": "10.0.0.1"}}]}


def test_own_authority_replaces_the_systems(provider: Provider) -> None:
    """A private server is not to be impersonated by whoever holds a public certificate."""
    checked = trust(provider("https://a.example.com", caFile="/ca.pem"))
    assert checked == {
        "validation_context": {
            "trusted_ca": {"filename": "/ca.pem"},
            "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "a.example.com"}}],
        }
    }


def test_version_of_http_is_negotiated_when_there_is_tls(provider: Provider) -> None:
    """By ALPN; without TLS it is HTTP/1.1, and connections are given up before a bare uvicorn gives them up."""
    encrypted = provider("https://a.example.com")["typed_extension_protocol_options"][HTTP_OPTIONS]
    plain = provider("http://a.example.com")["typed_extension_protocol_options"][HTTP_OPTIONS]
    assert encrypted["auto_config"].keys() == {"http_protocol_options", "http2_protocol_options"}
    assert plain["explicit_http_config"] == {"http_protocol_options": {}}
    assert plain["common_http_protocol_options"] == {"idle_timeout": "4s"}


def test_a_server_with_a_health_endpoint_is_asked_for_it(provider: Provider) -> None:
    """As often while it has no traffic: that is when it matters."""
    (check,) = provider("http://vllm.test:8000", kind="vllm")["health_checks"]
    assert check["http_health_check"] == {"host": "vllm.test:8000", "path": "/health"}
    assert (check["interval"], check["no_traffic_interval"], check["timeout"]) == ("10s", "10s", "2s")
    assert "health_checks" not in provider("http://vllm.test:8000")


def test_a_backend_s_concurrency_is_its_cluster_s(provider: Provider) -> None:
    """Everything else stays without a limit."""
    (limits,) = provider("http://a.test", maxConcurrency="7")["circuit_breakers"]["thresholds"]
    assert limits["max_requests"] == 7
    assert limits["max_connections"] == limits["max_pending_requests"] == 1_000_000
