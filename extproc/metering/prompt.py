"""A request's prompt, taken apart for counting: its texts, what its format adds, and what is not text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from extproc.metering.families import Family, Overhead, ToolFormat
from extproc.metering.media import audio_tokens, file_tokens, image_tokens
from extproc.openai.call import Operation

_MOST_DEPTH: Final = 32
_MOST_ITEMS: Final = 4_096
"""Of more messages, or parts of one, every second stands for two, or every third for three."""
_TOOL_CALL: Final = 4
"""Tokens around the name and the arguments of a call in an assistant's turn."""
_FORMAT: Final = 10
"""Tokens around a JSON schema that the answer shall follow."""


@dataclass(slots=True)
class Prompt:
    """``texts`` are to be counted, ``fixed`` are tokens already. ``plain``: nothing in it had to be estimated."""

    texts: list[str] = field(default_factory=list)
    fixed: int = 0
    plain: bool = True

    def add_text(self, value: object) -> None:
        """One more text; what is not text counts nothing."""
        if isinstance(value, str) and value:
            self.texts.append(value)

    def add_estimate(self, tokens: int) -> None:
        """Tokens by a formula."""
        self.fixed += tokens
        self.plain = False


def read_prompt(fields: Mapping[str, Any], operation: Operation, model: str, family: Family) -> Prompt:
    """The prompt of a request of any operation, as a model would be given it."""
    prompt = Prompt()
    if operation is Operation.CHAT:
        _read_chat(prompt, fields, model, family)
    elif operation is Operation.TEXT_COMPLETION:
        _read_inputs(prompt, fields.get("prompt"))
        prompt.add_text(fields.get("suffix"))
    else:
        _read_inputs(prompt, fields.get("input"))
    return prompt


def _read_inputs(prompt: Prompt, value: object) -> None:
    """A text, texts, tokens, or lists of tokens: https://platform.openai.com/docs/api-reference/embeddings/create"""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, list):
            prompt.fixed += len(item)
        elif isinstance(item, int):
            prompt.fixed += 1
        else:
            prompt.add_text(item)


def _read_chat(prompt: Prompt, fields: Mapping[str, Any], model: str, family: Family) -> None:
    overhead = family.overhead
    prompt.fixed += overhead.prompt
    _read_each(prompt, fields.get("messages"), lambda part, message: _read_message(part, message, model, overhead))
    _read_tools(prompt, fields, family)
    shape = fields.get("response_format")
    if isinstance(shape, dict) and shape.get("json_schema"):
        prompt.add_estimate(_FORMAT)
        prompt.add_text(_json(shape["json_schema"]))


def _read_each(prompt: Prompt, given: object, read: Callable[[Prompt, Any], None]) -> None:
    """Every item of a list; of a very long one some stand for all."""
    items = given if isinstance(given, list) else []
    step = -(-len(items) // _MOST_ITEMS)
    part = Prompt() if step > 1 else prompt
    for item in items[:: step or 1]:
        read(part, item)
    if step > 1:
        prompt.texts += part.texts * step
        prompt.add_estimate(part.fixed * step)


def _read_message(prompt: Prompt, message: object, model: str, overhead: Overhead) -> None:
    if not isinstance(message, dict):
        return
    prompt.fixed += overhead.message + overhead.role
    if message.get("name"):
        prompt.fixed += overhead.name
        prompt.add_text(message["name"])
    _read_content(prompt, message.get("content"), model)
    prompt.add_text(message.get("reasoning_content"))
    _read_calls(prompt, message)


def _read_content(prompt: Prompt, content: object, model: str) -> None:
    if isinstance(content, str):
        prompt.add_text(content)
    else:
        _read_each(prompt, content, lambda prompt, part: _read_part(prompt, part, model))


def _read_part(prompt: Prompt, part: object, model: str) -> None:
    match part:
        case {"type": "image_url", "image_url": {"url": str(url), **more}}:
            prompt.add_estimate(image_tokens(model, url, str(more.get("detail"))))
        case {"type": "input_audio", "input_audio": {"data": str(data), **more}}:
            prompt.add_estimate(audio_tokens(model, data, str(more.get("format"))))
        case {"type": "file", "file": {"file_data": str(url)}}:
            prompt.add_estimate(file_tokens(model, url))
        case {"text": str(text)} | {"refusal": str(text)}:
            prompt.add_text(text)


def _read_calls(prompt: Prompt, message: Mapping[str, Any]) -> None:
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict):
            prompt.add_estimate(_TOOL_CALL)
            for part in (call.get("function"), call.get("custom")):
                if isinstance(part, dict):
                    prompt.texts.extend(text for text in part.values() if isinstance(text, str))


def _read_tools(prompt: Prompt, fields: Mapping[str, Any], family: Family) -> None:
    given = fields.get("tools")
    tools = [tool for tool in given if isinstance(tool, dict)] if isinstance(given, list) else []
    legacy = fields.get("functions")
    functions = [tool.get("function", tool) for tool in tools] + (legacy if isinstance(legacy, list) else [])
    if not functions:
        return
    overhead = family.overhead
    prompt.add_estimate(overhead.tools + overhead.function * len(functions))
    for function in functions:
        if overhead.tool_format is ToolFormat.DECLARATIONS and isinstance(function, dict):
            line = f"{function.get('name')}:{_sentence(function)}"
            prompt.add_text(line)
            _read_parameters(prompt, function.get("parameters"), 0)
        else:
            prompt.add_text(_json(function))


def _read_parameters(prompt: Prompt, schema: object, depth: int) -> None:
    """OpenAI's declarations, as its cookbook counts them; nested objects and items in the same way.

    https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken#7-counting-tokens-for-chat-completions-with-tool-calls
    """
    if not isinstance(schema, dict) or depth > _MOST_DEPTH:
        return
    properties = schema.get("properties")
    if isinstance(properties, dict) and properties:
        prompt.fixed += 3
        for name, parameter in properties.items():
            if isinstance(parameter, dict):
                prompt.fixed += 3
                prompt.add_text(f"{name}:{parameter.get('type')}:{_sentence(parameter)}")
                prompt.fixed += -3 if "enum" in parameter else 0
                _read_choices(prompt, parameter.get("enum"))
                _read_parameters(prompt, parameter, depth + 1)
    _read_parameters(prompt, schema.get("items"), depth + 1)
    for name in ("anyOf", "oneOf", "allOf"):
        variants = schema.get(name)
        for variant in variants if isinstance(variants, list) else ():
            _read_parameters(prompt, variant, depth + 1)


def _read_choices(prompt: Prompt, choices: object) -> None:
    for choice in choices if isinstance(choices, list) else ():
        prompt.fixed += 3
        prompt.add_text(str(choice))


def _sentence(described: Mapping[str, Any]) -> str:
    return str(described.get("description") or "").removesuffix(".")


def _json(value: object) -> str:
    # orjson refuses integers of more than 64 bits, and a client may send one.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
