"""Vertex AI against the goldens of AI Studio and of Anthropic: the same requests, but for what is known to differ."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extproc.dialects.anthropic import AnthropicTranslator
from extproc.dialects.anthropic.hosting import VERTEX
from extproc.dialects.gemini import GeminiTranslator
from tests.golden.dialects import DIALECTS, cases, encode

GEMINI = next(dialect for dialect in DIALECTS if dialect.name == "gemini")
CLAUDE = next(dialect for dialect in DIALECTS if dialect.name == "anthropic")

GEMINI_DIFFERS = {
    "image_address_of_gemini_2": "Google Cloud fetches addresses for it",
    "image_address_without_a_suffix": "Google Cloud wants to be told the type",
    "knobs": "metadata is labels",
    "metadata_of_odd_characters": "those that can be",
    "everything_at_once": "as above",
    "user": "and so is the user",
    "safety_identifier": "whom it names as well",
}
CLAUDE_DIFFERS = {
    "image_address": "Claude fetches nothing there",
    "everything_at_once": "nor here",
    "image_of_a_local_file": "nor is it asked which address this is",
    "file_in_s3": "nor here, where a picture is an address",
    "image_address_of_gemini_2": "nor here",
    "image_address_without_a_suffix": "nor here",
    "file_address": "nor documents",
}


def golden(case: Path, dialect: str) -> Any:
    """What the other platform is sent."""
    return json.loads((case / f"{dialect}.request.json").read_bytes())


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_gemini_is_asked_as_at_ai_studio(case: Path) -> None:
    """One dialect; the differences are a table, and each is one."""
    written = encode(case, replace(GEMINI, translator=GeminiTranslator(cloud=True)))
    assert (written != golden(case, "gemini")) == (case.name in GEMINI_DIFFERS)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_claude_is_asked_as_at_anthropic(case: Path) -> None:
    """But that the version stands in the body, and the model in the path."""
    expected = golden(case, "anthropic")
    if "body" in expected:
        rest = {name: value for name, value in expected["body"].items() if name != "model"}
        expected["body"] = {"anthropic_version": "vertex-2023-10-16", **rest}
    written = encode(case, replace(CLAUDE, translator=AnthropicTranslator(hosting=VERTEX)))
    assert (written != expected) == (case.name in CLAUDE_DIFFERS)
    if case.name in CLAUDE_DIFFERS:
        assert written["refused"]["code"] == "unsupported_feature"
