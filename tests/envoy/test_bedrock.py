"""An unchanged OpenAI client reaches Bedrock through the real Envoy, which signs; and other providers when that fails.

The fake judges bodies by botocore's model of the service and signatures by botocore's signer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import CutAfter, FakeProvider, GarbleAfter, Status
from tests.fakes.anthropic_provider import FakeAnthropic
from tests.fakes.bedrock_provider import CREDENTIALS, PROFILE, ExceptionAfter, FakeBedrock
from tests.fakes.converse_checks import STATUSES, AwsError
from tests.fakes.openai_provider import FakeProvider as AnyFake
from tests.fakes.recorded import Recorded

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456"
CONFIG = """
gateway: {{bodyLimit: 24MiB, circuitBreaker: {{enabled: false}}}}
backends:
  converse: {{provider: bedrock, region: us-east-1, url: "{bedrock}", model: "{sonnet}"}}
  invoke: {{provider: bedrock, region: us-east-1, url: "{bedrock}", model: "{sonnet}", api: invoke}}
  any: {{provider: bedrock, region: us-east-1, url: "{bedrock}"}}
  profile: {{provider: bedrock, region: us-east-1, url: "{bedrock}", model: "{sonnet}",
             profile: team, credentialsFile: "{file}"}}
  key: {{provider: bedrock, region: us-east-1, url: "{keyed}", model: "{sonnet}", apiKey: {{env: KEY_BEDROCK}}}}
  other: {{provider: custom, url: "{other}", model: other-model, apiKey: {{env: KEY_OTHER}}}}
  claude: {{provider: anthropic, url: "{claude}", model: claude-sonnet-4-5, apiKey: {{env: KEY_CLAUDE}}}}
routes:
  converse: {{models: [converse], defaultBackend: {{name: converse}}, retries: &quick {{backoff: 20ms, perBackend: 0}}}}
  invoke: {{models: [invoke], defaultBackend: {{name: invoke}}, retries: *quick}}
  any: {{models: ["bedrock/*"], stripPrefix: bedrock/, defaultBackend: {{name: any}}, retries: *quick}}
  profile: {{models: [profile], defaultBackend: {{name: profile}}, retries: *quick}}
  key: {{models: [key], defaultBackend: {{name: key}}, retries: *quick}}
  first: {{models: [first], defaultBackend: {{name: converse}}, fallback: {{backends: [other]}}, retries: *quick}}
  second: {{models: [second], defaultBackend: {{name: other}}, fallback: {{backends: [converse]}}, retries: *quick}}
  clouds: {{models: [clouds], defaultBackend: {{name: claude}}, fallback: {{backends: [converse]}}, retries: *quick}}
  again: {{models: [again], defaultBackend: {{name: converse}}, retries: {{backoff: 20ms, perBackend: 2}}}}
  embed: {{models: [embed], defaultBackend: {{name: titan}}, fallback: {{backends: [cohere]}}, retries: *quick}}
  titan: {{models: [titan], defaultBackend: {{name: titan}}, retries: *quick}}
  cohere: {{models: [cohere], defaultBackend: {{name: cohere}}, retries: *quick}}
"""
EMBEDDERS = """
  titan: {{provider: bedrock, region: us-east-1, url: "{bedrock}", model: "amazon.titan-embed-text-v2:0"}}
  cohere: {{provider: bedrock, region: us-east-1, url: "{bedrock}", model: "cohere.embed-v4:0"}}
