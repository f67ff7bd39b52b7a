"""Draws that are computed: the same wherever and whenever they are made."""

from __future__ import annotations

import pytest

from extproc.routing.chance import arrival, share


@pytest.mark.parametrize(
    ("key", "place"),
    [
        pytest.param(("r/rules[0]", "ann"), 0.7566573141459388, id="ascii"),
        pytest.param(("ünit", ""), 0.03623995378326615, id="not-ascii"),
    ],
)
def test_a_share_is_what_it_was_in_every_release(key: tuple[str, ...], place: float) -> None:
    """Another digest would move every user: workers, hosts, restarts and versions agree on these numbers."""
    assert share(*key) == place


def test_an_arrival_is_what_it_was_in_every_release() -> None:
    """A unit's backend follows from it."""
    assert arrival("user-1", "a", 3) == pytest.approx(0.5511186669469444, rel=1e-12)


def test_a_text_that_is_no_unicode_has_its_place_too() -> None:
    """A header need not be UTF-8."""
    assert 0 < share("s", "\udcff") < 1
