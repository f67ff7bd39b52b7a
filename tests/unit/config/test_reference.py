"""The README's reference of kortex.yaml: made from the models, and as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from extproc.config.backends import Backend
from extproc.config.reference import BEGIN, END, reference_markdown, with_reference
from extproc.providers.registry import SETTINGS

Settings = Mapping[str, type[Backend]]

_README = Path(__file__).resolve().parents[3] / "README.md"


def test_the_readme_has_todays_reference_when_released(update_golden: bool) -> None:
    """``pytest --update-golden`` on this file rewrites it."""
    readme = _README.read_text(encoding="utf-8")
    fresh = with_reference(readme, SETTINGS)
    if update_golden:
        _README.write_text(fresh, encoding="utf-8")
        readme = fresh
    assert readme == fresh


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("| `listen` | host:port | `127.0.0.1:8080` | Where clients connect. |", id="scalar"),
        pytest.param("| `bodyLimit` | size | `32MiB` |", id="size"),
        pytest.param("| `retries.perBackend` | whole number | `1` |", id="retries-that-apply"),
        pytest.param("| `timeouts.unstreamed` | duration | `10m` |", id="timeouts-that-apply"),
        pytest.param("| `timeouts.total` | duration | – |", id="no-default"),
        pytest.param("| `logLevel` | `debug`, `info`, `warning`, `error` | `info` |", id="choice"),
        pytest.param("| `provider` | `plain`, `hosted`, `tuned` | required |", id="providers"),
        pytest.param("| `url` | URL | required, unless below |", id="required-mostly"),
        pytest.param("| `apiKey` | secret | –, unless below |", id="optional-mostly"),
        pytest.param("| `forwardHeaders` | list of text | – |", id="list"),
        pytest.param(
            "| `hosted` | `url` | URL | `https://api.hosted.example/v1` | Base URL", id="default-of-a-provider"
        ),
        pytest.param("| `hosted` | `apiKey` | secret | required | The credential", id="required-by-a-provider"),
        pytest.param("| `tuned` | `verbose` | `true`, `false` | `false` | Whether it talks \\| much. |", id="own-key"),
        pytest.param("| `tuned` | `patience` | number | – | In tries. |", id="optional-own-key"),
        pytest.param("| `tuned` | `labels` | text by name | – |  |", id="mapping"),
        pytest.param("| `tuned` | `login` | mapping | – |", id="variants"),
        pytest.param("| `tuned` | `login.key` | secret | required |", id="key-of-a-variant"),
        pytest.param("| `tuned` | `login.role` | text | required |", id="key-of-the-other-variant"),
        pytest.param("| `models` | list of text | required | Names or globs (`*`, `?`).", id="list-required"),
        pytest.param("| `fallback` | mapping | – | Where a call goes when that fails", id="optional-mapping"),
        pytest.param("| `fallback.backends` | list of text | required |", id="key-of-a-mapping"),
        pytest.param("| `retries` | mapping | – | As `gateway.retries`", id="mapping-already-described"),
    ],
)
def test_a_key_has_a_row_when_a_model_has_the_field(line: str, settings: Settings) -> None:
    """Key, type, default, meaning."""
    assert any(row.startswith(line) for row in reference_markdown(settings).splitlines())


def test_a_mapping_is_described_once_when_it_stands_twice(settings: Settings) -> None:
    """Routes refer to the gateway's timeouts."""
    assert reference_markdown(settings).count("`timeouts.firstToken`") == 1


def test_a_type_is_refused_when_there_is_no_word_for_it(settings: Settings) -> None:
    """Rather than shown in Python's."""
    with pytest.raises(TypeError, match="no word for the type"):
        reference_markdown({**settings, "odd": _Odd})


class _Odd(Backend):
    """A provider whose key takes what no other does."""

    raw: bytes = b""


def test_the_reference_replaces_what_stood_between_the_markers_when_written(settings: Settings) -> None:
    """And nothing around them."""
    readme = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_reference(readme, settings) == f"before\n{BEGIN}\n{reference_markdown(settings)}\n{END}\nafter\n"


@pytest.mark.parametrize(
    "readme",
    [
        pytest.param("", id="none"),
        pytest.param(f"{BEGIN}", id="no-end"),
        pytest.param(f"{END} {BEGIN}", id="wrong-order"),
        pytest.param(f"{BEGIN} {BEGIN} {END}", id="two-begins"),
        pytest.param(f"{BEGIN} {END} {END}", id="two-ends"),
        pytest.param(f"{BEGIN} {END} {BEGIN}", id="begin-behind"),
    ],
)
def test_a_readme_is_refused_when_its_markers_are_not_there_once(readme: str, settings: Settings) -> None:
    """Rather than overwritten."""
    with pytest.raises(ValueError, match="needs one"):
        with_reference(readme, settings)
