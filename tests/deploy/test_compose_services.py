"""The commands of docker-compose.yml, run against each other: the processor, and the real Envoy with its bootstrap."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy.local_services import ROOT, START_SECONDS, LocalServices
from tests.fakes import FakeProvider, SlowEvents

KEY = "sk-of-the-operator"


def config(**urls: str) -> dict[str, Any]:
    """deploy/compose/kortex.yaml, its backends at other addresses where one is given."""
    written: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose/kortex.yaml").read_text(encoding="utf-8"))
    for name, url in urls.items():
        written["backends"][name]["url"] = url
    return written


def with_openai(written: dict[str, Any], url: str) -> dict[str, Any]:
    """The same with one more backend, which needs a key, and a route to it."""
    backend = {"provider": "openai", "url": url, "apiKey": {"env": "OPENAI_API_KEY"}}
    route = {"models": ["gpt-4o"], "defaultBackend": {"name": "openai"}}
    return {
        **written,
        "backends": {**written["backends"], "openai": backend},
        "routes": {**written["routes"], "openai": route},
    }


def chat(services: LocalServices, model: str, **fields: Any) -> httpx.Response:
    """A client's request over a connection of its own."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}
    return httpx.post(f"{services.base_url}/chat/completions", json=body, timeout=30, trust_env=False)


def refuses(services: LocalServices) -> bool:
    """Whether nothing listens for clients any more."""
    try:
        chat(services, "kortex-demo")
    except httpx.ConnectError:
        return True
    return False


@pytest.fixture(scope="module")
def ollama() -> Iterator[FakeProvider]:
    """In place of the one on the operator's machine."""
    with FakeProvider(name="ollama") as fake:
        yield fake


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, ollama: FakeProvider) -> Iterator[LocalServices]:
    """Both, healthy; a test that stops one of them starts it again."""
    folder = tmp_path_factory.mktemp("services")
    with LocalServices(folder, config(ollama=ollama.base_url), {"OPENAI_API_KEY": KEY}) as running:
        running.up()
        yield running


def test_requests_reach_the_built_in_model_and_a_provider(services: LocalServices, ollama: FakeProvider) -> None:
    """What deploy/compose/kortex.yaml promises to those who have no account."""
    ollama.clear()
    assert chat(services, "kortex-demo").status_code == 200
    reply = chat(services, "ollama/llama3.2")
    assert reply.json()["choices"][0]["message"]["content"] == "ollama says: hello"
    assert [request.json["model"] for request in ollama.requests] == ["llama3.2"]


def test_saved_config_is_served_by_the_same_envoy(services: LocalServices, ollama: FakeProvider) -> None:
    """A backend that was not there before, with a key that the processor has from its environment."""
    before = services.pid("envoy")
    assert chat(services, "gpt-4o").status_code == 404
    with FakeProvider(name="openai", api_key=KEY) as openai:
        services.write(with_openai(config(ollama=ollama.base_url), openai.url))
        services.until(lambda: chat(services, "gpt-4o").status_code == 200, "the new route is served")
        assert openai.requests[0].headers["authorization"] == f"Bearer {KEY}"
    services.write(config(ollama=ollama.base_url))
    services.until(lambda: chat(services, "gpt-4o").status_code == 404, "the old configuration is served again")
    assert services.pid("envoy") == before
    assert "rejected" not in services.log("envoy")


def test_envoy_follows_when_the_processor_is_started_again(services: LocalServices) -> None:
    """As Compose does after a crash or an upgrade: the new one writes the files anew, and Envoy finds it."""
    services.stop("extproc")
    assert services.wait("extproc") == 0
    assert not services.healthy("extproc")
    assert chat(services, "kortex-demo").status_code == 503
    services.start("extproc")
    services.until(
        lambda: chat(services, "kortex-demo").status_code == 200, "Envoy finds it again", within=START_SECONDS
    )
    assert services.healthy("envoy")


def test_limits_are_counted_in_the_volume_that_stays(services: LocalServices, ollama: FakeProvider) -> None:
    """Everything else is read-only, so that a configuration with limits would not be taken."""
    limited = {**config(ollama=ollama.base_url), "limits": [{"per": "gateway", "requestsPerMinute": 1_000}]}
    services.write(limited)
    services.until(
        lambda: "x-ratelimit-limit-requests" in chat(services, "kortex-demo").headers, "the limit is in force"
    )
    assert (services.volume("data") / "kortex-quota.db").is_file()
    services.write(config(ollama=ollama.base_url))


def test_another_user_may_read_what_envoy_follows(services: LocalServices) -> None:
    """Envoy runs as another user than the processor, and is given no key."""
    files = [services.volume("xds") / name for name in ("lds.json", "cds.json")]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o644, 0o644]
    assert KEY not in "".join(file.read_text(encoding="utf-8") for file in files)


def test_running_stream_is_finished_when_envoy_is_stopped(services: LocalServices, ollama: FakeProvider) -> None:
    """No new request, and every old one to its end; Compose ends Envoy before the processor that it depends on."""
    ollama.clear()
    ollama.script = [SlowEvents(0.3)]
    replies: list[httpx.Response] = []
    client = threading.Thread(target=lambda: replies.append(chat(services, "ollama/llama3.2", stream=True)))
    client.start()
    ollama.wait_for(lambda fake: any(request.bytes_sent for request in fake.requests))
    services.stop("envoy")
    services.until(lambda: refuses(services), "Envoy takes no new connection")
    assert not ollama.requests[0].finished
    assert services.wait("envoy") == 0
    client.join()
    assert replies[0].text.endswith("data: [DONE]\n\n")
    services.start("envoy")
    services.until(lambda: services.healthy("envoy"), "Envoy is healthy again", within=START_SECONDS)
