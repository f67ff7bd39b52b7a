"""A rule's ``match`` → a call that it takes, where one can be made from what is written. Pure.

Whether the rule then decides about it is for the gateway's own decision to say: what is made here is only tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from extproc.config.matches import HeaderMatch, Match, NumberRange
from extproc.openai.call import OPERATION_PATHS
from extproc.selftest.asking import Ask, example_of
from extproc.selftest.callers import Callers

_ANY: Final = "selftest"
_MOST_WORDS: Final = 50_000
_BOTH: Final = 100.0


class NotMade(Exception):
    """No call can be made for a rule; the message says of what."""


def asks_for(match: Match, callers: Callers) -> Iterator[Ask]:
    """Calls that may match, one for each operation. Raises NotMade."""
    if match.percentage is not None and match.percentage.value < _BOTH:
        message = "percentage draws among the calls"
        raise NotMade(message)
    words = _least(match.prompt_tokens)
    if words > _MOST_WORDS:
        message = f"promptTokens wants a prompt of more than {_MOST_WORDS:,} tokens"
        raise NotMade(message)
    fields: dict[str, Any] = {}
    if match.max_tokens is not None:
        fields["max_tokens"] = max(1, _least(match.max_tokens))
    if match.user is not None:
        fields["user"] = match.user[0]
    if match.metadata is not None:
        fields["metadata"] = {name: texts[0] for name, texts in match.metadata.items()}
    headers = {name: _value(wanted) for name, wanted in (match.headers or {}).items()}
    for operation in _operations(match):
        yield Ask(
            operation=operation,
            headers={name: value for name, value in headers.items() if value is not None},
            fields=fields,
            uses=match.uses or (),
            words=words,
            caller=callers.name(match.caller),
        )


def models_for(match: Match, models: tuple[str, ...]) -> tuple[str, ...]:
    """Names that the route has and the rule may want."""
    return tuple(dict.fromkeys(map(example_of, (*(match.model or ()), *models))))


def _operations(match: Match) -> tuple[str, ...]:
    wanted: tuple[str, ...] = match.operation or tuple(OPERATION_PATHS.values())
    paths = match.path or [path for path, operation in OPERATION_PATHS.items() if operation.value in wanted]
    return tuple(path.removeprefix("/v1") for path in paths)


def _value(wanted: str | HeaderMatch) -> str | None:
    """None: the header stays away, also where no value can be told from an expression."""
    match wanted:
        case str(exact) | HeaderMatch(exact=str(exact)):
            return exact
        case HeaderMatch(prefix=str(prefix)):
            return prefix
        case HeaderMatch(present=True):
            return _ANY
        case _:
            return None


def _least(wanted: NumberRange | None) -> int:
    """The smallest number within the bounds."""
    if wanted is None:
        return 0
    return max(0 if wanted.gt is None else wanted.gt + 1, wanted.gte or 0)
