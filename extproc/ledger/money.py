"""Money in databases that have no decimals: an amount as two whole numbers, which a plain SUM adds up exactly."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final

_EXACT: Final = Context(prec=60)
_ATTO: Final = Decimal("1e-18")
_NANOS: Final = 10**9


def split(amount: Decimal) -> tuple[int, int]:
    """Billionths, and billionths of those; what is finer than 10⁻¹⁸ is rounded."""
    attos = int(amount.quantize(_ATTO, context=_EXACT).scaleb(18, context=_EXACT))
    return divmod(attos, _NANOS)


def joined(nanos: int, attos: int) -> Decimal:
    """The inverse of ``split``, also for sums."""
    return Decimal(nanos * _NANOS + attos).scaleb(-18, context=_EXACT)


def spell(amount: Decimal) -> str:
    """As people write it: no exponent, and no more digits than it needs."""
    return format(amount.normalize(context=_EXACT), "f")
