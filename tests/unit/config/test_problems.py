"""How a problem is said: its place, its words, and the nearest word that would have been right."""

from __future__ import annotations

import pytest

from extproc.config.problems import ConfigError, Path, Problem, quoted, spell, suggest

_FALLBAK = Problem(path="routes.production", message='unknown key "fallbak"', hint='did you mean "fallback"?', line=12)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        pytest.param(_FALLBAK, '12: routes.production: unknown key "fallbak", did you mean "fallback"?', id="whole"),
        pytest.param(Problem(path="", message="too large", line=1), "1: too large", id="the-file"),
        pytest.param(
            Problem(path="gateway.drain", message="has no value"), "gateway.drain: has no value", id="no-line"
        ),
    ],
)
def test_a_problem_reads_well_when_written_behind_the_files_name(problem: Problem, text: str) -> None:
    """What `kortex check` prints behind `kortex.yaml:`."""
    assert str(problem) == text


def test_a_config_error_says_every_problem_when_logged() -> None:
    """One line each, of which each says that it begins with a line's number: no file is named before it."""
    problems = (_FALLBAK, Problem(path="backends", message="must be a mapping"))
    error = ConfigError(problems)
    assert error.problems == problems
    assert str(error).splitlines() == [f"line {_FALLBAK}", "backends: must be a mapping"]


@pytest.mark.parametrize(
    ("path", "spelled"),
    [
        pytest.param((), "", id="root"),
        pytest.param(("backends", "gpt-4_o", "url"), "backends.gpt-4_o.url", id="keys"),
        pytest.param(("routes", "a", "models", 0), "routes.a.models[0]", id="index"),
        pytest.param(("backends", "gpt-4.1", "url"), 'backends."gpt-4.1".url', id="dot"),
        pytest.param(("a\nb",), '"a\\nb"', id="line-break"),
        pytest.param(("",), '""', id="empty"),
    ],
)
def test_a_path_is_unambiguous_when_spelled(path: Path, spelled: str) -> None:
    """Keys that would not read as keys are quoted."""
    assert spell(path) == spelled


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        pytest.param("été", '"été"', id="letters"),
        pytest.param('say "hi"', '"say \\"hi\\""', id="quotes"),
        pytest.param("a\x1b[31mb", '"a\\u001b[31mb"', id="escape-sequence"),
        pytest.param("a\u202eb", '"a\\u202eb"', id="right-to-left"),
        pytest.param("x" * 80, '"' + "x" * 80 + '"', id="as-long-as-is-shown"),
        pytest.param("x" * 81, '"' + "x" * 80 + '…"', id="longer"),
    ],
)
def test_a_word_is_harmless_when_quoted(word: str, shown: str) -> None:
    """It can neither break a log line nor fill one."""
    assert quoted(word) == shown


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        pytest.param("fallbak", ["fallback", "models"], 'did you mean "fallback"?', id="misspelled"),
        pytest.param(
            "default_backend", ["defaultBackend", "models"], 'did you mean "defaultBackend"?', id="snake-case"
        ),
        pytest.param("OpenAI", ["mistral", "openai"], 'did you mean "openai"?', id="upper-case"),
        pytest.param("xyz", ["models", "fallback"], "there are fallback, models", id="nothing-near"),
        pytest.param("xyz", [], "there are none", id="nothing-known"),
    ],
)
def test_a_hint_names_the_nearest_word_when_there_is_one(word: str, known: list[str], hint: str) -> None:
    """Otherwise it lists what there is."""
    assert suggest(word, known, otherwise="there are") == hint
