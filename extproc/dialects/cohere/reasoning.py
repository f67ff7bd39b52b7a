"""``reasoning_effort`` → ``thinking``: https://docs.cohere.com/docs/reasoning"""

from __future__ import annotations

import re
from typing import Any, Final

from extproc.errors import InvalidRequest

Json = dict[str, Any]

BUDGETS: Final[dict[str, int | None]] = {
    "minimal": 512,
    "low": 2_048,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": None,
    "max": None,
}
"""Tokens of thinking for each effort; None: as many as the model wants."""

# The generations before reasoning; newer models think unless they are told not to.
_WITHOUT: Final = re.compile(r"command(?:-light|-nightly)?$|command-r|command-a(?:-\d|-vision|-translate|$)|c4ai-")


def encode_reasoning(effort: Any, model: str, dropped: set[str]) -> Json | None:
    """What cannot be had is named in ``dropped``. Raises InvalidRequest."""
    if effort is None:
        return None
    if effort != "none" and (not isinstance(effort, str) or effort not in BUDGETS):
        raise InvalidRequest(
            f"Invalid value for 'reasoning_effort': expected none, {', '.join(BUDGETS)}.", param="reasoning_effort"
        )
    thinks = _WITHOUT.match(model) is None
    if effort == "none":
        return {"type": "disabled"} if thinks else None
    if not thinks:
        dropped.add("reasoning_effort")
        return None
    budget = BUDGETS[effort]
    return {"type": "enabled"} if budget is None else {"type": "enabled", "token_budget": budget}