"""
KEYS = {"KEY_BEDROCK": "bedrock-api-key-of-the-gateway", "KEY_OTHER": "sk-other", "KEY_CLAUDE": "sk-ant"}
AWS = {
    "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
    "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
    "AWS_SESSION_TOKEN": str(CREDENTIALS.token),
}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": CITY}},
    {"type": "function", "function": {"name": "get_time", "parameters": CITY}},
]
BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
BOTH_APIS = pytest.mark.parametrize("model", ["converse", "invoke"])
THROTTLED = AwsError("Too many tokens, please wait before trying again.", "ThrottlingException")


def failing(error: AwsError, **headers: str) -> Status:
    """The reply that tells of an exception."""
    name = f"{error.type}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    return Status(STATUSES[str(error.type)], error.document, {"x-amzn-errortype": name, **headers})


@dataclass(frozen=True, slots=True)
class Stage:
    """The gateway, the providers behind it and a client in front."""

    gateway: KortexProcess
    bedrock: FakeBedrock
    keyed: FakeBedrock
    other: FakeProvider
    claude: FakeAnthropic
    client: openai.OpenAI

    def chat(self, *, stream: bool = False, model: str = "converse", **fields: Any) -> Any:
        """A completion; a stream is put together by the SDK's own accumulator."""
        fields.setdefault("messages", [{"role": "user", "content": "hello"}])
        if not stream:
            return self.client.chat.completions.create(model=model, **fields)
        options: Any = {"include_usage": True}
        with self.client.chat.completions.stream(model=model, stream_options=options, **fields) as events:
            return events.get_final_completion()

    @property
    def fakes(self) -> tuple[AnyFake, ...]:
        """All providers."""
        return (self.bedrock, self.keyed, self.other, self.claude)

    @property
    def asked(self) -> Recorded:
        """The last request that Bedrock got."""
        return self.bedrock.requests[-1]

    @property
    def sent(self) -> dict[str, Any]:
        """Its body."""
        return self.asked.json


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Started once; use ``stage``."""
    file = tmp_path_factory.mktemp("aws") / "credentials"
    file.write_text(
        f"[default]\naws_access_key_id = no\naws_secret_access_key = no\n"
        f"[team]\naws_access_key_id = {PROFILE.access_key}\naws_secret_access_key = {PROFILE.secret_key}\n"
    )
    with (
        FakeBedrock(name="bedrock") as bedrock,
        FakeBedrock(name="keyed", api_key=KEYS["KEY_BEDROCK"]) as keyed,
        FakeProvider(name="other", api_key=KEYS["KEY_OTHER"]) as other,
        FakeAnthropic(name="claude", api_key=KEYS["KEY_CLAUDE"], served_model="claude-sonnet-4-5-20250929") as claude,
    ):
        config = CONFIG.replace("routes:", EMBEDDERS.strip("\n") + "\nroutes:").format(
            bedrock=bedrock.base_url,
            keyed=keyed.base_url,
            other=other.url,
            claude=claude.base_url,
            sonnet=SONNET,
            file=file,
        )
        with (
            KortexProcess(config, env=KEYS | AWS) as gateway,
            openai.OpenAI(base_url=gateway.base_url, api_key="client-key", max_retries=0, timeout=30) as client,
        ):
            yield Stage(gateway, bedrock, keyed, other, claude, client)


@pytest.fixture
def stage(shared_stage: Stage) -> Stage:
    """Healthy providers that have not been asked anything yet."""
    for fake in shared_stage.fakes:
        fake.clear_faults()
        fake.clear()
    return shared_stage


@BOTH_MODES
def test_chat_reaches_converse(stage: Stage, *, stream: bool) -> None:
    """The answer and its usage are as the client expects them; the provider sees its own API only, signed."""
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hello [unicode]"}]
    completion = stage.chat(stream=stream, messages=messages, max_tokens=50, temperature=0.5, stop="END", seed=7)
    choice = completion.choices[0]
    assert choice.message.content.startswith("bedrock says: hello [unicode] naïve café, 日本語")
    assert (choice.finish_reason, completion.model, completion.object) == ("stop", "converse", "chat.completion")
    assert completion.id == f"chatcmpl-req-bedrock-{stage.asked.number}"
    usage = completion.usage
    assert usage.prompt_tokens - 5 == 4 + 2, "five tokens more were read from or written to the cache"
    assert usage.prompt_tokens_details.cached_tokens == 2
    action = "converse-stream" if stream else "converse"
    assert stage.asked.path == f"/model/{SONNET.replace(':', '%3A')}/{action}"
    assert stage.sent == {
        "inferenceConfig": {"maxTokens": 50, "temperature": 0.5, "stopSequences": ["END"]},
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": "hello [unicode]"}]}],
    }
    assert "client-key" not in str(stage.asked.header_list)


@BOTH_MODES
def test_signature_is_of_the_request_as_it_is_sent(stage: Stage, *, stream: bool) -> None:
    """The fake has checked it, or there would be no answer. Headers that hops change are not signed."""
    stage.chat(stream=stream)
    authorization = stage.asked.headers["authorization"]
    assert authorization.startswith(f"AWS4-HMAC-SHA256 Credential={CREDENTIALS.access_key}/")
    signed = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert signed == ["content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"]
    assert not [name for name, _ in stage.asked.header_list if name.startswith(("x-kortex", "x-envoy"))]


def test_fake_refuses_a_wrong_signature(stage: Stage) -> None:
    """What the tests above rely on: a byte more in the body, another path, another secret's signature."""
    stage.chat()
    headers = dict(stage.asked.header_list)
    url, body = f"{stage.bedrock.base_url}{stage.asked.path}", stage.asked.body
    assert httpx.post(url, headers=headers, content=body).status_code == 200
    changed = {**headers, "content-length": str(len(body) + 1)}
    assert httpx.post(url, headers=changed, content=body + b" ").status_code == 403
    assert httpx.post(url.replace("/converse", "/invoke"), headers=headers, content=body).status_code == 403
    wrong = {**headers, "authorization": headers["authorization"][:-4] + "0000"}
    assert httpx.post(url, headers=wrong, content=body).status_code == 403


