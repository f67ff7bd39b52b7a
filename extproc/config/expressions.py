"""``when:`` an expression in CEL over the facts of a call; names and types are checked when the config is loaded.

CEL always ends and changes nothing: https://cel.dev/overview/cel-overview
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Annotated, Final

from cel_expr_python import cel
from pydantic import AfterValidator, Field

_LONGEST: Final = 2_000
_TEXT: Final = cel.Type.STRING

VARIABLES: Final[dict[str, cel.Type]] = {
    "model": _TEXT,
    "operation": _TEXT,
    "path": _TEXT,
    "headers": cel.Type.Map(_TEXT, _TEXT),
    "promptTokens": cel.Type.INT,
    "maxTokens": cel.Type.DYN,  # a whole number or null
    "stream": cel.Type.BOOL,
    "uses": cel.Type.List(_TEXT),
    "caller": cel.Type.Map(_TEXT, cel.Type.DYN),
    "user": _TEXT,
    "metadata": cel.Type.Map(_TEXT, _TEXT),
    "now": cel.Type.TIMESTAMP,
}
"""What an expression may speak of, by the names of ``match``; ``now`` is the time of arrival."""

_NAMES: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """``uses`` are the variables that may be needed to evaluate it; others need not be found out."""

    text: str
    program: cel.Expression
    uses: tuple[str, ...]


@cache
def _environment() -> cel.Env:
    return cel.NewEnv(variables=VARIABLES)


@lru_cache(maxsize=4_096)
def compile_expression(text: str) -> Compiled:
    """Raises ValueError for what is no CEL, speaks of what does not exist, mixes types or is not true or false."""
    try:
        program = _environment().compile(text)
    except RuntimeError as error:
        raise ValueError(_reason(str(error))) from None
    kind = program.return_type()
    if kind != cel.Type.BOOL:
        msg = f"the expression gives {kind.name().lower()}, but must be true or false"
        raise ValueError(msg)
    named = set(_NAMES.findall(text))
    return Compiled(text=text, program=program, uses=tuple(name for name in VARIABLES if name in named))


def _reason(message: str) -> str:
    """``INVALID_ARGUMENT: ERROR: <input>:1:7: found no matching overload …`` → the sentence and its column."""
    first = message.partition("ERROR: <input>:")[2].partition("\n")[0]
    place, _, sentence = first.partition(": ")
    line, _, column = place.partition(":")
    if not sentence:
        return "this is not a CEL expression"
    where = f"column {column}" if line == "1" else f"line {line}, column {column}"
    sentence = sentence.removesuffix(" (in container '')")
    hint = f"; there are {', '.join(VARIABLES)}" if sentence.startswith("undeclared reference") else ""
    return f"{where}: {sentence}{hint}"


def _check(text: str) -> str:
    compile_expression(text)
    return text


Expression = Annotated[str, Field(min_length=1, max_length=_LONGEST), AfterValidator(_check)]
"""CEL that is true or false."""
