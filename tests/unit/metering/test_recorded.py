"""Prompts as they are counted here, against what their providers charged when somebody recorded the same.

The recordings are pydantic-ai's, by the name of each case:
https://github.com/pydantic/pydantic-ai/tree/main/tests/models/cassettes. What each family is off by stands in
``extproc/metering/README.md``; a change that makes one worse fails here.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from extproc.metering.counting import counter_for
from extproc.metering.estimate import estimate_input
from extproc.openai.call import Operation

HELPFUL: Final = {"role": "system", "content": "You are a helpful assistant."}
CHATBOT: Final = {"role": "system", "content": "You are a helpful chatbot."}
FRANCE: Final = {"role": "user", "content": "What is the capital of France?"}
REFUSED: Final = 'The country is not supported. Use "La France" instead.\n\nFix the errors and try again.'


def asked(text: str) -> dict[str, str]:
    """A user's message."""
    return {"role": "user", "content": text}


def function(name: str, description: str, *, strict: bool = False, **properties: Any) -> dict[str, Any]:
    """A tool all of whose parameters are required."""
    parameters: dict[str, Any] = {"type": "object", "properties": properties, "required": list(properties)}
    if strict:
        parameters["additionalProperties"] = False
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def called(country: str) -> dict[str, Any]:
    """The assistant's call of a tool."""
    call = {"name": "get_capital", "arguments": f'{{"country":"{country}"}}'}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": country, "type": "function", "function": call}]}


def returned(country: str, content: str) -> dict[str, str]:
    """What the tool said."""
    return {"role": "tool", "tool_call_id": country, "content": content}


CAPITAL: Final = function(
    "get_capital",
    "Get the capital of a country.",
    strict=True,
    country={"description": "The country name.", "type": "string"},
)
WEATHER: Final = function("get_weather", "Run the get_weather tool.", city={"type": "string"})
ONE_TURN: Final = [CHATBOT, FRANCE, called("France"), returned("France", REFUSED)]
TWO_TURNS: Final = [*ONE_TURN, called("La France"), returned("La France", "Paris")]
PLACE: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
    "required": ["city", "country"],
    "additionalProperties": False,
}
STRUCTURED: Final = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "CityLocation", "schema": PLACE, "strict": True},
    }
}


def of(model: str, messages: list[Any], charged: int, off: int, name: str, **fields: Any) -> Any:
    """A recording, and by how many tokens the count differs from it."""
    return pytest.param(model, {"messages": messages, **fields}, charged, off, id=name)


@pytest.mark.parametrize(
    ("model", "fields", "charged", "off"),
    [
        of("gemini-2.0-flash", [HELPFUL, FRANCE], 13, 0, "test_google_model_instructions"),
        of("gemini-2.5-pro", [CHATBOT, FRANCE], 57, 9, "test_google_model_retry-tool", tools=[CAPITAL]),
        of("gemini-2.5-pro", ONE_TURN, 109, -10, "test_google_model_retry-one-turn", tools=[CAPITAL]),
        of("gemini-2.5-pro", TWO_TURNS, 142, -29, "test_google_model_retry-two-turns", tools=[CAPITAL]),
        of("llama-3.3-70b-versatile", [HELPFUL, FRANCE], 48, 0, "test_groq_model_instructions"),
        of(
            "meta-llama/llama-4-scout-17b-16e-instruct",
            [asked("What is the capital of Japan?")],
            95,
            -26,
            "test_groq_llama4_default_native_output",
            **STRUCTURED,
        ),
        of(
            "moonshotai/kimi-k2-instruct-0905",
            [asked("What is the capital of Germany?")],
            89,
            -22,
            "test_groq_kimi_default_native_output",
            **STRUCTURED,
        ),
        of("mistral-large-latest", [asked("hello")], 4, 0, "test_mistral_forwards_penalties"),
        of("deepseek-reasoner", [asked("How do I cross the street?")], 12, -1, "test_deepseek_model_thinking_part"),
        of("command-r7b-12-2024", [HELPFUL, FRANCE], 13, 0, "test_cohere_model_instructions"),
        of(
            "command-r7b-12-2024",
            [asked("What's the weather in Paris?")],
            35,
            11,
            "test_cohere_tool_choice_forwarding",
            tools=[WEATHER],
        ),
        of("claude-opus-4-8", [asked("What is 2+2?")], 13, 2, "test_anthropic_opus_48_features"),
        of("claude-opus-5", [asked("What is 2+2?")], 13, 2, "test_anthropic_opus_5_features"),
    ],
)
def test_prompts_are_off_by_what_is_written_down(model: str, fields: dict[str, Any], charged: int, off: int) -> None:
    """No more, and in the same direction."""
    assert estimate_input(fields, Operation.CHAT, model).tokens - charged == off


@pytest.mark.parametrize(
    ("model", "said", "charged"),
    [
        ("gemini-2.0-flash", "The capital of France is Paris.\n", 8),
        ("claude-opus-4-8", "2 + 2 = 4", 11),
        ("llama-3.3-70b-versatile", "The capital of France is Paris.", 8),
    ],
)
def test_answers_are_counted_but_for_the_sign_of_their_end(model: str, said: str, charged: int) -> None:
    """Which some providers charge for."""
    assert charged - counter_for(model).count(said) in {0, 1}


def test_a_llama_before_3_1_is_told_no_date() -> None:
    """Its prompt is shorter by that."""
    fields = {"messages": [HELPFUL, FRANCE]}
    older, newer = (
        estimate_input(fields, Operation.CHAT, model).tokens for model in ("llama-3-8b-instruct", "llama3.1:8b")
    )
    assert newer - older == 20