@pytest.mark.parametrize("name", [ARN, f"{ARN[:46]}inference-profile/{SONNET}", "amazon.nova-pro-v1:0", "a b/../ü"])
@BOTH_MODES
def test_model_is_escaped_in_the_path(stage: Stage, name: str, *, stream: bool) -> None:
    """Ids, profiles and ARNs; no name can choose the path."""
    completion = stage.chat(model=f"bedrock/{name}", stream=stream)
    assert completion.choices[0].message.content == "bedrock says: hello"
    assert stage.asked.path.count("/") == 3
    assert httpx.URL(f"http://x{stage.asked.path}").path == f"/model/{name}/converse" + ("-stream" if stream else "")


def test_large_request_is_signed_whole(stage: Stage) -> None:
    """The body is held until its hash is known. Of this model it is not known that the prompt is too long for it."""
    stage.chat(model="bedrock/of-any-length", messages=[{"role": "user", "content": "x" * (10 << 20)}])
    assert len(stage.sent["messages"][0]["content"][0]["text"]) == 10 << 20


def test_request_is_signed_when_it_is_asked_again(stage: Stage) -> None:
    """The same provider, twice."""
    stage.bedrock.script = [failing(THROTTLED), failing(THROTTLED), None]
    assert stage.chat(model="again").choices[0].message.content == "bedrock says: hello"
    assert len(stage.bedrock.requests) == 3


@BOTH_MODES
def test_profile_of_a_credentials_file_signs(stage: Stage, *, stream: bool) -> None:
    """Another than the environment's, for this backend alone."""
    assert stage.chat(model="profile", stream=stream).choices[0].message.content == "bedrock says: hello"
    assert f"Credential={PROFILE.access_key}/" in stage.asked.headers["authorization"]


@BOTH_MODES
def test_api_key_takes_the_place_of_a_signature(stage: Stage, *, stream: bool) -> None:
    """A bearer token, and nothing of the environment's credentials."""
    assert stage.chat(model="key", stream=stream).choices[0].message.content == "keyed says: hello"
    request = stage.keyed.requests[0]
    assert request.headers["authorization"] == f"Bearer {KEYS['KEY_BEDROCK']}"
    assert not [name for name, _ in request.header_list if name.startswith("x-amz")]


