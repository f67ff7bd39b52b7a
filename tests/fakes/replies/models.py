"""GET /models and /models/{id}: https://platform.openai.com/docs/api-reference/models."""

from __future__ import annotations

from tests.fakes.replies.persona import CREATED, Persona
from tests.fakes.steps import Json, Reply, json_reply


def answer_list(persona: Persona) -> Reply:
    """Every model the fake tells of."""
    return json_reply({"object": "list", "data": [_model(persona, name) for name in persona.listed_models]})


def answer_one(persona: Persona, name: str) -> Reply:
    """The model ``name``, which has been checked to exist."""
    return json_reply(_model(persona, name))


def _model(persona: Persona, name: str) -> Json:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": persona.name}
