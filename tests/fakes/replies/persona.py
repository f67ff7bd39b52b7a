"""Who answers: the name, the models and the identifiers that a fake puts into its replies."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass

from tests.fakes.steps import Json

CREATED = 1_754_000_000  # seconds; fixed, so that equal requests have equal replies


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """``models``: what it serves (None: any). ``served_model``: its name in replies (None: as asked for, dated)."""

    name: str
    models: tuple[str, ...] | None = None
    served_model: str | None = None

    @property
    def listed_models(self) -> tuple[str, ...]:
        """What GET /models tells."""
        return (f"{self.name}-model",) if self.models is None else self.models

    def model_in_replies(self, asked: str) -> str:
        """As real providers do, replies name a dated version of the model that was asked for."""
        return f"{asked}-2025-08-01" if self.served_model is None else self.served_model

    def fingerprint(self, asked: object) -> str:
        """Forty hexadecimal digits that tell this fake's answer to ``asked`` (as JSON) from any other."""
        text = json.dumps([self.name, asked], sort_keys=True)
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Call:
    """One checked request: its JSON object and what identifies the reply to it.

    ``asked`` is what is being answered: messages, prompt or input. Ids depend on it alone, so that a reply is the same
    whatever a gateway did to the model's name, the options, or the order of keys.
    """

    persona: Persona
    body: Json
    asked: object

    @functools.cached_property
    def fingerprint(self) -> str:
        """Identifies the reply."""
        return self.persona.fingerprint(self.asked)

    def header(self, prefix: str, kind: str) -> Json:
        """The first fields of a reply or chunk; ``prefix`` begins its id, ``kind`` is its ``object``."""
        return {
            "id": f"{prefix}-{self.fingerprint[:24]}",
            "object": kind,
            "created": CREATED,
            "model": self.persona.model_in_replies(self.body["model"]),
        }

    @property
    def system_fingerprint(self) -> str:
        """Names the fake as a real one names its build."""
        return f"fp_{self.persona.fingerprint(None)[:10]}"

    @property
    def wants_stream(self) -> bool:
        """``stream: true``."""
        return self.body.get("stream") is True

    @property
    def wants_usage(self) -> bool:
        """``stream_options: {include_usage: true}``."""
        return (self.body.get("stream_options") or {}).get("include_usage") is True