@BOTH_APIS
@BOTH_MODES
@pytest.mark.parametrize("effort", [None, "low"], ids=["plain", "reasoning"])
def test_tool_loop_of_three_rounds_ends_in_an_answer(
    stage: Stage, model: str, effort: str | None, *, stream: bool
) -> None:
    """Parallel calls over three rounds, with a client that keeps nothing but OpenAI's fields.

    The fake checks that thoughts come back unchanged, before their calls.
    """
    fields: dict[str, Any] = {"tools": TOOLS} | ({"reasoning_effort": effort} if effort else {})
    messages: list[Any] = [{"role": "user", "content": "[loop=3] [parallel] weather and time?"}]
    for turn in range(3):
        completion = stage.chat(model=model, stream=stream, messages=messages, **fields)
        message = completion.choices[0].message
        assert completion.choices[0].finish_reason == "tool_calls"
        assert [call.function.name for call in message.tool_calls] == ["get_weather", "get_time"]
        assert all(json.loads(call.function.arguments)["city"] for call in message.tool_calls)
        if effort:
            assert message.reasoning_content == f"round {turn} of 3"
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ]
        messages.append({"role": "assistant", "content": message.content, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": f"result {turn}"} for call in calls]
    completion = stage.chat(model=model, stream=stream, messages=messages, **fields)
    assert completion.choices[0].message.content.startswith("bedrock read result 0; result 0; result 1")
    ids = [call["id"] for message in messages if message["role"] == "assistant" for call in message["tool_calls"]]
    assert len(set(ids)) == 6
    if effort and model == "converse":
        assert stage.sent["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 4096}}
        kinds = [[kind for block in turn["content"] for kind in block] for turn in stage.sent["messages"][1::2]]
        assert kinds == [["reasoningContent", "toolUse", "toolUse"]] * 3


def test_thoughts_go_on_at_another_host_of_the_same_model(stage: Stage) -> None:
    """A tool loop that Anthropic began ends at Bedrock, which takes its signatures."""
    messages: list[Any] = [{"role": "user", "content": "weather?"}]
    fields: dict[str, Any] = {"tools": TOOLS, "reasoning_effort": "low"}
    message = stage.chat(model="clouds", messages=messages, **fields).choices[0].message
    assert stage.bedrock.requests == []
    stage.claude.always = Status(500)
    call = message.tool_calls[0]
    messages.append({"role": "assistant", "content": None, "tool_calls": [call.model_dump()]})
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "18 °C"})
    completion = stage.chat(model="clouds", messages=messages, **fields)
    assert completion.choices[0].message.content == "bedrock read 18 °C"
    assert list(stage.sent["messages"][1]["content"][0]) == ["reasoningContent"]


@BOTH_APIS
@BOTH_MODES
def test_named_tool_is_called_when_chosen(stage: Stage, model: str, *, stream: bool) -> None:
    """One call of that function."""
    choice: Any = {"type": "function", "function": {"name": "get_time"}}
    message = stage.chat(model=model, stream=stream, tools=TOOLS, tool_choice=choice).choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["get_time"]


def test_tools_are_called_one_at_a_time_when_asked(stage: Stage) -> None:
    """By Claude's own word, which Converse lacks."""
    messages = [{"role": "user", "content": "[parallel] weather and time?"}]
    message = stage.chat(messages=messages, tools=TOOLS, parallel_tool_calls=False).choices[0].message
    assert len(message.tool_calls) == 1


def test_tools_are_not_called_when_they_may_not_be(stage: Stage) -> None:
    """Also where they were called before, and the provider wants their definitions."""
    call = {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "[loop=3] time?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
    ]
    completion = stage.chat(messages=messages, tools=TOOLS, tool_choice="none")
    assert completion.choices[0].message.content == "bedrock read noon"
    with pytest.raises(openai.BadRequestError, match="cannot be kept from calling"):
        stage.chat(model="bedrock/amazon.nova-pro-v1:0", messages=messages, tools=TOOLS, tool_choice="none")


@BOTH_APIS
@BOTH_MODES
def test_image_is_seen(stage: Stage, model: str, *, stream: bool) -> None:
    """By its data."""
    pixel = {"url": "data:image/png;base64,iVBORw0KGgo="}
    content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": pixel}]
    completion = stage.chat(model=model, stream=stream, messages=[{"role": "user", "content": content}])
    assert completion.choices[0].message.content.endswith("[1 image]")


def test_image_at_an_address_is_another_backends(stage: Stage) -> None:
    """It is never fetched here: Converse cannot, so the next backend is asked, or nobody."""
    image = {"type": "image_url", "image_url": {"url": "https://images.invalid/cat.jpg"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "look"}, image]}]
    assert stage.chat(model="first", messages=messages).choices[0].message.content.startswith("other says")
    with pytest.raises(openai.BadRequestError, match=r"converse lacks content\.image_url"):
        stage.chat(messages=messages)
    assert stage.bedrock.requests == []


@BOTH_APIS
@BOTH_MODES
def test_answer_follows_a_json_schema(stage: Stage, model: str, *, stream: bool) -> None:
    """By Bedrock's own structured output."""
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    completion = stage.chat(model=model, stream=stream, response_format=wanted)
    assert json.loads(completion.choices[0].message.content) == {"age": 7}


