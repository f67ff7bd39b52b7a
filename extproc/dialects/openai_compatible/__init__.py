"""OpenAI's own wire format, as spoken by OpenAI, vLLM, Ollama, Mistral, KServe and many others."""

from extproc.dialects.openai_compatible.translator import OpenAITranslator

__all__ = ["OpenAITranslator"]
