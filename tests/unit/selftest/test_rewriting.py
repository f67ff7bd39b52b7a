"""The run's config: the operator's routes, and nothing of the world outside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
import yaml

from extproc.config.gateway import Config
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot
from extproc.providers.registry import SETTINGS
from extproc.providers.token_request import GoogleToken
from extproc.selftest.patience import patience_of
from extproc.selftest.rewriting import Staging, left_out, rewrite
from extproc.selftest.run import read_play
from extproc.server.reload import build_snapshot

WRITTEN = """
gateway:
  listen: 0.0.0.0:80
  auth: none
  admin: 0.0.0.0:81
  accessLog: true
  retries: {backoff: 5s}
  circuitBreaker: {consecutiveFailures: 3, openFor: 1m}
backends:
  plain: {provider: openai, apiKey: {env: SECRET_OF_PLAIN}, maxConcurrency: 1, unpriced: reject}
  private:
    provider: vllm
    url: https://llm.internal:8443/base/v1
    apiKey: {file: /etc/secret}
    caFile: /etc/ca.pem
    forwardHeaders: [x-team]
    contextWindow: 4096
    circuitBreaker: {enabled: false}
  claude: {provider: anthropic, apiKey: {env: SECRET_OF_CLAUDE}}
  inside: {provider: demo}
routes:
  main:
    models: [gpt-4, "gpt-4*"]
    defaultBackend: {name: plain}
    fallback: {backends: [private, claude, inside]}
    stripPrefix: gpt-
    retries: {perBackend: 2}
    timeouts: {firstToken: 20s, total: 50s}
"""


@pytest.fixture(name="staging")
def _staging(tmp_path: Any) -> Staging:
    credential = tmp_path / "credential"
    credential.write_text("of-the-run")
    return Staging(
        ports={"plain": 1001, "private": 1002, "claude": 1003}, credential_file=str(credential), google_files={}
    )


def rewritten(staging: Staging, text: str = WRITTEN, *, stream: bool = True, breakers: bool = False) -> Any:
    """What the run is configured with."""
    play = read_play(text.encode())
    return rewrite(play.written, play.config, staging, stream=stream, breakers=breakers)


def compiled(value: object) -> Snapshot:
    """As the gateway takes it: no secret of the operator's is looked for, or this would fail."""
    return build_snapshot(orjson.dumps(value), number=1)


def config_of(text: str) -> Config:
    """What a file means."""
    return load(text.encode(), SETTINGS).config


def test_every_address_is_a_fake(staging: Staging) -> None:
    """With the path that the operator gave; the demo has none to go to."""
    urls = {name: backend.url for name, backend in compiled(rewritten(staging)).config.backends.items()}
    assert urls == {
        "plain": "http://127.0.0.1:1001/v1",
        "private": "http://127.0.0.1:1002/base/v1",
        "claude": "http://127.0.0.1:1003",
        "inside": "http://demo.invalid",
    }


