"""``match:`` of the config, compiled into conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from extproc.config.glob import glob, is_glob
from extproc.config.matches import HeaderMatch, Match, NumberRange
from extproc.config.patterns import compile_pattern
from extproc.routing.conditions import (
    All,
    AnswerLimit,
    Condition,
    HeaderIs,
    OneOf,
    PromptTokens,
    Sampled,
    Streams,
)
from extproc.routing.expression import Holds
from extproc.routing.facts import Facts
from extproc.routing.hours import Within


def compile_match(match: Match, *, salt: str) -> tuple[Condition, ...]:
    """Everything that ``match`` asks for, the cheapest first. ``salt`` names the rule."""
    return tuple(_conditions(match, salt))


def _conditions(match: Match, salt: str) -> Iterator[Condition]:
    yield from _shape(match)
    yield from _caller(match)
    yield from _words(match)
    if match.max_tokens is not None:
        over, up_to = _bounds(match.max_tokens)
        yield AnswerLimit(over=over, up_to=up_to, wanted=f"maxTokens {_spelled(match.max_tokens)}")
    if match.time is not None:
        yield Within.window(match.time)
    if match.percentage is not None:
        wanted = f"percentage: below {match.percentage.value:g}"
        yield Sampled(percentage=match.percentage, salt=salt, wanted=wanted)
    if match.uses is not None:
        wanted = f"uses {', '.join(match.uses)}"
        yield All(name="uses", get=lambda facts: facts.uses, needed=frozenset(match.uses), wanted=wanted)
    if match.prompt_tokens is not None:
        over, up_to = _bounds(match.prompt_tokens)
        yield PromptTokens(over=over, up_to=up_to, wanted=f"promptTokens {_spelled(match.prompt_tokens)}")
    if match.when is not None:
        yield Holds.compile(match.when)


def _shape(match: Match) -> Iterator[Condition]:
    if match.stream is not None:
        yield Streams(stream=match.stream)
    if match.operation is not None:
        yield _one_of("operation", match.operation, lambda facts: facts.call.operation.value)
    if match.path is not None:
        yield _one_of("path", match.path, lambda facts: facts.path)
    if match.model is not None:
        yield _model(match.model)


def _words(match: Match) -> Iterator[Condition]:
    for name, wanted in (match.headers or {}).items():
        yield _header(name, wanted)
    if match.user is not None:
        yield _one_of("user", match.user, lambda facts: facts.user)
    for name, texts in (match.metadata or {}).items():
        yield _one_of(f"metadata.{name}", texts, _metadata(name))


def _caller(match: Match) -> Iterator[Condition]:
    caller = match.caller
    if caller is None:
        return
    if caller.key is not None:
        yield _one_of("caller.key", caller.key, lambda facts: facts.caller.key)
    if caller.tenant is not None:
        yield _one_of("caller.tenant", caller.tenant, lambda facts: facts.caller.tenant)
    if caller.tier is not None:
        yield _one_of("caller.tier", caller.tier, lambda facts: facts.caller.tier)
    if caller.tags is not None:
        wanted = f"caller.tags has {', '.join(caller.tags)}"
        get = _tags
        yield All(name="caller.tags", get=get, needed=frozenset(caller.tags), wanted=wanted)


def _tags(facts: Facts) -> frozenset[str]:
    return frozenset(facts.caller.tags)


def _metadata(name: str) -> Callable[[Facts], str | None]:
    return lambda facts: facts.metadata.get(name)


def _one_of(name: str, texts: Sequence[str], get: Callable[[Facts], str | None]) -> OneOf:
    return OneOf(name=name, get=get, texts=frozenset(texts), wanted=f"{name} is {' or '.join(texts)}")


def _model(names: Sequence[str]) -> OneOf:
    return OneOf(
        name="model",
        get=lambda facts: facts.call.model,
        texts=frozenset(name for name in names if not is_glob(name)),
        globs=tuple(glob(name) for name in names if is_glob(name)),
        wanted=f"model is {' or '.join(names)}",
    )


def _header(name: str, wanted: str | HeaderMatch) -> HeaderIs:
    match wanted:
        case str(exact) | HeaderMatch(exact=str(exact)):
            return HeaderIs(name=name, test=lambda value: value == exact, wanted=f"header {name} is {exact}")
        case HeaderMatch(prefix=str(prefix)):
            test = _if_there(lambda value: value.startswith(prefix))
            return HeaderIs(name=name, test=test, wanted=f"header {name} begins with {prefix}")
        case HeaderMatch(regex=str(pattern)):
            test = _if_there(compile_pattern(pattern))
            return HeaderIs(name=name, test=test, wanted=f"header {name} has a match of {pattern}")
        case HeaderMatch(present=present):
            there = f"header {name} is {'present' if present else 'absent'}"
            return HeaderIs(name=name, test=lambda value: (value is not None) is present, wanted=there)


def _if_there(test: Callable[[str], bool]) -> Callable[[str | None], bool]:
    return lambda value: value is not None and test(value)


def _bounds(wanted: NumberRange) -> tuple[int | None, int | None]:
    """(more than, not more than): for whole numbers the other two are those, moved by one."""
    lower = [bound for bound in (wanted.gt, None if wanted.gte is None else wanted.gte - 1) if bound is not None]
    upper = [bound for bound in (wanted.lte, None if wanted.lt is None else wanted.lt - 1) if bound is not None]
    return max(lower, default=None), min(upper, default=None)


def _spelled(wanted: NumberRange) -> str:
    signs = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
    return " and ".join(f"{signs[name]} {bound}" for name, bound in wanted if bound is not None) or "is any number"
