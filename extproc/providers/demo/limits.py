"""How much is asked for: ``n``, ``stop`` and the most tokens, and an answer cut to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.errors import InvalidRequest
from extproc.providers.demo.request_fields import a_string, an_array, an_integer, wrong_type
from extproc.providers.demo.tokens import count_tokens, first_tokens

_MOST_CHOICES: Final = 128
_MOST_STOPS: Final = 4
_MOST_CHARACTERS: Final = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``choices`` is how many answers; ``stop`` the texts that end one; ``tokens`` its most, None for no limit."""

    choices: int
    stop: tuple[str, ...]
    tokens: int | None

    def cut(self, text: str) -> tuple[str, str]:
        """``text`` up to the first stop and the last token allowed, and OpenAI's ``finish_reason``."""
        ends = [end for end in map(text.find, self.stop) if end >= 0]
        text = text[: min(ends, default=len(text))]
        if self.tokens is None or count_tokens(text) <= self.tokens:
            return text, "stop"
        return first_tokens(text, self.tokens), "length"


def read_limits(fields: Mapping[str, Any], *, tokens: tuple[str, ...], fewest: int) -> Limits:
    """``tokens`` names the fields that limit an answer, of which the first given counts; ``fewest`` is their minimum.

    https://platform.openai.com/docs/api-reference/chat/create
    """
    given = [
        an_integer(fields[name], name, minimum=fewest) if fields.get(name) is not None else None for name in tokens
    ]
    choices = fields.get("n")
    return Limits(
        choices=1 if choices is None else an_integer(choices, "n", minimum=1, maximum=_MOST_CHOICES),
        stop=_read_stop(fields.get("stop")),
        tokens=next((limit for limit in given if limit is not None), None),
    )


def check_size(characters: int, *, param: str) -> None:
    """A small request must not make the gateway write a reply of gigabytes. Raises InvalidRequest naming ``param``."""
    if characters > _MOST_CHARACTERS:
        message = f"Invalid '{param}': the demo model writes at most {_MOST_CHARACTERS} characters in one reply."
        raise InvalidRequest(message, param=param)


def _read_stop(value: object) -> tuple[str, ...]:
    if value is None or value == []:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise wrong_type("stop", "one of a string or array of strings", value)
    given = an_array(value, "stop", "strings", longest=_MOST_STOPS)
    stops = (a_string(stop, f"stop[{index}]") for index, stop in enumerate(given))
    return tuple(stop for stop in stops if stop)