def test_every_credential_is_the_run_s_own(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is one: it is not even read."""
    monkeypatch.setenv("SECRET_OF_PLAIN", "sk-real")
    value = rewritten(staging)
    targets = compiled(value).targets.values()
    assert {target.credential() for target in targets if target.backend != "inside"} == {"of-the-run"}
    text = yaml.safe_dump(value)
    assert not [word for word in ("SECRET_OF", "/etc/", "internal", "openai.com", "sk-real") if word in text]


def test_clouds_are_asked_with_nothing_of_theirs(staging: Staging) -> None:
    """No signature, which Envoy would look for credentials for, and a token that a fake gives out."""
    text = """
    backends:
      aws: {provider: bedrock, region: us-east-1, profile: of-mine, credentialsFile: /etc/aws}
      google: {provider: vertex, project: p, credentialsFile: /etc/google.json}
    routes: {main: {models: [a], defaultBackend: {name: aws}, fallback: {backends: [google]}}}
    """
    clouds = replace(staging, ports={"aws": 1001, "google": 1002}, google_files={"google": "google.json"})
    targets = {target.backend: target for target in compiled(rewritten(clouds, text)).targets.values()}
    signing, token = targets["aws"].provider.signing, targets["google"].provider.token
    assert signing is not None
    assert token is not None
    assert signing(targets["aws"].settings) is None
    assert targets["aws"].credential() == "of-the-run"
    assert token(targets["google"].settings) == GoogleToken(credentials_file="google.json")


def test_free_ports_and_no_log_between_the_rows(staging: Staging) -> None:
    """Beside a gateway that runs already, and with standard output for the result alone."""
    gateway = compiled(rewritten(staging)).config.gateway
    assert (gateway.listen, gateway.admin) == ("127.0.0.1:0", "127.0.0.1:0")
    assert (gateway.access_log, gateway.log_level) == (False, "error")


def test_what_decides_stays(staging: Staging) -> None:
    """Names, windows, prefixes, headers and tries are the operator's."""
    config = compiled(rewritten(staging)).config
    assert config.backends["private"].context_window == 4096
    assert config.backends["private"].forward_headers == ("x-team",)
    assert config.routes["main"].strip_prefix == "gpt-"
    assert config.routes["main"].retries.per_backend == 2


def test_rows_do_not_disturb_each_other(staging: Staging) -> None:
    """No circuit opens, none of many calls at once is one too many, and nobody fails a health check."""
    snapshot = compiled(rewritten(staging))
    assert not any(breaker.enabled for breaker in snapshot.breakers.values())
    assert {backend.max_concurrency for backend in snapshot.config.backends.values()} == {None}
    assert snapshot.config.backends["private"].health_check.failure_threshold == 1_000_000


def test_circuits_are_the_operator_s_but_for_their_time(staging: Staging) -> None:
    """A minute would be too long to wait for."""
    breakers = compiled(rewritten(staging, breakers=True)).breakers
    assert breakers["plain"].enabled
    assert breakers["plain"].consecutive_failures == 3
    assert breakers["plain"].open_for == 1.0
    assert not breakers["private"].enabled


def test_what_has_no_part_is_left_out_and_told(staging: Staging) -> None:
    """Callers, limits and books of a newer file neither refuse the run's calls nor are written to."""
    written = yaml.safe_load(WRITTEN)
    written["gateway"]["ledger"] = {"url": "postgresql://books"}
    written["keys"] = [{"name": "a"}]
    config = config_of(WRITTEN)
    value = rewrite(written, config, staging, stream=True, breakers=False)
    assert "ledger" not in value["gateway"]
    assert "keys" not in value
    assert left_out(written) == ("keys", "gateway.ledger")


@pytest.mark.parametrize(
    ("timeouts", "stream", "scale", "limit", "total"),
    [
        pytest.param("{}", True, 30, "2s", None, id="the defaults"),
        pytest.param("{}", False, 300, "2s", None, id="whole"),
        pytest.param("{firstToken: 1s}", True, 1, "1s", None, id="short enough"),
        pytest.param("{firstToken: 20s, total: 50s}", True, 10, "2s", "5s", id="total keeps its proportion"),
        pytest.param("{firstToken: 60s, total: 30s}", True, 15, "4s", "2s", id="total is still the first to end"),
        pytest.param("{firstToken: 60s, total: 2s}", True, 1, "1m", "2s", id="no shorter than a busy machine needs"),
    ],
)
def test_limits_shrink_together(timeouts: str, stream: bool, scale: float, limit: str, total: str | None) -> None:
    """What ends first in the config still does in the run."""
    text = f"""
    backends: {{inside: {{provider: demo}}}}
    routes: {{main: {{models: [a], defaultBackend: {{name: inside}}, timeouts: {timeouts}}}}}
    """
    config = config_of(text)
    patience = patience_of(config, config.routes["main"], stream=stream)
    assert patience.scale == scale
    assert patience.written["firstToken" if stream else "unstreamed"] == limit
    assert patience.written.get("total") == total
    assert patience.late * 2 <= min(patience.run_limit_ms / 1_000, float((total or limit).removesuffix("s")))
