"""YAML as Kortex reads it: YAML 1.2's plain scalars, one document, equal keys found, bombs refused, lines kept."""

from __future__ import annotations

import traceback

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.config import yaml_text
from extproc.config.problems import ConfigError, Path, Problem
from extproc.config.yaml_text import read


@pytest.fixture(autouse=True, params=["CSafeLoader", "SafeLoader"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both of PyYAML's parsers: which one there is depends on how it was built."""
    name = str(request.param)
    monkeypatch.setattr(yaml_text, "_LOADER", getattr(yaml, name))
    return name


def _value(text: str) -> object:
    document = read(text.encode())
    assert document.findings == ()
    return document.root.plain()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("", {}, id="nothing"),
        pytest.param("# a comment\n", {}, id="comment"),
        pytest.param("---\n...\n", {}, id="empty-document"),
        pytest.param("\ufeffa: b", {"a": "b"}, id="byte-order-mark"),
        pytest.param("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}, id="crlf"),
        pytest.param("[]", [], id="no-mapping"),
        pytest.param("a: {b: [c, {d: e}]}", {"a": {"b": ["c", {"d": "e"}]}}, id="nested"),
        pytest.param("a: |\n  b\n  c\n", {"a": "b\nc\n"}, id="block"),
    ],
)
def test_a_document_is_plain_values_when_read(text: str, value: object) -> None:
    """The same as its JSON would be."""
    assert _value(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param("~", None, id="tilde"),
        pytest.param("Null", None, id="null"),
        pytest.param("true", True, id="true"),
        pytest.param("FALSE", False, id="false"),
        pytest.param("no", "no", id="no-is-a-word"),
        pytest.param("on", "on", id="on-is-a-word"),
        pytest.param("-12", -12, id="whole"),
        pytest.param("007", 7, id="leading-zeros"),
        pytest.param("1" * 19, "1" * 19, id="too-long-to-count"),
        pytest.param("1.5", 1.5, id="fraction"),
        pytest.param(".5", 0.5, id="no-digit-before"),
        pytest.param("1e3", 1000.0, id="exponent"),
        pytest.param("1e999", "1e999", id="beyond-any-number"),
        pytest.param(".inf", ".inf", id="infinity-is-a-word"),
        pytest.param("1:30", "1:30", id="no-base-sixty"),
        pytest.param("2026-01-02", "2026-01-02", id="no-dates"),
        pytest.param("'1'", "1", id="single-quotes"),
        pytest.param('"true"', "true", id="double-quotes"),
        pytest.param('""', "", id="empty-text"),
    ],
)
def test_a_plain_scalar_follows_yaml_1_2_when_read(text: str, value: object) -> None:
    """Where YAML 1.1 surprises people."""
    read_value = _value(f"a: {text}")
    assert read_value == {"a": value}
    assert isinstance(read_value, dict)
    assert type(read_value["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("a: &x [1]\nb: *x", {"a": [1], "b": [1]}, id="alias"),
        pytest.param("a: &x 1\nb: &x 2\nc: *x", {"a": 1, "b": 2, "c": 2}, id="anchor-again"),
        pytest.param("a: &k b\n*k : 1", {"a": "b", "b": 1}, id="alias-as-key"),
        pytest.param(
            "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}, id="merge"
        ),
        pytest.param("a: {c: 3, <<: {b: 1, c: 2}}", {"a": {"b": 1, "c": 3}}, id="merge-behind"),
        pytest.param("a: {<<: [{b: 1}, {b: 2, c: 2}]}", {"a": {"b": 1, "c": 2}}, id="merge-of-several"),
        pytest.param('a: {"<<": 1}', {"a": {"<<": 1}}, id="quoted-merge-key-is-a-key"),
    ],
)
def test_anchors_and_merges_are_written_out_when_read(text: str, value: object) -> None:
    """https://yaml.org/type/merge.html, earlier mappings before later ones."""
    assert _value(text) == value


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        pytest.param("a: 1\nb: 2\na: 3", 3, 'the key "a" stands twice, first in line 1', id="equal-keys"),
        pytest.param("x: {a: 1,\n a: 2}", 2, 'the key "a" stands twice, first in line 1', id="equal-keys-in-flow"),
        pytest.param("a: 1\n4: x", 2, "a key that is not text", id="number-as-key"),
        pytest.param("a: 1\ntrue: x", 2, "a key that is not text", id="boolean-as-key"),
        pytest.param("a: 1\n? [b]\n: x", 2, "a key that is not text", id="list-as-key"),
        pytest.param("a: !env SECRET", 1, "a tag (!…) has no meaning here", id="own-tag"),
        pytest.param("a: !!python/object/apply:os.system [x]", 1, "a tag (!…) has no meaning here", id="python-tag"),
        pytest.param("a:\n- !!str 1", 2, "a tag (!…) has no meaning here", id="standard-tag"),
        pytest.param("!x a: 1", 1, "a key that is not text", id="tag-on-key"),
        pytest.param("a: {<<: 1}", 1, "<< merges mappings, and this is none", id="merge-of-a-number"),
        pytest.param("a:\n  <<: [{}, x]", 2, "<< merges mappings, and this is none", id="merge-of-a-list"),
    ],
)
def test_a_document_is_read_on_when_an_entry_is_wrong(text: str, line: int, message: str) -> None:
    """So that everything is found at once."""
    findings = read(f"{text}\n".encode()).findings
    assert (line, message) in [(finding.line, finding.message) for finding in findings]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(b"a: 1\nb: \xff", "2: the file is not UTF-8 text", id="not-utf-8"),
        pytest.param("a: 1".encode("utf-16"), "1: the file is not UTF-8 text", id="utf-16"),
        pytest.param(b"a: 1\nb: \x07", "2: the character U+0007 cannot stand in YAML", id="control-character"),
        pytest.param(b"a: 1\n---\nb: 2", "2: a second YAML document begins here, but a file holds one", id="documents"),
        pytest.param(b"a: 1\n---\n", "2: a second YAML document begins here, but a file holds one", id="empty-second"),
        pytest.param(b"a: {b: ${C}}", "a variable of the environment is written {env: NAME}", id="shell-variable"),
        pytest.param(b"a: b: c", 'text that holds ": " goes in quotes', id="colon"),
        pytest.param(b"a:\n\t- b", "indent with spaces, not tabs", id="tab"),
        pytest.param(b"a: @b", "put text that begins with @", id="at-sign"),
        pytest.param(b'a: "\\q"', "in double quotes a backslash is written twice", id="backslash"),
        pytest.param(
            b"a: 1\nb: 'c\n", "found unexpected end of stream while scanning a quoted scalar", id="open-quote"
        ),
        pytest.param(b"\n\nb: 'c\n\n", "that begins in line 3", id="where-the-quote-opens"),
        pytest.param(b"a: *hunter2", "1: an alias (*…) that no anchor (&…) above it defines", id="unknown-alias"),
        pytest.param(b"a: &hunter2 [*hunter2]", "1: an alias (*…) that no anchor", id="alias-inside-its-anchor"),
        pytest.param(b"%YAML 3.0\n---\na: 1", "incompatible YAML document", id="other-version"),
    ],
)
def test_a_file_is_refused_when_it_cannot_be_read_to_its_end(text: bytes, problem: str) -> None:
    """With line, column and, for common slips, the remedy; without the file's own text."""
    with pytest.raises(ConfigError) as refusal:
        read(text)
    assert problem in str(refusal.value)
    assert "hunter2" not in "".join(traceback.format_exception(refusal.value))


