"""``when:`` evaluated over the facts of a call. One that fails is no match, is counted, and is shown by ``explain``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cel_expr_python import cel

from extproc.config.expressions import Compiled, compile_expression
from extproc.routing.facts import Facts

_VALUES: Final[dict[str, Callable[[Facts], Any]]] = {
    "model": lambda facts: facts.call.model,
    "operation": lambda facts: facts.call.operation.value,
    "path": lambda facts: facts.path,
    "headers": lambda facts: {name: value for name, value in facts.headers.items() if name[0] != ":"},
    "promptTokens": lambda facts: facts.prompt().tokens,
    "maxTokens": lambda facts: facts.max_tokens,
    "stream": lambda facts: facts.call.stream,
    "uses": lambda facts: sorted(facts.uses),
    "caller": lambda facts: {
        "key": facts.caller.key,
        "tenant": facts.caller.tenant,
        "tier": facts.caller.tier,
        "tags": list(facts.caller.tags),
    },
    "user": lambda facts: facts.user or "",
    "metadata": lambda facts: dict(facts.metadata),
    "now": lambda facts: facts.now,
}


class ExpressionFailed(Exception):
    """The expression gave no answer for this call, such as for a key that a map does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """The expression is true."""

    expression: Compiled

    @classmethod
    def compile(cls, text: str) -> Holds:
        """``text`` has been checked with the config."""
        return cls(expression=compile_expression(text))

    @property
    def wanted(self) -> str:
        """See Condition."""
        return f"when {self.expression.text}"

    def holds(self, facts: Facts) -> bool:
        """See Condition."""
        values = {name: _VALUES[name](facts) for name in self.expression.uses}
        result = self.expression.program.eval(data=values)
        if result.type() == cel.Type.ERROR:
            raise ExpressionFailed(str(result.value()))
        return bool(result.value())

    def found(self, facts: Facts) -> str:
        """See Condition."""
        shown = [f"{name} = {_VALUES[name](facts)!r}" for name in self.expression.uses if name != "headers"]
        return ", ".join(shown) or "false"
