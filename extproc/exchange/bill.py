"""The bill of one attempt: what it used, how that is known, and what it cost, in the words of headers and chunks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from extproc.dialects.base import ClientReply, StreamState
from extproc.exchange.attempt import Attempt
from extproc.headers import COST, USAGE
from extproc.metering.cost import Cost, cost
from extproc.metering.measured import NOTHING, Measured, estimated, reported
from extproc.openai.call import Operation
from extproc.openai.produced import Produced
from extproc.openai.usage import Usage, usage_counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """``cost`` is None where the model has no price, and where nothing was used."""

    measured: Measured = NOTHING
    cost: Cost | None = None
    service_tier: str | None = None

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """``x-kortex-usage: input=7, output=5, cached_input=3, source=reported`` and ``x-kortex-cost: 0.0012 USD``."""
        usage = self.measured.usage
        if usage is None:
            return ()
        counts = ", ".join(f"{name}={count}" for name, count in usage_counts(usage).items())
        told = ((USAGE, f"{counts}, source={self.measured.source.value}"),)
        return told if self.cost is None else (*told, (COST, str(self.cost)))

    @property
    def beside_usage(self) -> dict[str, Any]:
        """What a stream's usage chunk says of it."""
        return _cost_fields(self.cost)


NO_BILL: Final = Bill()


def bill_reply(attempt: Attempt, reply: ClientReply) -> Bill:
    """Of a whole answer; one without usage is counted."""
    if reply.usage is None:
        return _bill(attempt, _estimated(attempt, _said(reply.body)), reply.model, reply.service_tier, answered=True)
    return _bill(attempt, reported(reply.usage), reply.model, reply.service_tier, answered=True)


def bill_stream(attempt: Attempt, state: StreamState, *, complete: bool, answered: bool | None = None) -> Bill:
    """Of a stream as far as it came; where it came to its end, what its provider told is the whole truth.

    ``answered``: whether it is an answer all the same where it did not, by default not.
    """
    if complete and state.usage is not None:
        measured = reported(state.usage)
    else:
        measured = _estimated(attempt, state.produced, state.usage)
    answered = complete if answered is None else answered
    return _bill(attempt, measured, state.model, state.service_tier, answered=answered)


def bill_fragment(attempt: Attempt, received: bytes) -> Bill:
    """Of a whole answer that did not come to its end: what has come of its JSON is counted as it stands."""
    produced = Produced()
    if attempt.assignment.operation is not Operation.EMBEDDINGS:
        produced.add(received.decode("utf-8", "replace"))
    return _bill(attempt, _estimated(attempt, produced), None, None, answered=False)


def beside_usage(attempt: Attempt, state: StreamState) -> Callable[[Usage], dict[str, Any]]:
    """What a stream's usage chunk says besides: ``cost``, a number of all its digits, and ``cost_currency``."""

    def fields(usage: Usage) -> dict[str, Any]:
        return _cost_fields(_cost(attempt, usage, state.model, state.service_tier, answered=True))

    return fields


def _cost_fields(found: Cost | None) -> dict[str, Any]:
    return {} if found is None else {"cost": orjson.Fragment(found.digits), "cost_currency": found.currency}


def _estimated(attempt: Attempt, produced: Produced, partial: Usage | None = None) -> Measured:
    assignment = attempt.assignment
    return estimated(produced, input_tokens=assignment.input_tokens or 0, model=attempt.model, partial=partial)


def _said(body: bytes) -> Produced:
    produced = Produced()
    fields = orjson.loads(body)
    produced.add_choices(fields.get("choices") if isinstance(fields, dict) else None)
    return produced


def _bill(
    attempt: Attempt, measured: Measured, served_model: str | None, service_tier: str | None, *, answered: bool
) -> Bill:
    if measured.usage is None:
        return NO_BILL
    found = _cost(attempt, measured.usage, served_model, service_tier, answered=answered)
    return Bill(measured=measured, cost=found, service_tier=service_tier)


def _cost(
    attempt: Attempt, usage: Usage, served_model: str | None, service_tier: str | None, *, answered: bool
) -> Cost | None:
    """At the price of the moment the attempt began, by the model that the provider says it was.

    A name that has no price is taken for another name of the model that was asked for.
    """
    for model in (served_model, attempt.model):
        price = model and attempt.target.price(model, at=attempt.started, service_tier=service_tier)
        if price:
            return cost(usage, price, images=attempt.assignment.images, answered=answered)
    return None
