"""The texts of ``prompt`` and ``input``: a string, several, an array of token numbers, or several of those.

The demo model knows nobody's token numbers: each of them is a word to it.
https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

from typing import Final

from extproc.errors import InvalidRequest
from extproc.providers.demo.request_fields import an_array, an_integer

_MOST: Final = 2_048


def read_inputs(value: str | list[object], name: str) -> list[str]:
    """The texts of the field ``name``, whose ``value`` is not empty; nor is any of them. Raises InvalidRequest."""
    if isinstance(value, str):
        return [value]
    if isinstance(value[0], int):
        return [_token_text(value, name)]
    members = an_array(value, name, "strings", longest=_MOST)
    return [_read_member(member, f"{name}[{index}]") for index, member in enumerate(members)]


def _read_member(value: object, path: str) -> str:
    if isinstance(value, str):
        if not value:
            raise InvalidRequest(
                f"Invalid '{path}': empty string. Expected a string with minimum length 1.", param=path
            )
        return value
    return _token_text(an_array(value, path, "integers"), path)


def _token_text(tokens: list[object], path: str) -> str:
    return " ".join(str(an_integer(token, f"{path}[{index}]", minimum=0)) for index, token in enumerate(tokens))
