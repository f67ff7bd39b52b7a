"""Any server that speaks OpenAI's API: https://platform.openai.com/docs/api-reference"""

from __future__ import annotations

from typing import Literal

from extproc.config.backends import Backend
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.openai.call import Operation
from extproc.providers.base import Provider


class Settings(Backend):
    """A server that speaks OpenAI's API."""

    provider: Literal["custom"]


CUSTOM = Provider(
    name="custom",
    settings=Settings,
    offers={"openai_compatible": dict.fromkeys(Operation, OpenAITranslator())},
)
