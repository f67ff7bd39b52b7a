"""How long a streamed answer may become before its budget has to be asked again."""

from __future__ import annotations

from typing import Final

from extproc.dialects.base import StreamState
from extproc.exchange.attempt import Attempt
from extproc.exchange.bill import Bill
from extproc.metering.measured import count_produced
from extproc.openai.call import Call
from extproc.openai.cut_short import end_stream
from extproc.openai.usage import usage_fields

_LEAST_STEP: Final = 64


class Allowance:
    """``granted`` tokens so far. Counting is put off for as long as the characters alone show that all is well."""

    __slots__ = ("_attempt", "_granted", "_look_at")

    def __init__(self, attempt: Attempt, granted: int) -> None:
        self._attempt = attempt
        self._granted = granted
        self._look_at = granted

    def lacking(self, state: StreamState) -> int:
        """How many tokens more should be asked for; 0 while there is enough. A token has at least one character."""
        characters = state.produced.characters
        if characters <= self._look_at:
            return 0
        output = count_produced(state.produced, self._attempt.model)
        if output > self._granted:
            # As much again: the number of times that are asked for grows with the logarithm of the length.
            return output
        self._look_at = characters + max(_LEAST_STEP, self._granted - output)
        return 0

    def grant(self, tokens: int) -> None:
        """So many more may follow."""
        self._granted += tokens
        self._look_at = 0


def last_words(call: Call, last: bytes, bill: Bill) -> bytes:
    """The end of an answer that gets no more; ``last`` is the newest event that its client was sent."""
    usage = bill.measured.usage if call.include_usage else None
    fields = None if usage is None else {**usage_fields(usage), **bill.beside_usage}
    return end_stream(last, call.operation, fields)
