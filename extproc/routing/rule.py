"""A rule of the config → a rule that can be asked: its conditions, and where it leads."""

from __future__ import annotations

from collections.abc import Callable

from extproc.config import routes as written
from extproc.routing.match import compile_match
from extproc.routing.route import Choice, CompiledRule, Refusal, Split
from extproc.routing.target import Target


def compile_rule(
    rule: written.Rule, *, place: int, name: str, route: written.Route, target: Callable[[str], Target]
) -> CompiledRule:
    """``name`` is the route's; ``place`` the rule's among its rules, by which it is called when it has no name."""
    called = rule.name or f"rules[{place}]"
    return CompiledRule(
        name=called,
        conditions=compile_match(rule.match, salt=f"{name}/{called}"),
        result=_result(rule, route, target),
    )


def _result(rule: written.Rule, route: written.Route, target: Callable[[str], Target]) -> Split | Refusal:
    if rule.refuse is not None:
        return Refusal(status=rule.refuse.status, message=rule.refuse.message, code=rule.refuse.code)
    if rule.experiment is not None:
        experiment = next(one for one in route.experiments if one.name == rule.experiment)
        both = (Choice(target=target(name), weight=1) for name in (experiment.control, experiment.treatment))
        return Split(choices=tuple(both), strategy="priority")
    strategy = rule.strategy or route.strategy
    choices = tuple(Choice(target=target(ref.name), weight=ref.weight) for ref in rule.backends or ())
    affinity = rule.affinity or (route.affinity if strategy == "weighted" else None)
    return Split(choices=choices, strategy=strategy, affinity=None if affinity is None else affinity.by)
