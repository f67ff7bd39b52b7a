"""Which call leads to a rule: told by the gateway's own decision, never by a copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from extproc.admission.keyring import ANYONE, key_of
from extproc.config.routes import Route
from extproc.errors import ClientError
from extproc.exchange.explanation import Explanation, ToldRule, explain, request_headers
from extproc.exchange.snapshot import Snapshot
from extproc.routing.health import NOTHING_SEEN
from extproc.selftest.asking import Ask
from extproc.selftest.callers import Callers
from extproc.selftest.matching import NotMade, asks_for, models_for

_DECISION: Final = "selftest"
_PROMPT: Final = "is all well?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A call, and the rule that decides about it; None is the route's default backend."""

    ask: Ask
    model: str
    rule: str | None = None


class Ways:
    """As the gateway is configured. ``now`` is Unix seconds."""

    def __init__(self, snapshot: Snapshot, callers: Callers, *, now: float) -> None:
        self._snapshot = snapshot
        self._callers = callers
        self._keys = {entry.name: key_of(entry) for entry in snapshot.config.keys or ()}
        self._now = now

    def of(self, ask: Ask, model: str, *, stream: bool) -> Way:
        """Who decides about a call. Raises NotMade when it is refused before that."""
        return Way(ask=ask, model=model, rule=self._decided(ask, model, stream=stream).rule)

    def to(self, name: str, route: Route, place: int, *, stream: bool) -> Way:
        """One that the route's rule at ``place`` takes. Raises NotMade with the reason why there is none."""
        rule = route.rules[place]
        if rule.refuse is not None:
            message = "it refuses: no provider is asked"
            raise NotMade(message)
        wanted = rule.name or f"rules[{place}]"
        reason = "no call can be made"
        for ask in asks_for(rule.match, self._callers):
            for model in models_for(rule.match, route.models):
                try:
                    told = self._decided(ask, model, stream=stream)
                except NotMade as not_made:
                    reason = str(not_made)
                    continue
                if (told.route, told.rule) == (name, wanted):
                    return Way(ask=ask, model=model, rule=wanted)
                if told.route == name:
                    reason = _reason(told, told.rules[place])
        raise NotMade(reason)

    def _decided(self, ask: Ask, model: str, *, stream: bool) -> Explanation:
        body = ask.body(model, _PROMPT, stream=stream)
        try:
            return explain(
                request_headers(f"/v1{ask.operation}", ask.headers),
                orjson.dumps(body),
                snapshot=self._snapshot,
                now=self._now,
                decision_id=_DECISION,
                key=ANYONE if ask.caller is None else self._keys[ask.caller],
                states=NOTHING_SEEN,
            )
        except ClientError as refused:
            raise NotMade(refused.message) from refused


def _reason(told: Explanation, rule: ToldRule) -> str:
    unmet = [condition.wanted for condition in rule.conditions if not condition.holds]
    if unmet:
        return f"no call is known of which {' and '.join(unmet)}"
    return f"{told.rule} takes such calls before it"
