"""What a provider's record answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from extproc.config.backends import Backend
from extproc.dialects.anthropic import AnthropicTranslator
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.openai.call import Operation
from extproc.providers.base import Provider, bearer, openai_path

SETTINGS = Backend(provider="two", url="http://host")
TWO = Provider(
    name="two",
    settings=Backend,
    offers={
        "openai_compatible": dict.fromkeys((Operation.CHAT, Operation.EMBEDDINGS), OpenAITranslator()),
        "anthropic": {Operation.CHAT: AnthropicTranslator()},
    },
    path=openai_path,
    authorize=bearer,
    dialect=lambda _settings, model: "anthropic" if model.startswith("claude-") else "openai_compatible",
)


@pytest.mark.parametrize(
    ("model", "operation", "expected"),
    [
        ("claude-x", Operation.CHAT, AnthropicTranslator),
        ("other", Operation.CHAT, OpenAITranslator),
        ("other", Operation.EMBEDDINGS, OpenAITranslator),
        ("claude-x", Operation.EMBEDDINGS, None),
        ("other", Operation.TEXT_COMPLETION, None),
    ],
)
def test_dialect_is_chosen_by_the_model(model: str, operation: Operation, expected: type | None) -> None:
    """An operation that the chosen dialect lacks is not had from another one."""
    found = TWO.translator(operation, SETTINGS, model)
    assert (found and type(found)) is expected


def test_first_dialect_with_the_operation_serves_when_none_is_chosen() -> None:
    """Most providers speak one."""
    assert type(replace(TWO, dialect=None).translator(Operation.CHAT, SETTINGS, "claude-x")) is OpenAITranslator
