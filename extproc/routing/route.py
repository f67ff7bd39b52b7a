"""A route, compiled: its rules in order, where each leads, and how patiently a plan is walked."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.config.routes import Strategy
from extproc.config.units import Unit
from extproc.openai.call import Operation
from extproc.routing.conditions import Condition
from extproc.routing.experiment import CompiledExperiment
from extproc.routing.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A backend that a rule may choose. ``weight`` 0: it is being drained."""

    target: Target
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Backends to choose among. ``affinity`` is what stays on one of them; None where each call is for itself."""

    choices: tuple[Choice, ...]
    strategy: Strategy
    affinity: Unit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The call is not to be served."""

    status: int
    message: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """``conditions`` must all hold; the cheapest to find out come first."""

    name: str
    conditions: tuple[Condition, ...]
    result: Split | Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRoute:
    """Where the calls for some models go. Durations are milliseconds; None is no limit."""

    name: str
    rules: tuple[CompiledRule, ...]
    default: Split
    fallback: tuple[Target, ...]
    experiments: tuple[CompiledExperiment, ...]
    strip_prefix: str | None
    retries: int
    first_token_ms: int
    unstreamed_ms: int
    idle_ms: int
    total_ms: int | None
    strict: bool = False
    """Nothing of a request may be dropped on the way to a provider."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every target that a plan may name, the default first."""
        splits = (self.default, *(rule.result for rule in self.rules if isinstance(rule.result, Split)))
        chosen = [choice.target for choice in self.default.choices]
        elsewhere = [choice.target for split in splits[1:] for choice in split.choices]
        elsewhere += [target for one in self.experiments for target in (one.control, one.treatment)]
        return tuple({target.name: target for target in (*chosen, *self.fallback, *elsewhere)}.values())

    @property
    def longest_plan(self) -> int:
        """How many backends a plan of this route can have."""
        splits = (self.default, *(rule.result for rule in self.rules if isinstance(rule.result, Split)))
        fallback = {target.name for target in self.fallback}
        tried = {target.name for one in self.experiments for target in (one.control, one.treatment)}
        return max(len(fallback | tried | {choice.target.name for choice in split.choices}) for split in splits)

    def upstream_name(self, asked: str) -> str:
        """The model's name without the part that only this gateway's clients know."""
        return asked.removeprefix(self.strip_prefix) if self.strip_prefix else asked

    def offering(self, operation: Operation, asked: str) -> tuple[Target, ...]:
        """The targets that have the operation for the model that a client asked for."""
        model = self.upstream_name(asked)
        return tuple(target for target in self.targets if target.translator(operation, model) is not None)