def _bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join(lines)


def _ladder(rungs: int) -> str:
    return "\n".join(["a0: &a0 []", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, rungs))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(_bomb(), "more than 2000000 values", id="alias-bomb"),
        pytest.param(_ladder(40), "deeper than 32 levels", id="ladder-of-aliases"),
        pytest.param("[" * 100_000, "deeper than 32 levels", id="open-brackets"),
        pytest.param("{a: " * 50_000, "deeper than 32 levels", id="open-braces"),
        pytest.param("- " * 50_000, "deeper than 32 levels", id="dashes"),
        pytest.param("? " * 50_000, "deeper than 32 levels", id="question-marks"),
        pytest.param("x" * ((16 << 20) + 1), "larger than 16 MiB", id="large"),
    ],
)
def test_a_bomb_is_refused_when_read(text: str, message: str) -> None:
    """Before it costs memory, and without ending the process as libyaml's composer does."""
    with pytest.raises(ConfigError, match=message):
        read(text.encode())


def test_a_deep_document_is_read_when_it_is_within_the_limit() -> None:
    """The limit counts what it says."""
    assert read(("[" * 31 + "x" + "]" * 31).encode()).root.depth == 32
    assert read(_ladder(31).encode()).root.depth == 32


_LINED = """\
gateway:
  listen: x
routes:
  all: &all
    models:
      - a
      - b
  more:
    <<: *all
    extra: c
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        pytest.param((), 1, id="root"),
        pytest.param(("gateway",), 1, id="section"),
        pytest.param(("gateway", "listen"), 2, id="key"),
        pytest.param(("gateway", "missing"), 1, id="missing-key"),
        pytest.param(("gateway", "listen", "deeper"), 2, id="below-text"),
        pytest.param(("routes", "all", "models", 1), 7, id="item"),
        pytest.param(("routes", "all", "models", 9), 5, id="missing-item"),
        pytest.param(("routes", "more", "models", 0), 6, id="merged"),
        pytest.param(("routes", "more", "extra"), 10, id="beside-merged"),
    ],
)
def test_an_entry_has_its_line_when_asked_for(path: Path, line: int) -> None:
    """Or that of what is around it, where it does not exist."""
    assert read(_LINED.encode()).line(path) == line


@pytest.mark.parametrize(
    ("path", "damaged"),
    [
        pytest.param(("a",), True, id="tagged"),
        pytest.param(("a", "below"), True, id="below"),
        pytest.param(("b",), True, id="alias-of-it"),
        pytest.param(("c",), False, id="beside"),
        pytest.param((), False, id="around"),
    ],
)
def test_an_entry_is_damaged_when_its_value_could_not_be_taken(path: Path, damaged: bool) -> None:
    """What only follows from that is not reported."""
    assert read(b"a: &a !x 1\nb: *a\nc: 2\n").damaged(path) is damaged


def test_a_tagged_document_is_damaged_as_a_whole_when_read() -> None:
    """It does not pass for an empty one."""
    document = read(b"!x {a: 1}")
    assert document.damaged(())
    assert document.root.plain() is None


@settings(max_examples=150)
@given(st.one_of(st.binary(max_size=60), st.text(alphabet="ab:-?[]{}&*!|>'\"%@#, \n\t<~1.", max_size=40)))
def test_any_text_is_read_or_refused_when_it_comes(text: bytes | str) -> None:
    """Nothing else may happen: no other exception, no hang."""
    problems: tuple[Problem, ...] = ()
    size = 0
    try:
        size = read(text if isinstance(text, bytes) else text.encode()).root.size
    except ConfigError as refusal:
        problems = refusal.problems
    assert bool(size) is not bool(problems)
