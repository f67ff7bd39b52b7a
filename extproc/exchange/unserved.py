"""What a client is told whose call nobody is to serve: by a rule, or because every backend is left out."""

from __future__ import annotations

from extproc.errors import ClientError, ContextTooSmall, ModelUnpriced, RefusedByRule, UnsupportedFeature
from extproc.routing.decision import Decision
from extproc.routing.eligible import Cause
from extproc.routing.facts import Facts


def refuse_unserved(decision: Decision, facts: Facts) -> ClientError:
    """The error for a decision without a plan."""
    if decision.refusal is not None:
        refusal = decision.refusal
        return RefusedByRule(refusal.message, status=refusal.status, code=refusal.code)
    asked = facts.call.model
    left_out = [(candidate.target.backend, candidate.excluded) for candidate in decision.candidates]
    causes = {excluded.cause for _, excluded in left_out if excluded is not None}
    if causes == {Cause.OPERATION}:
        backends = ", ".join(backend for backend, _ in left_out)
        message = f"No backend of the model '{asked}' offers {facts.call.operation.value} (tried: {backends})."
        return UnsupportedFeature(message, param="model")
    if causes == {Cause.UNPRICED}:
        backends = ", ".join(backend for backend, _ in left_out)
        message = f"The model '{asked}' has no known price at {backends}, and this gateway does not serve such models."
        return ModelUnpriced(message, param="model")
    reasons = "; ".join(f"{backend} {excluded.reason}" for backend, excluded in left_out if excluded is not None)
    message = f"No backend of the model '{asked}' can serve all of this request: {reasons}."
    kind = ContextTooSmall if causes - {Cause.DRAINED} == {Cause.WINDOW} else UnsupportedFeature
    params = (excluded.param for _, excluded in left_out if excluded is not None)
    return kind(message, param=next((param for param in params if param is not None), None))
