"""KServe's LLM runtimes: https://kserve.github.io/website/latest/modelserving/v1beta1/llm/huggingface/"""

from __future__ import annotations

from typing import ClassVar, Literal

from extproc.config.backends import Backend
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.openai.call import Call, Operation
from extproc.providers.base import OPENAI_PATHS, Environment, Provider, bearer, versioned_path


class Settings(Backend):
    """A KServe inference service; its OpenAI API lives under ``/openai/v1``."""

    health_path: ClassVar[str | None] = "/v2/health/ready"
    provider: Literal["kserve"]


def _path(settings: Backend, call: Call, model: str) -> str:  # noqa: ARG001 - the model stands in the body
    return versioned_path(settings.url, prefix="/openai") + OPENAI_PATHS[call.operation]


KSERVE = Provider(
    name="kserve",
    settings=Settings,
    offers={"openai_compatible": dict.fromkeys(Operation, OpenAITranslator())},
    path=_path,
    authorize=bearer,
    environment=Environment(url="KSERVE_URL"),
)
