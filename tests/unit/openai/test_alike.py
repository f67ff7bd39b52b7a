"""Chunks that differ in their text alone are told from all others, and become what reading them would make of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from extproc.openai.alike import Alike, alike

OURS = "gpt-4"


def fields(text: str, **more: Any) -> dict[str, Any]:
    """A chunk that says a text."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    return {"id": "c", "object": "chat.completion.chunk", "model": "inner", "choices": [choice], **more}


def event(said: dict[str, Any]) -> bytes:
    """As servers write it."""
    return b"data: " + orjson.dumps(said) + b"\n\n"


def learnt(said: dict[str, Any], ours: dict[str, Any] | None = None) -> Alike | None:
    """Of one event."""
    return alike(event(said), said, event(said if ours is None else ours))


def renamed(said: dict[str, Any]) -> dict[str, Any]:
    """With the client's name for the model, and without the usage that it did not ask for."""
    return {name: value for name, value in {**said, "model": OURS}.items() if name != "usage"}


@pytest.mark.parametrize("text", ["", " the", "12", "\n\n", '"quoted"', "a\\b", "ü€漢", "\U0001f468‍\U0001f469", "\x07"])
@pytest.mark.parametrize("padded", [{}, {"obfuscation": "Xy7"}, {"p": "abcdef"}])
def test_an_event_like_another_is_read_as_it_says(text: str, padded: dict[str, str]) -> None:
    """Whatever its text, and however long the filler that hides its length."""
    first, other = fields("first", usage=None, **padded), fields(text, usage=None, **dict.fromkeys(padded, "Z" * 9))
    own, both = learnt(first, renamed(first)), learnt(first)
    assert own is not None
    assert both is not None
    assert own.read(event(other)) == (text, event(renamed(other)))
    assert both.read(event(other)) == (text, event(other))


PLAIN = event(fields("x"))


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(event(fields("x", model="another")), id="another-model"),
        pytest.param(event(fields("x", usage={"prompt_tokens": 1})), id="usage"),
        pytest.param(PLAIN.replace(b'"finish_reason":null', b'"finish_reason":"stop"'), id="the-end"),
        pytest.param(PLAIN.replace(b'"x"', b'"x","refusal":"no"'), id="more-in-the-delta"),
        pytest.param(PLAIN.replace(b'"x"', b"null"), id="no-text"),
        pytest.param(PLAIN + PLAIN, id="two-events"),
        pytest.param(PLAIN[:-1], id="not-its-end"),
        pytest.param(PLAIN[1:], id="not-its-beginning"),
        pytest.param(PLAIN.replace(b'"x"', b'"'), id="one-quote-is-both"),
        pytest.param(PLAIN.replace(b'"x"', b'"\xff"'), id="not-utf-8"),
        pytest.param(PLAIN.replace(b'"x"', b'"\n"'), id="a-control-character"),
        pytest.param(PLAIN.replace(b'"x"', b'"\\"'), id="no-end-of-the-text"),
        pytest.param(PLAIN.replace(b'"x"', b'"\\q"'), id="no-such-escape"),
        pytest.param(b"data: [DONE]\n\n", id="done"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_every_other_event_is_left_to_be_read(piece: bytes) -> None:
    """What is wrong with it must be found, and what it tells must be heard."""
    known = learnt(fields("first"))
    assert known is not None
    assert known.read(PLAIN) == ("x", PLAIN)
    assert known.read(piece) is None


@pytest.mark.parametrize("filler", ['"a"b"', '"a\\"', '"a', '"\x00"', "7"])
def test_a_filler_is_a_string_or_all_is_read(filler: str) -> None:
    """It is passed on unseen otherwise."""
    known = learnt(fields("first", obfuscation="xyz"))
    assert known is not None
    assert known.read(event(fields("x", obfuscation="f")).replace(b'"f"', filler.encode())) is None


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(event(fields('"')), id="escaped"),
        pytest.param(event(fields("x", note={"content": "y"})), id="another-content"),
        pytest.param(b"event: message\n" + PLAIN, id="with-a-type"),
        pytest.param(PLAIN.replace(b'"content":"x"', b'"content": "x"'), id="spaced"),
        pytest.param(
            event({"note": {"content": "y"}} | fields("x")).replace(b'"content":"x"', b'"content" :"x"'),
            id="a-content-that-is-not-the-text",
        ),
    ],
)
def test_what_cannot_be_cut_is_not_learnt(raw: bytes) -> None:
    """The text has to be the only one of its name, and to stand as it says."""
    said = orjson.loads(raw[raw.index(b"{") :])
    assert alike(raw, said, raw) is None


def test_what_the_client_gets_has_to_be_cut_alike() -> None:
    """A text that its event has under another name as well, or no filler, is none to copy."""
    said = fields("x", obfuscation="f")
    assert learnt(said, fields("x")) is None
    assert learnt(said, {**said, "note": {"content": "x"}}) is None
