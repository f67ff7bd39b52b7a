"""What rules may ask about a call. Everything that takes work is found out when it is first asked, and once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from extproc.admission.caller import Caller
from extproc.config.matches import Use
from extproc.config.units import HeaderUnit, Unit
from extproc.headers import Headers
from extproc.metering.cost import Cost, cost
from extproc.metering.estimate import image_count, requested_output
from extproc.openai.call import Call, Operation, path_of
from extproc.openai.features import used_features
from extproc.openai.usage import Usage
from extproc.routing.conversation import conversation_of
from extproc.routing.prompt import PromptLength
from extproc.routing.target import Target

_USES: Final[Mapping[str, Use]] = {
    "tools": "tools",
    "functions": "tools",
    "content.image_url": "images",
    "content.image_data": "images",
    "content.file_data": "files",
    "content.file_id": "files",
    "content.input_audio": "audio",
    "audio": "audio",
    "response_format.json_schema": "json_schema",
    "reasoning_effort": "reasoning",
}
_TYPICAL_ANSWER: Final = 500


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One call. ``arrived`` is Unix seconds; ``counted_as`` is the model whose vocabulary counts the prompt.

    ``id`` names the decision, and stands for the call wherever each call is for itself.
    """

    id: str
    call: Call
    fields: Mapping[str, Any] = field(repr=False)
    headers: Headers
    caller: Caller
    arrived: float
    upstream_model: str
    """The model's name without the route's prefix."""
    counted_as: str
    _prompts: dict[str, PromptLength] = field(default_factory=dict, init=False, repr=False)

    @property
    def path(self) -> str:
        """That of the operation."""
        return path_of(self.headers.get(":path", ""))

    @cached_property
    def features(self) -> tuple[str, ...]:
        """What a chat uses, by the names of ``extproc.openai.features``, in order."""
        return tuple(sorted(used_features(self.fields))) if self.call.operation is Operation.CHAT else ()

    @cached_property
    def uses(self) -> frozenset[Use]:
        """The same in the words of rules."""
        return frozenset(_USES[feature] for feature in self.features if feature in _USES)

    @cached_property
    def user(self) -> str | None:
        """The end user: whom the key is given to, else whom the client names."""
        named = (self.caller.user, self.fields.get("user"), self.fields.get("safety_identifier"))
        return next((name for name in named if isinstance(name, str) and name), None)

    @cached_property
    def metadata(self) -> Mapping[str, str]:
        """The body's ``metadata``, as far as it is text."""
        given = self.fields.get("metadata")
        entries = given.items() if isinstance(given, dict) else ()
        return {name: value for name, value in entries if isinstance(value, str)}

    @cached_property
    def max_tokens(self) -> int | None:
        """The client's limit for each answer; less than 0 is none, as servers that take it have it."""
        limits = (self.fields.get("max_completion_tokens"), self.fields.get("max_tokens"))
        return next((limit for limit in limits if isinstance(limit, int) and limit >= 0), None)

    @property
    def expected_output(self) -> int:
        """Tokens that the answers may have, for comparing backends: few are as long as they may be."""
        if self.call.operation is Operation.EMBEDDINGS:
            return 0
        return min(requested_output(self.fields) or _TYPICAL_ANSWER, _TYPICAL_ANSWER)

    @cached_property
    def images(self) -> int:
        """How many images a chat has, for backends that charge for each."""
        return image_count(self.fields) if self.call.operation is Operation.CHAT else 0

    def prompt(self, model: str | None = None) -> PromptLength:
        """Its length as a model counts it; without one, as rules do."""
        name = model or self.counted_as
        if name not in self._prompts:
            self._prompts[name] = PromptLength(self.fields, self.call.operation, name)
        return self._prompts[name]

    def estimated_cost(self, target: Target) -> Cost | None:
        """What the call may cost there; None where nobody knows the price."""
        model = target.model(self.upstream_model)
        price = target.price(model, at=self.arrived)
        if price is None:
            return None
        usage = Usage(input=self.prompt(model).tokens, output=self.expected_output)
        return cost(usage, price, images=self.images if price.image else 0)

    @cached_property
    def now(self) -> datetime:
        """The time of arrival, in UTC."""
        return datetime.fromtimestamp(self.arrived, UTC)

    @cached_property
    def conversation(self) -> str | None:
        """The same for every call of one conversation; None where there is none."""
        return conversation_of(self.fields) if self.call.operation is Operation.CHAT else None

    def unit(self, by: Unit) -> str | None:
        """What the call belongs to. None where it says nothing of that."""
        if isinstance(by, HeaderUnit):
            return self.headers.get(by.header) or None
        units = {"user": self.user, "key": self.caller.key, "tenant": self.caller.tenant}
        return self.conversation if by == "conversation" else units[by]
