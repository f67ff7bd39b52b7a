"""The sampling knobs, in Cohere's ranges: https://docs.cohere.com/reference/chat"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.errors import InvalidRequest

Json = dict[str, Any]

_HOTTEST: Final = 1.0
_LEAST_P: Final = 0.01
_MOST_P: Final = 0.99


def encode_sampling(fields: Mapping[str, Any], dropped: set[str]) -> Json:
    """What cannot be had as it is asked for is named in ``dropped``. Raises InvalidRequest."""
    temperature = _number(fields, "temperature")
    if temperature is not None and temperature > _HOTTEST:
        # OpenAI's scale ends at 2, Cohere's at 1, as hot as it gets.
        temperature = _HOTTEST
        dropped.add("temperature")
    top_p = _number(fields, "top_p")
    return {
        "max_tokens": _limit(fields),
        "stop_sequences": _stop(fields.get("stop"), dropped),
        "temperature": temperature,
        "p": None if top_p is None else min(max(top_p, _LEAST_P), _MOST_P),
        "seed": _seed(fields.get("seed")),
        **_penalties(fields, dropped),
    }


def _penalties(fields: Mapping[str, Any], dropped: set[str]) -> Json:
    """From 0 to 1, and one of the two only."""
    given = {name: _number(fields, name) for name in ("frequency_penalty", "presence_penalty")}
    wanted = {name: value for name, value in given.items() if value}
    kept: Json = {}
    for name, value in wanted.items():
        if kept or value < 0:
            dropped.add(name)
            continue
        if value > 1:
            dropped.add(name)
        kept[name] = min(value, 1)
    return kept


def _limit(fields: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidRequest(f"Invalid value for '{name}': expected a positive integer.", param=name)
        return value
    return None


def _stop(stop: Any, dropped: set[str]) -> list[str] | None:
    given = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise InvalidRequest("Invalid type for 'stop': expected a string or an array of strings.", param="stop")
    kept = [text for text in given if text]
    if len(kept) < len(given):
        dropped.add("stop")
    return kept or None


def _seed(seed: Any) -> int | None:
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise InvalidRequest("Invalid type for 'seed': expected an integer.", param="seed")
    return seed


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidRequest(f"Invalid type for '{name}': expected a number.", param=name)
    return value
