"""What bills have beyond the whole billionths that stores count: kept until it makes up another one."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import Final

_MOST_COUNTERS: Final = 10_000


class SmallChange:
    """Of one process. What it books in a counter is less than a billionth from the sum of the bills, however many.

    Nearly every price is whole billionths for a token, and leaves nothing here. Of very many counters at once, those
    that have waited longest lose theirs.
    """

    def __init__(self) -> None:
        self._left: OrderedDict[str, Decimal] = OrderedDict()

    def add(self, counter: str, rest: Decimal) -> int:
        """``rest`` is less than a billionth; the whole ones that are to be booked now: 0 or 1."""
        total = self._left.pop(counter, Decimal(0)) + rest
        whole = int(total)
        if total != whole:
            self._left[counter] = total - whole
            if len(self._left) > _MOST_COUNTERS:
                self._left.popitem(last=False)
        return whole
