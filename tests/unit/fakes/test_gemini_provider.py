"""The fakes of Google refuse what Google refuses, and take every request that the goldens say we send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import ANY

import httpx
import pytest

from tests.fakes.gemini_checks import check_body
from tests.fakes.gemini_provider import FakeGemini, FakeVertex
from tests.fakes.recorded import Recorded
from tests.golden.dialects import DIALECTS, cases, model_of

USER = {"role": "user", "parts": [{"text": "hi"}]}
CALL = {"functionCall": {"id": "1", "name": "f", "args": {}}}
RESULT = {"functionResponse": {"id": "1", "name": "f", "response": {"output": "x"}}}
DECLARED = {"functionDeclarations": [{"name": "f"}]}
GEMINI = next(dialect for dialect in DIALECTS if dialect.name == "gemini")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeGemini]:
    """One that wants a key."""
    with FakeGemini(name="g", api_key="key", models=["gemini-2.5-flash", "gemini-3-pro-preview"]) as running:
        yield running


def post(fake: FakeGemini, body: Any, model: str = "gemini-2.5-flash", key: str = "key") -> httpx.Response:
    """A request, whole."""
    url = f"{fake.base_url}/v1beta/models/{model}:generateContent"
    return httpx.post(url, json=body, headers={"x-goog-api-key": key}, timeout=10)


def test_right_request_is_answered(fake: FakeGemini) -> None:
    """Whole and streamed."""
    reply = post(fake, {"contents": [USER]})
    assert reply.json()["candidates"][0]["content"]["parts"] == [{"text": "g says: hi"}]
    url = f"{fake.base_url}/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    streamed = httpx.post(url, json={"contents": [USER]}, headers={"x-goog-api-key": "key"}, timeout=10)
    events = [json.loads(line[6:]) for line in streamed.text.split("\r\n") if line.startswith("data: ")]
    assert "".join(event["candidates"][0]["content"]["parts"][0]["text"] for event in events) == "g says: hi"
    assert events[-1]["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        pytest.param({"contents": []}, "contents is not specified", id="no-contents"),
        pytest.param({"contents": [USER], "model": "m"}, 'Unknown name "model"', id="unknown-field"),
        pytest.param({"contents": [USER], "labels": {"a": "b"}}, 'Unknown name "labels"', id="labels"),
        pytest.param({"contents": [{"role": "system", "parts": [{"text": "x"}]}]}, "beginning with user", id="role"),
        pytest.param({"contents": [USER, {"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role", id="other"),
        pytest.param({"contents": [{"role": "user", "parts": []}]}, "must not be empty", id="no-parts"),
        pytest.param({"contents": [{"role": "user", "parts": [{"text": ""}]}]}, "one initialized field", id="no-text"),
        pytest.param({"contents": [USER, {"role": "user", "parts": [RESULT]}]}, "number of function", id="no-call"),
        pytest.param({"contents": [USER, {"role": "model", "parts": [CALL]}]}, "followed by", id="no-result"),
        pytest.param(
            {"contents": [USER, {"role": "model", "parts": [CALL]}, {"role": "user", "parts": [RESULT, RESULT]}]},
            "number of function",
            id="too-many-results",
        ),
        pytest.param({"contents": [USER], "generationConfig": {"seed": 1 << 40}}, "TYPE_INT32", id="seed"),
        pytest.param({"contents": [USER], "generationConfig": {"max_tokens": 4}}, "Unknown name", id="knob"),
        pytest.param(
            {"contents": [USER], "generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}},
            "not supported",
            id="level",
        ),
        pytest.param(
            {"contents": [USER], "generationConfig": {"thinkingConfig": {"thinkingBudget": 1 << 20}}},
            "between 0 and 24576",
            id="budget",
        ),
        pytest.param(
            {"contents": [USER], "tools": [DECLARED], "generationConfig": {"responseMimeType": "application/json"}},
            "is unsupported",
            id="format-beside-tools",
        ),
        pytest.param(
            {
                "contents": [USER],
                "tools": [DECLARED],
                "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}},
            },
            "in the modes ANY",
            id="names-of-a-free-choice",
        ),
        pytest.param(
            {
                "contents": [USER],
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseJsonSchema": {"type": "string", "pattern": "x"},
                },
            },
            'Unknown name "pattern"',
            id="keyword",
        ),
    ],
)
def test_wrong_request_is_refused(fake: FakeGemini, body: Any, complaint: str) -> None:
    """In Google's shape."""
    reply = post(fake, body)
    assert (reply.status_code, reply.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert complaint in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("signature", "complaint"),
    [(None, "missing a thought_signature"), ("Zm9yZWlnbg==", "signature is not valid")],
)
def test_gemini_3_wants_its_signatures(fake: FakeGemini, signature: str | None, complaint: str) -> None:
    """Its own, or the placeholder."""
    part = {**CALL, **({"thoughtSignature": signature} if signature else {})}
    contents = [USER, {"role": "model", "parts": [part]}, {"role": "user", "parts": [RESULT]}]
    reply = post(fake, {"contents": contents}, "gemini-3-pro-preview")
    assert complaint in reply.json()["error"]["message"]
    part["thoughtSignature"] = "skip_thought_signature_validator"
    assert post(fake, {"contents": contents}, "gemini-3-pro-preview").status_code == 200


def test_keys_models_and_paths_are_checked(fake: FakeGemini) -> None:
    """A wrong key is a wrong argument here."""
    assert post(fake, {"contents": [USER]}, key="x").json()["error"]["message"].startswith("API key not valid")
    assert post(fake, {"contents": [USER]}, model="gemini-9").status_code == 404
    with FakeVertex(name="v", tokens=lambda: ["good"]) as vertex:
        place = f"{vertex.base_url}/v1beta1/projects/fake-project/locations/global/publishers/google/models"
        url = f"{place}/gemini-2.5-flash:generateContent"
        tokens = [("good", 200), ("bad", 401)]
        for token, status in tokens:
            headers = {"authorization": f"Bearer {token}"}
            assert httpx.post(url, json={"contents": [USER]}, headers=headers, timeout=10).status_code == status


def golden_bodies() -> list[Any]:
    """What is sent in every case, but for those about fields of a user's own."""
    found = []
    for case in cases():
        golden = json.loads((case / "gemini.request.json").read_bytes())
        if "body" in golden and case.name != "own_fields_of_gemini":
            found.append(pytest.param(golden["body"], model_of(case, GEMINI), id=case.name))
    return found


@pytest.mark.parametrize(("body", "model"), golden_bodies())
def test_every_golden_is_taken(body: Any, model: str) -> None:
    """With whatever signature: those of the goldens are of no fake's."""
    request = Recorded(
        number=1,
        connection=1,
        method="POST",
        path="/",
        query="",
        header_list=(),
        body=json.dumps(body).encode(),
        received_at=0.0,
        wants_close=False,
        server_name=None,
    )
    named = model.replace("-pro-latest", "-2.5-pro").replace("-flash-latest", "-2.5-flash")
    assert check_body(request, named, lambda _call: ANY, cloud=False) == body
