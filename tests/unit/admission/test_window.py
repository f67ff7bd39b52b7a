"""Windows on a clock of its own: two years of them, with every change of the clocks in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from extproc.admission.window import clockwork

START = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
END = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
HALF_HOUR = 1_800.0
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Beirut",
    "America/Havana",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("kind", ["hour", "day", "week", "month"])
def test_windows_follow_each_other_without_a_gap(kind: str, zone: str) -> None:
    """Every moment is in one window, which ends where the next begins, and begins at midnight there."""
    clock, now, before = clockwork(kind, zone), START, None
    while now < END:
        window = clock.at(now, 10)
        assert window.ends is not None
        assert window.slot <= now < window.ends
        assert window.first == window.slot
        if before is not None and window.slot != before.slot:
            assert window.slot == before.ends
        if kind != "hour":
            begins = datetime.fromtimestamp(window.slot, ZoneInfo(zone))
            just_before = begins.astimezone(UTC) - timedelta(seconds=1)
            assert just_before.astimezone(ZoneInfo(zone)).date() < begins.date()
            assert kind != "week" or begins.weekday() == 0
            assert kind != "month" or begins.day == 1
        before, now = window, now + (HALF_HOUR if kind == "hour" else HALF_HOUR * 7)


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        pytest.param("2026-03-29", 23, id="spring"),
        pytest.param("2026-10-25", 25, id="autumn"),
        pytest.param("2026-06-01", 24, id="summer"),
    ],
)
def test_a_day_is_as_long_as_it_is(day: str, hours: int) -> None:
    """In Berlin."""
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    window = clockwork("day", "Europe/Berlin").at(noon, 10)
    assert window.ends is not None
    assert window.ends - window.slot == hours * 3_600


def test_a_month_begins_at_its_own_midnight() -> None:
    """A second before, it is still the old one there, though a new one elsewhere."""
    clock = clockwork("month", "America/New_York")
    midnight = datetime(2026, 11, 1, 4, tzinfo=UTC).timestamp()
    assert clock.at(midnight - 1, 10).ends == midnight
    assert clock.at(midnight, 10).slot == midnight
    assert clock.at(midnight - 1, 10).ends == midnight


def test_a_rolling_window_forgets_part_by_part() -> None:
    """What was used counts for as long as the window is, and a sixtieth of it longer at most."""
    clock = clockwork("rolling 1h", "UTC")
    slot = clock.at(START, 10).slot
    for seconds, counts in ((0, True), (3_599, True), (3_600 + 59, True), (3_600 + 60, False), (9_999, False)):
        assert (clock.at(START + seconds, 10).first <= slot) is counts
    window = clock.at(START + 59, 10)
    assert (window.ends, window.until) == (START + 60, START + 60 + 3_600)


def test_a_total_window_is_one() -> None:
    """For ever."""
    clock = clockwork("total", "UTC")
    assert clock.at(START, 10) == clock.at(END, 10)
    assert clock.at(START, 10).ends is None
