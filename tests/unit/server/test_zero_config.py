"""A configuration from nothing but the environment."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from extproc.bootstrap.system_roots import find_system_roots
from extproc.config.load import ConfigError, Loaded, load
from extproc.providers.registry import SETTINGS
from extproc.server.switched_on import complete_url
from extproc.server.zero_config import ZeroConfig, configure_from_environment
from tests.fakes import FakeProvider, Status, closed_port
from tests.fakes.cohere_provider import FakeCohere
from tests.fakes.gemini_provider import FakeGemini

OLLAMA = "http://localhost:11434"
KEY = "sk-secret-of-the-operator"


async def configure(environment: Mapping[str, str]) -> ZeroConfig:
    """As ``kortex run`` does without a file."""
    return await configure_from_environment(environment, system_roots=find_system_roots())


def written(made: ZeroConfig) -> dict[str, Any]:
    """What stands in the configuration."""
    value: dict[str, Any] = json.loads(made.text)
    return value


def loaded(made: ZeroConfig) -> Loaded:
    """Raises ConfigError where the gateway would not start with it."""
    return load(made.text, SETTINGS)


def models(made: ZeroConfig, route: str) -> list[str]:
    """The names that lead to a route."""
    names: list[str] = written(made)["routes"][route]["models"]
    return names


@pytest.mark.parametrize(
    ("value", "usual", "url"),
    [
        pytest.param("http://gpu:8000", None, "http://gpu:8000", id="a whole URL"),
        pytest.param("https://gpu.example/team/v1", None, "https://gpu.example/team/v1", id="with a path"),
        pytest.param("http://gpu", OLLAMA, "http://gpu", id="a scheme has its own port"),
        pytest.param("gpu", OLLAMA, "http://gpu:11434", id="a host alone"),
        pytest.param("gpu:9999", OLLAMA, "http://gpu:9999", id="host and port"),
        pytest.param("gpu/v1", OLLAMA, "http://gpu:11434/v1", id="host and path"),
        pytest.param(":9999", OLLAMA, "http://127.0.0.1:9999", id="a port alone"),
        pytest.param("0.0.0.0", OLLAMA, "http://127.0.0.1:11434", id="what Ollama listens on"),
        pytest.param("http://0.0.0.0:80", OLLAMA, "http://127.0.0.1:80", id="the same as a URL"),
        pytest.param("::", OLLAMA, "http://[::1]:11434", id="every interface in IPv6"),
        pytest.param("[::]:9999", OLLAMA, "http://[::1]:9999", id="every interface in IPv6 with a port"),
        pytest.param("fd00::5", OLLAMA, "http://[fd00::5]:11434", id="IPv6"),
        pytest.param("gpu", None, "http://gpu", id="no usual port"),
        pytest.param("  gpu:1 \n", None, "http://gpu:1", id="white space"),
        pytest.param("user:key@gpu", OLLAMA, "http://user:key@gpu:11434", id="credentials are for the check to refuse"),
    ],
)
def test_url_is_completed_when_written_as_people_do(value: str, usual: str | None, url: str) -> None:
    """OLLAMA_HOST is rarely a URL."""
    assert complete_url(value, usual) == url


async def test_only_the_demo_is_there_when_nothing_is_set() -> None:
    """And the operator is told how to add more."""
    made = await configure({})
    assert list(written(made)["backends"]) == ["demo"]
    assert written(made)["routes"] == {"demo": {"models": ["kortex-demo"], "defaultBackend": {"name": "demo"}}}
    assert made.sources == {"demo": "built in"}
    (note,) = made.notes
    assert "OPENAI_API_KEY" in note
    assert "OLLAMA_HOST" in note
    assert loaded(made).warnings == ()


@pytest.mark.parametrize("value", [pytest.param("", id="empty"), pytest.param(" \n", id="blank")])
async def test_variable_is_as_good_as_unset_when_it_holds_nothing(value: str) -> None:
    """Compose files pass variables on that nobody has set."""
    assert list(written(await configure({"OPENAI_API_KEY": value, "OLLAMA_HOST": value}))["backends"]) == ["demo"]


async def test_key_is_named_and_never_written() -> None:
    """The configuration is shown at /config."""
    with FakeProvider(api_key=KEY, models=["gpt-x"]) as fake:
        made = await configure({"OPENAI_API_KEY": f" {KEY}\n", "OPENAI_BASE_URL": fake.url})
    assert written(made)["backends"]["openai"] == {
        "provider": "openai",
        "apiKey": {"env": "OPENAI_API_KEY"},
        "url": fake.url,
    }
    assert made.sources == {"openai": "OPENAI_API_KEY, OPENAI_BASE_URL", "demo": "built in"}
    assert KEY not in repr(made)
    assert [request.headers["authorization"] for request in fake.requests] == [f"Bearer {KEY}"]
    assert made.notes == ()


async def test_names_are_those_that_a_server_lists() -> None:
    """So that /v1/models is not empty; the prefix works for all that it does not list."""
    with FakeProvider(models=["llama3.2:3b", "mistral"]) as fake:
        made = await configure({"OLLAMA_HOST": f"127.0.0.1:{fake.port}"})
    assert models(made, "ollama") == ["llama3.2:3b", "mistral"]
    assert written(made)["routes"]["ollama-by-prefix"] == {
        "models": ["ollama/*"],
        "stripPrefix": "ollama/",
        "defaultBackend": {"name": "ollama"},
    }
    assert [request.path for request in fake.requests] == ["/v1/models"]
    assert loaded(made).warnings == ()


async def test_listing_has_the_provider_s_own_path() -> None:
    """KServe's API lives below /openai."""
    with FakeProvider(models=["m"], prefix="/openai/v1") as fake:
        made = await configure({"KSERVE_URL": fake.base_url})
    assert models(made, "kserve") == ["m"]


