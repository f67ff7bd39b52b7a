"""Two libraries that know nothing of each other count OpenAI's vocabularies alike."""

from __future__ import annotations

import pytest
import splintr
from hypothesis import given
from hypothesis import strategies as st

from extproc.metering.vocabularies import vocabulary

TEXTS = [
    "The committee met on Tuesday to consider whether the changes would improve the service.",
    "Der Ausschuss traf sich am Dienstag, um die Änderungen zu prüfen.",
    "委员会于星期二开会。 委員会は火曜日に会合を開いた。 위원회는 화요일에 모였다.",
    "اجتمعت اللجنة يوم الثلاثاء للنظر في التغييرات. समिति की बैठक मंगलवार को हुई।",
    'def add(a: int, b: int) -> int:\n    """Add."""\n    return a + b\n\n\n\tx = {"k": [1, 2.5, None]}\r\n',
    "👩‍👩‍👧 🇪🇺 👍🏽 — “quoted” … \u2028 \x00 \ufeff",
    "2026-11-25T10:00:00.123Z INFO worker-3 request 7f3a9c took 1234567890 ms",
    "I'll you've HE'LL'd don't  \n\n   spaces   at the end   ",
]


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
@pytest.mark.parametrize("text", TEXTS)
def test_counts_agree(name: str, text: str) -> None:
    """In ten languages, in code, and in what is neither."""
    assert vocabulary(name).count(text) == len(splintr.Tokenizer.from_pretrained(name).encode_ordinary(text))


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=0x24F), max_size=200))
def test_counts_agree_whatever_is_written_in_latin_letters(name: str, text: str) -> None:
    """Marks, digits, accents and blanks in any order."""
    assert vocabulary(name).count(text) == len(splintr.Tokenizer.from_pretrained(name).encode_ordinary(text))
