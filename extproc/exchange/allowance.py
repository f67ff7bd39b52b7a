"""How long a streamed answer may become before its budget has to be asked again."""

from __future__ import annotations

from math import ceil
from typing import Final

from extproc.dialects.base import StreamState
from extproc.exchange.attempt import Attempt
from extproc.exchange.bill import Bill
from extproc.metering.measured import count_produced
from extproc.openai.call import Call
from extproc.openai.cut_short import end_stream, says_end
from extproc.openai.usage import usage_fields

_AHEAD: Final = 64
"""Tokens before its end that an answer asks for more, and what it asks for where it was refused as much again."""


class Allowance:
    """``granted`` tokens so far. Counting is put off for as long as the characters alone show that all is well.

    An answer asks a little before it needs more. Where it is refused, it goes on for as long as another event fits into
    what it was granted, and asks once more there: many answers that are refused together have not each gone too far.
    """

    __slots__ = ("_attempt", "_granted", "_largest", "_left", "_look_at", "_refused", "_seen")

    def __init__(self, attempt: Attempt, granted: int) -> None:
        self._attempt = attempt
        self._granted = self._left = granted
        self._look_at = self._seen = self._largest = 0
        self._refused = False

    def lacking(self, state: StreamState) -> int:
        """How many tokens more should be asked for; 0 while there is enough. A token has at least one character."""
        characters = state.produced.characters
        self._largest = max(self._largest, characters - self._seen)
        self._seen = characters
        if characters <= self._look_at:
            return 0
        output = count_produced(state.produced, self._attempt.model)
        following = ceil(output * self._largest / characters)
        self._left = self._granted - output - following
        ahead = 0 if self._refused else _AHEAD
        if self._left < ahead:
            # As much again: the number of times that are asked for grows with the logarithm of the length.
            return _AHEAD if self._refused else max(_AHEAD, output)
        self._look_at = characters + max(self._left - ahead, ahead)
        return 0

    def grant(self, tokens: int) -> None:
        """So many more may follow."""
        self._granted += tokens
        self._look_at = 0
        self._refused = False

    def refuse(self) -> bool:
        """No more may follow than was granted before; whether that is over."""
        self._refused = True
        return self._left < 0


def is_ended(last: bytes, state: StreamState) -> bool:
    """Whether the client was told why the answer ended, or each of several. ``last`` is the newest event sent to it."""
    if state.begun:
        return state.complete or state.begun <= state.finished
    return says_end(last)


def last_words(call: Call, last: bytes, state: StreamState, bill: Bill) -> bytes:
    """The end of an answer that gets no more: of each choice that has not ended. ``last`` is as above."""
    usage = bill.measured.usage if call.include_usage else None
    fields = None if usage is None else {**usage_fields(usage), **bill.beside_usage}
    return end_stream(last, call.operation, fields, sorted(state.begun - state.finished))
