"""What an attempt's end gives back of what its request holds."""

from __future__ import annotations

from extproc.admission.charge import Held, Settled, Settlement, Unit
from extproc.admission.settlement import NOTHING_USED, Reservation, Used, settle_attempt
from extproc.admission.small_change import SmallChange

RESERVATION = Reservation(
    id="r",
    held=(
        Held(counter="rate", unit=Unit.TOKENS, slot=None, amount=50),
        Held(counter="budget", unit=Unit.TOKENS, slot=7, amount=50),
        Held(counter="at-once", unit=Unit.CONCURRENT, slot=0, amount=1),
    ),
)


def test_an_attempt_after_which_perhaps_nobody_comes_gives_back_what_would_be_missed() -> None:
    """The rate's tokens excepted: whoever does come gives those back, and they would be given back twice."""
    assert settle_attempt(RESERVATION, Used(tokens=5), SmallChange(), final=False, abandoned=True) == Settlement(
        reservation="r",
        lines=(
            Settled(counter="rate", slot=None, held=0, used=5),
            Settled(counter="budget", slot=7, held=50, used=5),
            Settled(counter="at-once", slot=0, held=1, used=0),
        ),
        closes=True,
    )


def test_an_attempt_that_moved_on_gives_nothing_back() -> None:
    """Whoever follows needs it."""
    assert settle_attempt(RESERVATION, NOTHING_USED, SmallChange(), final=False) is None


def test_the_last_attempt_gives_everything_back() -> None:
    """Even if the one before was thought to be the last."""
    settlement = settle_attempt(RESERVATION, NOTHING_USED, SmallChange(), final=True, abandoned=True)
    assert settlement is not None
    assert [(line.counter, line.held) for line in settlement.lines] == [("rate", 50), ("budget", 50), ("at-once", 1)]
