"""OpenAI's own wire format, as spoken by OpenAI, Azure, vLLM, Ollama, Mistral, KServe and many others."""

from extproc.dialects.openai_compatible.nested import each, tools_by_choice
from extproc.dialects.openai_compatible.quirks import Quirks
from extproc.dialects.openai_compatible.translator import OpenAITranslator

__all__ = ["OpenAITranslator", "Quirks", "each", "tools_by_choice"]
