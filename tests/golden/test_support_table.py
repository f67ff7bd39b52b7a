"""No loss in silence: every provider's table is complete, and the page that shows them is as they are now."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.openai.features import OTHERS, used_features
from extproc.providers.registry import PROVIDERS
from tests.golden.dialects import cases, read_call, settle
from tests.golden.support_table import API_FIELDS, Column, columns, support_markdown

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "extproc" / "dialects" / "SUPPORT.md"
COLUMNS = columns(PROVIDERS)


def test_page_is_as_the_tables_are(*, update_golden: bool) -> None:
    """``make golden`` writes it."""
    settle(PAGE, support_markdown(PROVIDERS).encode(), update=update_golden)


def test_readme_leads_to_the_page() -> None:
    """Where people look first."""
    assert f"({PAGE.relative_to(ROOT).as_posix()})" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("column", [column for column in COLUMNS if column.table], ids=lambda column: column.title)
def test_every_field_of_openais_request_is_decided_on(column: Column) -> None:
    """By the types of OpenAI's own SDK; a table may say what becomes of all that it does not name."""
    assert OTHERS in column.table or set(API_FIELDS) - set(column.table) == set()


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.title)
def test_every_named_feature_is_one_that_a_request_can_use(column: Column) -> None:
    """A misspelt name would decide nothing."""
    used = {feature for case in cases() for feature in used_features(read_call(case).fields())}
    assert set(column.table) - used - {OTHERS} == set()


def test_every_provider_is_in_the_page() -> None:
    """Once for each dialect that it speaks."""
    shown = {title.partition(" ")[0] for column in COLUMNS for title in column.title.split(", ")}
    assert shown == {name for name, provider in PROVIDERS.items() if provider.answer is None}