async def test_first_provider_wins_when_two_list_the_same_name() -> None:
    """In the order of the registry; with its prefix the other one has it too."""
    with FakeProvider(models=["shared", "b"]) as vllm, FakeProvider(models=["shared", "a"]) as ollama:
        made = await configure({"VLLM_URL": vllm.url, "OLLAMA_HOST": ollama.base_url})
    assert models(made, "ollama") == ["a", "shared"]
    assert models(made, "vllm") == ["b"]
    assert loaded(made).warnings == ()


async def test_listed_name_wins_over_one_that_only_looks_like_another_s() -> None:
    """``gpt-oss`` is Ollama's where Ollama has it and OpenAI does not."""
    with FakeProvider(models=["gpt-x"]) as openai, FakeProvider(models=["gpt-oss"]) as ollama:
        made = await configure({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": openai.url, "OLLAMA_HOST": ollama.base_url})
    assert models(made, "ollama") == ["gpt-oss"]
    assert {"gpt-x", "gpt-*"} < set(models(made, "openai"))


async def test_demo_keeps_its_name_when_a_server_has_one_like_it() -> None:
    """The first curl always works."""
    with FakeProvider(models=["kortex-demo"]) as fake:
        made = await configure({"VLLM_URL": fake.url})
    assert models(made, "demo") == ["kortex-demo"]
    assert "vllm" not in written(made)["routes"]
    loaded(made)


async def test_name_is_left_out_when_a_route_could_not_hold_it() -> None:
    """One odd name of a server must not keep the gateway from starting."""
    with FakeProvider(models=["fine", "wild*", " padded", "tab\tbed", "n" * 300, ""]) as fake:
        made = await configure({"VLLM_URL": fake.url})
    assert models(made, "vllm") == ["fine"]
    loaded(made)


async def test_names_are_at_most_two_hundred() -> None:
    """A catalogue of thousands is reached by its prefix."""
    with FakeProvider(models=[f"m{number:04}" for number in range(1_000)]) as fake:
        made = await configure({"VLLM_URL": fake.url})
    assert len(models(made, "vllm")) == 200


async def test_gateway_starts_when_a_server_is_not_there() -> None:
    """It may come later, or never."""
    with closed_port() as port:
        made = await configure({"OLLAMA_HOST": f"127.0.0.1:{port}"})
    assert "ollama" not in written(made)["routes"]
    assert "ollama-by-prefix" in written(made)["routes"]
    assert made.notes == ("ollama did not list its models (cannot connect): ask for them as ollama/<model>",)
    loaded(made)


async def test_gateway_does_not_wait_when_a_server_is_slow() -> None:
    """All are asked at once, and for two seconds at most."""
    with FakeProvider(latency=30.0) as slow, FakeProvider(models=["m"]) as quick:
        begun = time.monotonic()
        made = await configure({"OLLAMA_HOST": slow.base_url, "VLLM_URL": quick.url})
        taken = time.monotonic() - begun
    assert models(made, "vllm") == ["m"]
    assert "no answer within 2 s" in made.notes[0]
    assert taken < 10.0


async def test_reason_is_noted_when_a_server_refuses() -> None:
    """A wrong key is found out at the start."""
    with FakeProvider(api_key="another") as fake:
        made = await configure({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": fake.url})
    assert made.notes == ("openai did not list its models (status 401): ask for them as openai/<model>",)


async def test_reason_is_noted_when_the_answer_is_no_list() -> None:
    """A URL that leads to something else."""
    with FakeProvider() as fake:
        fake.always = Status(200, {"error": "not a list"})
        made = await configure({"VLLM_URL": fake.url})
    assert made.notes == (
        "vllm did not list its models (its answer is no list of models): ask for them as vllm/<model>",
    )


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        pytest.param({"VLLM_URL": "ftp://gpu"}, "vllm is left out: VLLM_URL: this is not a base URL", id="scheme"),
        pytest.param({"VLLM_URL": f"http://me:{KEY}@gpu"}, "vllm is left out: VLLM_URL: a base URL has no", id="user"),
        pytest.param({"OLLAMA_HOST": "gpu:port"}, "ollama is left out: OLLAMA_HOST holds no address", id="port"),
        pytest.param(
            {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://[gpu"},
            "openai is left out: OPENAI_BASE_URL holds no address",
            id="brackets",
        ),
    ],
)
async def test_provider_is_left_out_when_its_address_is_none(environment: dict[str, str], reason: str) -> None:
    """The gateway starts with the rest; what was in the variable is not repeated."""
    made = await configure(environment)
    assert list(written(made)["backends"]) == ["demo"]
    assert made.notes[0].startswith(reason)
    assert KEY not in repr(made)


async def test_wrong_address_is_told_by_its_variable() -> None:
    """Both at once; there is no file and no line."""
    with pytest.raises(ConfigError) as caught:
        await configure({"KORTEX_LISTEN": "8080", "KORTEX_ADMIN": "nowhere"})
    assert [problem.path for problem in caught.value.problems] == ["KORTEX_LISTEN", "KORTEX_ADMIN"]
    assert "'8080' is not an address" in str(caught.value)


async def test_addresses_are_those_of_the_environment() -> None:
    """The only settings that a start without a file needs."""
    made = await configure({"KORTEX_LISTEN": "0.0.0.0:80", "KORTEX_ADMIN": "127.0.0.1:81", "KORTEX_AUTH": "none"})
    gateway = loaded(made).config.gateway
    assert (gateway.listen, gateway.admin) == ("0.0.0.0:80", "127.0.0.1:81")


AWS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": KEY}


async def test_bedrock_is_there_when_credentials_and_a_region_are_set() -> None:
    """Nobody is asked for names; Envoy reads the credentials by itself, so none stands in the configuration."""
    made = await configure(AWS | {"AWS_REGION": "eu-west-1"})
    assert written(made)["backends"]["bedrock"] == {"provider": "bedrock", "region": "eu-west-1"}
    assert made.sources["bedrock"] == "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION"
    assert "anthropic.*" in models(made, "bedrock")
    assert models(made, "bedrock-by-prefix") == ["bedrock/*"]
    assert made.notes == ()
    assert KEY.encode() not in made.text
    assert loaded(made).config.backends["bedrock"].url == "https://bedrock-runtime.eu-west-1.amazonaws.com"


async def test_bedrock_is_there_when_its_api_key_is_set() -> None:
    """At another endpoint, too."""
    url = "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com"
    made = await configure(
        {"AWS_BEARER_TOKEN_BEDROCK": KEY, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url}
    )
    key = {"env": "AWS_BEARER_TOKEN_BEDROCK"}
    assert written(made)["backends"]["bedrock"] == {
        "provider": "bedrock",
        "apiKey": key,
        "url": url,
        "region": "us-east-1",
    }
    loaded(made)


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"])
async def test_bedrock_is_not_there_when_something_is_missing(missing: str) -> None:
    """Many machines have some of these, for other ends."""
    environment = {name: value for name, value in (AWS | {"AWS_REGION": "us-east-1"}).items() if name != missing}
    made = await configure(environment)
    assert list(written(made)["backends"]) == ["demo"]
    assert not [note for note in made.notes if note.startswith("bedrock")]


async def test_bedrock_is_left_out_when_its_key_has_no_region() -> None:
    """And the operator is told which variable is wrong."""
    made = await configure({"AWS_BEARER_TOKEN_BEDROCK": KEY})
    assert "bedrock is left out: AWS_REGION is not set" in made.notes
    made = await configure({"AWS_BEARER_TOKEN_BEDROCK": KEY, "AWS_REGION": "Ireland"})
    assert [note for note in made.notes if note.startswith("bedrock is left out: AWS_REGION: ")]


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        pytest.param({"GEMINI_API_KEY": KEY}, "GEMINI_API_KEY", id="its-own"),
        pytest.param({"GOOGLE_API_KEY": KEY}, "GOOGLE_API_KEY", id="googles"),
        pytest.param({"GEMINI_API_KEY": KEY, "GOOGLE_API_KEY": "another"}, "GEMINI_API_KEY", id="both"),
        pytest.param({"GEMINI_API_KEY": " ", "GOOGLE_API_KEY": KEY}, "GOOGLE_API_KEY", id="one-that-holds-nothing"),
    ],
)
async def test_gemini_has_its_key_from_either_variable(environment: dict[str, str], variable: str) -> None:
    """And its models from Google's own list."""
    with FakeGemini(api_key=KEY, models=["gemini-2.5-flash", "gemini-embedding-001"]) as fake:
        made = await configure({**environment, "GOOGLE_GEMINI_BASE_URL": fake.base_url})
    assert written(made)["backends"]["gemini"] == {
        "provider": "gemini",
        "apiKey": {"env": variable},
        "url": fake.base_url,
    }
    assert models(made, "gemini") == ["gemini-2.5-flash", "gemini-embedding-001", "gemini-*", "gemma-*"]
    assert made.notes == ()
    loaded(made)


async def test_vertex_is_there_when_project_and_location_are_set() -> None:
    """Many a machine in Google's cloud has the project alone."""
    assert "vertex" not in written(await configure({"GOOGLE_CLOUD_PROJECT": "my-project"}))["backends"]
    made = await configure({"GOOGLE_CLOUD_PROJECT": "my-project", "GOOGLE_CLOUD_LOCATION": "eu"})
    assert written(made)["backends"]["vertex"] == {"provider": "vertex", "project": "my-project", "location": "eu"}
    assert written(made)["routes"]["vertex-by-prefix"]["models"] == ["vertex/*"]
    assert made.sources["vertex"] == "GOOGLE_CLOUD_PROJECT, GOOGLE_CLOUD_LOCATION"
    assert made.notes == ()
    assert loaded(made).config.backends["vertex"].url == "https://aiplatform.eu.rep.googleapis.com"


async def test_setting_that_makes_no_sense_is_told_by_its_variable() -> None:
    """The gateway starts with the rest."""
    made = await configure({"GOOGLE_CLOUD_PROJECT": "My Project", "GOOGLE_CLOUD_LOCATION": "eu"})
    assert made.notes[0].startswith("vertex is left out: GOOGLE_CLOUD_PROJECT: ")
    assert "My Project" not in made.notes[0]


async def test_azure_is_there_when_its_endpoint_is_set() -> None:
    """Under its prefix alone: it lists what could be deployed, not what is. Without a key the host's identity asks."""
    made = await configure({"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com", "OPENAI_API_VERSION": "2024-10-21"})
    assert written(made)["backends"]["azure"] == {
        "provider": "azure",
        "url": "https://r.openai.azure.com",
        "apiVersion": "2024-10-21",
    }
    assert "azure" not in written(made)["routes"]
    assert models(made, "azure-by-prefix") == ["azure/*"]
    assert made.notes == ()
    loaded(made)
    keyed = await configure({"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com", "AZURE_OPENAI_API_KEY": KEY})
    assert written(keyed)["backends"]["azure"]["apiKey"] == {"env": "AZURE_OPENAI_API_KEY"}
    assert KEY.encode() not in keyed.text


@pytest.mark.parametrize("variable", ["CO_API_KEY", "COHERE_API_KEY"])
async def test_cohere_lists_its_models_by_name(variable: str) -> None:
    """Its list is of another shape and version than its chat."""
    with FakeCohere(name="cohere", api_key=KEY) as cohere:
        made = await configure({variable: KEY, "CO_API_URL": cohere.base_url})
    assert "cohere-model" in models(made, "cohere")
    assert written(made)["backends"]["cohere"]["apiKey"] == {"env": variable}
    assert made.notes == ()
