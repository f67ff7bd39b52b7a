"""What images, sounds and files count as, by the formulas that providers publish.

OpenAI: https://platform.openai.com/docs/guides/images-vision#calculating-costs
Anthropic: https://platform.claude.com/docs/en/build-with-claude/vision#evaluate-image-size
Google: https://ai.google.dev/gemini-api/docs/tokens#multimodal-tokens
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from extproc.metering.image_size import Size, data_url_bytes, image_size

_ASSUMED: Final = (1_024, 1_024)
"""An image elsewhere, which is not fetched to be measured."""
_FORMAT_RATES: Final = {"wav": 48_000, "mp3": 16_000, "flac": 60_000, "ogg": 12_000, "opus": 8_000, "aac": 16_000}
"""Bytes a second: 24 kHz in 16 bits for WAV without a header, usual rates for the compressed ones."""
_WAV_RATE: Final = slice(28, 32)
_PDF_PAGE: Final = 30_000
"""Bytes of a page, where nobody can see how many there are: their objects may be compressed."""
_PAGES: Final = re.compile(rb"/Type\s*/Page[^s]")
_PDF_READ: Final = 1 << 20

ImageFormula = Callable[[Size, str], int]


def _tiles(base: int, tile: int) -> ImageFormula:
    """Fit into 2048 × 2048, then the shorter side to 768, then tiles of 512; low detail is the base alone."""

    def tokens(size: Size, detail: str) -> int:
        if detail == "low":
            return base
        width, height = _fitted(size, longest=2_048)
        shorter = min(width, height)
        if shorter > 768:
            width, height = width * 768 // shorter, height * 768 // shorter
        return base + tile * (-(-width // 512)) * (-(-height // 512))

    return tokens


def _patches(percent: int) -> ImageFormula:
    """Patches of 32 × 32, at most 1536, times a factor of the model."""

    def tokens(size: Size, detail: str) -> int:  # noqa: ARG001 - the same for each detail
        width, height = size
        return min(-(-width // 32) * -(-height // 32), 1_536) * percent // 100

    return tokens


def _area(longest: int, most: int) -> ImageFormula:
    """A token for 750 pixels, of an image whose longer side is fitted."""

    def tokens(size: Size, detail: str) -> int:  # noqa: ARG001 - Anthropic has no detail
        width, height = _fitted(size, longest=longest)
        return min(-(-width * height // 750), most)

    return tokens


def _google(size: Size, detail: str) -> int:  # noqa: ARG001 - Gemini has no detail here
    width, height = size
    if width <= 384 and height <= 384:
        return 258
    return 258 * -(-width // 768) * -(-height // 768)


# The first that is found in the name wins; the last is for every other.
_IMAGES: Final[tuple[tuple[re.Pattern[str], ImageFormula], ...]] = tuple(
    (re.compile(pattern), formula)
    for pattern, formula in (
        (r"claude-(fable|mythos)|claude-opus-(4-[789]|[5-9])|claude-(sonnet|haiku)-[5-9]", _area(2_576, 4_784)),
        (r"claude", _area(1_568, 1_568)),
        (r"gemini|gemma", _google),
        (r"gpt-4\.1-nano|gpt-5(\.\d)?-nano", _patches(246)),
        (r"gpt-4\.1-mini|gpt-5(\.\d)?-mini", _patches(162)),
        (r"o4-mini", _patches(172)),
        (r"gpt-4o-mini", _tiles(2_833, 5_667)),
        (r"gpt-5", _tiles(70, 140)),
        (r"(^|[/.:])o[1-3]", _tiles(75, 150)),
        (r"computer-use", _tiles(65, 129)),
        (r"", _tiles(85, 170)),
    )
)


def image_tokens(model: str, url: str, detail: str) -> int:
    """Of an image at an address or in a data URL, of which only the header is read."""
    return _formula(model)(image_size(url) or _ASSUMED, detail)


def audio_tokens(model: str, data: str, kind: str) -> int:
    """Of an ``input_audio`` by its base64 data: Gemini has 32 tokens a second, OpenAI 10."""
    rate = _FORMAT_RATES.get(kind, _FORMAT_RATES["mp3"])
    head = data_url_bytes(f"data:,{data[:64]}", 44)
    if head[:4] == b"RIFF":
        rate = int.from_bytes(head[_WAV_RATE], "little") or rate
    return _size(data) * (32 if "gemini" in model.lower() else 10) // rate + 1


def file_tokens(model: str, url: str) -> int:
    """Of a ``file`` by its data URL: a PDF by its pages, a text by its bytes."""
    if not url.startswith("data:application/pdf"):
        return _size(url) // 4
    data = data_url_bytes(url, _PDF_READ)
    pages = len(_PAGES.findall(data)) or max(_size(url) // _PDF_PAGE, 1)
    # Google: 258 a page. Anthropic: 1,500 to 3,000 of text and an image of each page besides; OpenAI does likewise.
    return pages * (258 if "gemini" in model.lower() else 3_000)


def _size(base64: str) -> int:
    return len(base64) * 3 // 4


def _fitted(size: Size, *, longest: int) -> Size:
    longer = max(size)
    return size if longer <= longest else (size[0] * longest // longer, size[1] * longest // longer)


@lru_cache(maxsize=1_024)
def _formula(model: str) -> ImageFormula:
    name = model.lower()
    return next(formula for pattern, formula in _IMAGES if pattern.search(name))
