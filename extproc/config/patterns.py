"""``regex:`` regular expressions over what clients send, matched in time that grows with the text and not beyond.

Python's ``re`` backtracks: ``(a+)+$`` over thirty letters can stop a worker for minutes, and whether an expression does
that cannot be seen in it. Rust's engine, which pydantic validates patterns with, has no look-around and no back
references and in exchange never takes longer than linear time: https://docs.rs/regex/latest/regex/#untrusted-input
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import SchemaError, SchemaValidator, core_schema

_LONGEST: Final = 1_000


@lru_cache(maxsize=4_096)
def compile_pattern(text: str) -> Callable[[str], bool]:
    """Whether a text holds a match, anywhere in it. Raises ValueError for what is no regular expression."""
    try:
        schema = core_schema.str_schema(pattern=text, regex_engine="rust-regex", strict=True)
        return SchemaValidator(schema).isinstance_python
    except SchemaError as error:
        reason = str(error).rpartition("error: ")[2].strip()
        msg = f"this is not a regular expression: {reason}"
        raise ValueError(msg) from None


def _check(text: str) -> str:
    compile_pattern(text)
    return text


Pattern = Annotated[str, Field(min_length=1, max_length=_LONGEST), AfterValidator(_check)]
"""A regular expression in Rust's syntax: https://docs.rs/regex/latest/regex/#syntax"""
