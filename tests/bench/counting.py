"""``python -m tests.bench.counting``: what it takes to count a prompt, to compare it with a threshold, or to guess."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from extproc.metering.estimate import estimate_input, longer_than, rough_input
from extproc.openai.call import Operation

_MODELS: Final = ("gpt-4o", "claude-opus-5", "llama-3.1-8b", "gemini-2.5-flash", "mistral")
_SIZES: Final = (100, 1_000, 10_000, 100_000, 1_000_000)
_SENTENCE: Final = "The committee met on Tuesday to consider whether the proposed changes would improve the service. "
_LIMIT: Final = 4_000
_ROUNDS: Final = 7

_Act = Callable[[Mapping[str, Any]], object]


def main() -> None:
    """Microseconds, the best of some rounds; a prompt of so many bytes, in one message that was not counted before."""
    print(f"{'model':18}{'bytes':>10}{'count':>10}{f'> {_LIMIT}':>10}{'guess':>10}")
    for model in _MODELS:
        for size in _SIZES:
            tried: tuple[_Act, ...] = (
                partial(estimate_input, operation=Operation.CHAT, model=model),
                partial(longer_than, operation=Operation.CHAT, model=model, limit=_LIMIT),
                partial(rough_input, operation=Operation.CHAT, model=model),
            )
            print(f"{model:18}{size:10}" + "".join(f"{_best(act, size):10.0f}" for act in tried))


def _best(act: _Act, size: int) -> float:
    times = []
    for number in range(_ROUNDS + 1):
        text = (f"{number}. " + _SENTENCE * (size // len(_SENTENCE) + 1))[:size]
        fields = {"messages": [{"role": "user", "content": text}]}
        began = time.perf_counter()
        act(fields)
        times.append(time.perf_counter() - began)
    return min(times[1:]) * 1_000_000


if __name__ == "__main__":
    main()