@BOTH_MODES
def test_claude_is_invoked_in_its_own_format(stage: Stage, *, stream: bool) -> None:
    """The body is Anthropic's but for what stands in the path; the stream's events come inside AWS's."""
    completion = stage.chat(model="invoke", stream=stream, extra_body={"anthropic": {"betas": ["one-1"], "top_k": 5}})
    assert completion.choices[0].message.content == "bedrock says: hello"
    assert completion.usage.prompt_tokens_details.cached_tokens == 2
    action = "invoke-with-response-stream" if stream else "invoke"
    assert stage.asked.path == f"/model/{SONNET.replace(':', '%3A')}/{action}"
    assert stage.sent == {
        "anthropic_beta": ["one-1"],
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 64000,
        "top_k": 5,
        "messages": [{"role": "user", "content": "hello"}],
    }


def test_stream_is_server_sent_events_for_the_client(stage: Stage) -> None:
    """Whatever it was on the way; the provider's request id is told."""
    body = {"model": "converse", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    reply = httpx.post(f"{stage.gateway.base_url}/chat/completions", json=body, timeout=30)
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["x-kortex-upstream-request-id"] == f"req-bedrock-{stage.asked.number}"
    assert reply.text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in reply.text


@pytest.mark.parametrize(
    ("error", "expected", "code"),
    [
        pytest.param(AwsError("No.", "ValidationException"), openai.BadRequestError, None, id="validation"),
        pytest.param(THROTTLED, openai.RateLimitError, "rate_limit_exceeded", id="throttling"),
        pytest.param(AwsError("No.", "ModelErrorException"), openai.InternalServerError, "model_error", id="model"),
        pytest.param(AwsError("No.", "ModelTimeoutException"), openai.InternalServerError, "timeout", id="timeout"),
        pytest.param(AwsError("No.", "ResourceNotFoundException"), openai.NotFoundError, "model_not_found", id="404"),
        pytest.param(
            AwsError("Input is too long for requested model.", "ValidationException"),
            openai.BadRequestError,
            "context_length_exceeded",
            id="context-length",
        ),
    ],
)
@BOTH_MODES
@BOTH_APIS
def test_error_has_openais_shape(
    stage: Stage, model: str, error: AwsError, expected: type[openai.APIStatusError], code: str | None, *, stream: bool
) -> None:
    """The SDK raises the exception its users catch."""
    stage.bedrock.always = failing(error, **{"retry-after": "9"})
    with pytest.raises(expected) as caught:
        stage.chat(model=model, stream=stream)
    assert caught.value.code == code
    assert error.message in str(caught.value)
    assert caught.value.response.headers["retry-after"] == "9"


def test_refused_credential_is_not_shown_to_clients(stage: Stage) -> None:
    """Nor the account, the user or the string that was to be signed."""
    message = "User: arn:aws:iam::123456789012:user/gateway is not authorized to perform: bedrock:InvokeModel"
    stage.bedrock.always = failing(AwsError(message, "AccessDeniedException"))
    with pytest.raises(openai.PermissionDeniedError, match="refused the gateway's credential") as caught:
        stage.chat()
    assert "123456789012" not in str(caught.value)


@BOTH_MODES
def test_compatible_provider_answers_when_bedrock_fails(stage: Stage, *, stream: bool) -> None:
    """From the client's own request; no credential goes along."""
    stage.bedrock.always = failing(THROTTLED)
    completion = stage.chat(model="first", stream=stream)
    assert completion.choices[0].message.content == "other says: hello"
    request = stage.other.requests[0]
    assert request.json["messages"] == [{"role": "user", "content": "hello"}]
    assert request.headers["authorization"] == f"Bearer {KEYS['KEY_OTHER']}"
    assert not [name for name, _ in request.header_list if name.startswith("x-amz")]


@BOTH_MODES
def test_bedrock_answers_when_a_compatible_provider_fails(stage: Stage, *, stream: bool) -> None:
    """The other way round."""
    stage.other.always = Status(500)
    assert stage.chat(model="second", stream=stream).choices[0].message.content == "bedrock says: hello"


@pytest.mark.parametrize("events", [0, 1], ids=["first-event", "after-message-start"])
def test_next_backend_answers_when_a_stream_begins_with_an_exception(stage: Stage, events: int) -> None:
    """Inside a 200; until there is content, nothing has been said."""
    stage.bedrock.always = ExceptionAfter(events, THROTTLED)
    assert stage.chat(model="first", stream=True).choices[0].message.content == "other says: hello"


@BOTH_APIS
def test_stream_ends_with_an_error_when_an_exception_comes_later(stage: Stage, model: str) -> None:
    """What has been said cannot be taken back."""
    stage.bedrock.always = ExceptionAfter(6, AwsError("The model broke off.", "ModelStreamErrorException"))
    stream = stage.client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "[words=20]"}], stream=True
    )
    with pytest.raises(openai.APIError, match="The model broke off"):
        list(stream)


