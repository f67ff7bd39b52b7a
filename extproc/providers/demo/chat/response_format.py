"""``response_format``: an answer that is JSON, and where a schema is given, JSON that it allows.

https://platform.openai.com/docs/guides/structured-outputs
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from extproc.errors import InvalidRequest
from extproc.providers.demo.envelope import MODEL
from extproc.providers.demo.json_schema import NoValue, write_value
from extproc.providers.demo.request_fields import LONGEST_NAME, a_string, an_object, one_of, required

_KINDS: Final = ("text", "json_object", "json_schema")
_PATH: Final = "response_format.json_schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonFormat:
    """The answer is to be a JSON object; ``schema`` says which, None for any. ``name`` is the client's for it."""

    name: str
    schema: Mapping[str, Any] | None

    def text(self, question: str, answer: str) -> str:
        """JSON for the user's ``question``; ``answer`` is what the model would have said. Raises InvalidRequest."""
        if self.schema is None:
            return orjson.dumps({"model": MODEL, "answer": answer}).decode()
        try:
            return orjson.dumps(write_value(self.schema, question)).decode()
        except NoValue as problem:
            message = f"Invalid schema for response_format '{self.name}': {problem}."
            raise InvalidRequest(message, param=f"{_PATH}.schema") from None


def read_format(value: object) -> JsonFormat | None:
    """``response_format``; None when the answer is to be text. Raises InvalidRequest."""
    if value is None:
        return None
    fields = an_object(value, "response_format")
    kind = one_of(required(fields, "type", "response_format"), "response_format.type", _KINDS)
    if kind == "text":
        return None
    if kind == "json_object":
        return JsonFormat(name=kind, schema=None)
    inside = an_object(required(fields, "json_schema", "response_format"), _PATH)
    schema = inside.get("schema")
    return JsonFormat(
        name=a_string(required(inside, "name", _PATH), f"{_PATH}.name", longest=LONGEST_NAME),
        schema=None if schema is None else an_object(schema, f"{_PATH}.schema"),
    )
