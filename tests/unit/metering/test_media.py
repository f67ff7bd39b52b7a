"""Images, sounds and files by the providers' formulas, from the first bytes of their data alone."""

from __future__ import annotations

import base64
import struct
from typing import Final

import pytest

from extproc.metering.estimate import estimate_input
from extproc.metering.image_size import data_url_bytes, image_size
from extproc.metering.media import audio_tokens, file_tokens, image_tokens
from extproc.openai.call import Operation


def data_url(data: bytes, kind: str = "image/png") -> str:
    """As clients write it."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def png(width: int, height: int) -> bytes:
    """The beginning of one."""
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + b"\x08\x06\x00\x00\x00" * 40


def jpeg(width: int, height: int) -> bytes:
    """With a thumbnail and a table before the frame, as cameras write them."""
    segments = b"\xff\xe1" + struct.pack(">H", 40_002) + b"\x00" * 40_000 + b"\xff\xc4\x00\x04\x00\x00"
    return b"\xff\xd8" + segments + b"\xff\xc2\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x00" * 20


def webp(kind: bytes, body: bytes) -> bytes:
    """A RIFF container with one chunk."""
    return b"RIFF\x00\x00\x00\x00WEBP" + kind + b"\x00\x00\x00\x00" + body + b"\x00" * 40


LOSSY: Final = webp(b"VP8 ", b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", 640 | 1 << 14, 480))
LOSSLESS: Final = webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14))
EXTENDED: Final = webp(b"VP8X", b"\x00\x00\x00\x00" + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"))


@pytest.mark.parametrize(
    "image",
    [png(640, 480), b"GIF89a" + struct.pack("<HH", 640, 480) + b"\x00" * 9, jpeg(640, 480), LOSSY, LOSSLESS, EXTENDED],
    ids=["png", "gif", "jpeg", "webp-lossy", "webp-lossless", "webp-extended"],
)
def test_size_is_read_from_the_header(image: bytes) -> None:
    """Of each format that providers take."""
    assert image_size(data_url(image)) == (640, 480)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,%%%%",
        "data:image/png;base64,\u20ac\u20ac\u20ac\u20ac",
        data_url(b"\x89PNG\r\n\x1a\n"),
        data_url(b"\xff\xd8\xff"),
        data_url(b"\xff\xd8\xff\xe1\x00\x00" * 10),
        data_url(webp(b"VP9 ", b"")),
        data_url(b"<svg/>"),
        "",
    ],
)
def test_size_is_not_known_when_there_is_no_such_header(url: str) -> None:
    """A client may write anything."""
    assert image_size(url) is None


def test_no_more_is_decoded_than_is_asked_for() -> None:
    """An image may have twenty megabytes."""
    assert data_url_bytes(data_url(b"abcdef" * 100), 6) == b"abcdef"


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        # The examples of https://platform.openai.com/docs/guides/images-vision#calculating-costs
        ("gpt-4o", (1_024, 1_024), "high", 765),
        ("gpt-4o", (2_048, 4_096), "high", 1_105),
        ("gpt-4o", (4_096, 8_192), "low", 85),
        ("gpt-4o", (512, 512), "auto", 255),
        ("gpt-4o-mini", (1_024, 1_024), "high", 25_501),
        ("o1", (1_024, 1_024), "high", 675),
        ("gpt-5", (1_024, 1_024), "high", 630),
        ("gpt-4.1-mini", (1_024, 1_024), "high", 1_658),
        ("o4-mini", (1_024, 1_024), "high", 1_761),
        ("gpt-4.1-nano", (4_000, 4_000), "high", 3_778),
        # The table of https://platform.claude.com/docs/en/build-with-claude/vision
        ("claude-sonnet-4-5", (200, 200), "", 54),
        ("claude-sonnet-4-5", (1_000, 1_000), "", 1_334),
        ("claude-sonnet-4-5", (8_000, 8_000), "", 1_568),
        ("claude-opus-5", (8_000, 8_000), "", 4_784),
        # https://ai.google.dev/gemini-api/docs/tokens
        ("gemini-2.5-flash", (384, 384), "", 258),
        ("gemini-2.5-flash", (600, 400), "", 258),
        ("gemini-2.5-flash", (1_000, 1_000), "", 1_032),
        ("own-model", (1_024, 1_024), "high", 765),
    ],
)
def test_images_count_as_published(model: str, size: tuple[int, int], detail: str, tokens: int) -> None:
    """By model, size and detail."""
    assert image_tokens(model, data_url(png(*size)), detail) == tokens


def test_image_elsewhere_is_taken_for_a_usual_one() -> None:
    """Nothing is fetched to be measured."""
    assert image_tokens("gpt-4o", "https://example.com/cat.jpg", "auto") == 765


@pytest.mark.parametrize(("model", "tokens"), [("gpt-4o-audio-preview", 101), ("gemini-2.5-flash", 321)])
@pytest.mark.parametrize("rate", [48_000, 32_000])
def test_sounds_count_by_their_length(model: str, tokens: int, rate: int) -> None:
    """Ten seconds; the header says how many bytes a second has."""
    head = b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00" + struct.pack("<II", rate // 2, rate)
    data = base64.b64encode(head + b"\x00" * (10 * rate - len(head))).decode()
    assert audio_tokens(model, data, "wav") == tokens
    assert audio_tokens(model, base64.b64encode(b"\x00" * 160_000).decode(), "mp3") == tokens


@pytest.mark.parametrize(("model", "tokens"), [("gpt-4o", 6_000), ("gemini-2.5-flash", 516)])
def test_documents_count_by_their_pages(model: str, tokens: int) -> None:
    """Where they can be seen; else by their size."""
    two = b"%PDF-1.7 /Type /Pages /Type /Page /Type/Page\n"
    assert file_tokens(model, data_url(two, "application/pdf")) == tokens
    assert file_tokens(model, data_url(b"%PDF-1.7" + b"\x00" * 60_000, "application/pdf")) == tokens


def test_text_files_count_by_their_bytes() -> None:
    """Four to a token."""
    assert file_tokens("gpt-4o", data_url(b"word" * 300, "text/plain")) == pytest.approx(300, rel=0.05)


def test_parts_of_a_message_are_counted_together() -> None:
    """Each adds its own, and none is exact."""
    parts = [
        {"type": "text", "text": "hello world"},
        {"type": "image_url", "image_url": {"url": data_url(png(512, 512)), "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"\x00" * 16_000).decode(), "format": "mp3"}},
        {"type": "file", "file": {"file_data": data_url(b"word" * 40, "text/plain")}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "refusal", "refusal": "hello"},
        "nonsense",
    ]
    fields = {"messages": [{"role": "user", "content": parts}]}
    estimate = estimate_input(fields, Operation.CHAT, "gpt-4o")
    assert estimate.tokens == 9 + 85 + 11 + 44 + 1
    assert not estimate.exact