@pytest.mark.parametrize("events", [1, 3])
@BOTH_APIS
def test_stream_that_ends_early_is_no_answer(stage: Stage, model: str, events: int) -> None:
    """The connection's orderly end is not the answer's."""
    stage.bedrock.always = CutAfter(events, "clean")
    with pytest.raises(openai.APIError, match="ended its stream before the answer was complete"):
        list(
            stage.client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "[words=20]"}], stream=True
            )
        )


def test_next_backend_answers_when_a_stream_is_damaged(stage: Stage) -> None:
    """A checksum tells."""
    stage.bedrock.always = GarbleAfter(0, b"\0" * 40)
    assert stage.chat(model="first", stream=True).choices[0].message.content == "other says: hello"


def test_own_fields_reach_converse(stage: Stage) -> None:
    """``extra_body`` with Converse's own names."""
    own = {"additionalModelRequestFields": {"top_k": 5}, "performanceConfig": {"latency": "optimized"}}
    stage.chat(extra_body={"bedrock": own})
    assert {name: stage.sent[name] for name in own} == own


@pytest.mark.parametrize("encoding", [None, "float"], ids=["base64", "float"])
def test_embeddings_come_from_titan_and_cohere(stage: Stage, encoding: Any) -> None:
    """In the format that the SDK asks for by itself, and in plain numbers; usage is told by a header or the body."""
    extra: dict[str, Any] = {"encoding_format": encoding} if encoding else {}
    one = stage.client.embeddings.create(model="titan", input="hello you", dimensions=16, **extra)
    assert (len(one.data), len(one.data[0].embedding), one.usage.prompt_tokens) == (1, 16, 2)
    assert stage.sent == {"inputText": "hello you", "dimensions": 16}
    two = stage.client.embeddings.create(model="cohere", input=["hello", "you there"], **extra)
    assert [len(item.embedding) for item in two.data] == [8, 8]
    assert (two.usage.prompt_tokens, [item.index for item in two.data]) == (3, [0, 1])
    assert stage.sent["input_type"] == "search_document"
    assert stage.asked.path == "/model/cohere.embed-v4%3A0/invoke"


def test_many_texts_are_for_a_model_that_takes_them(stage: Stage) -> None:
    """Titan takes one: the next backend is asked, or the client is told."""
    many = stage.client.embeddings.create(model="embed", input=["hello", "you"])
    assert len(many.data) == 2
    assert stage.asked.path.startswith("/model/cohere")
    with pytest.raises(openai.BadRequestError, match="one text a call, but 'input' has 2") as caught:
        stage.client.embeddings.create(model="titan", input=["hello", "you"])
    assert caught.value.code == "unsupported_feature"
    assert len(stage.bedrock.requests) == 1


def test_model_that_only_chats_offers_no_embeddings(stage: Stage) -> None:
    """One clear error, and nobody is asked."""
    with pytest.raises(openai.BadRequestError, match="offers embeddings"):
        stage.client.embeddings.create(model="converse", input="hello")
    with pytest.raises(openai.BadRequestError, match="offers chat"):
        stage.chat(model="titan")
    assert stage.bedrock.requests == []


def test_no_secret_is_in_a_file_a_log_or_the_described_config(stage: Stage) -> None:
    """Envoy finds the credentials by itself."""
    stage.chat()
    texts = [file.read_text("utf-8", "replace") for file in stage.gateway.run_directory.glob("*.json")]
    texts += [stage.gateway.stdout, stage.gateway.stderr, json.dumps(stage.gateway.described())]
    assert len(texts) > 4
    secrets = [CREDENTIALS.secret_key, str(CREDENTIALS.token), PROFILE.secret_key, KEYS["KEY_BEDROCK"]]
    assert [secret for secret in secrets for text in texts if secret in text] == []
