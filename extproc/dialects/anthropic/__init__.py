"""Anthropic's Messages API, as spoken by Anthropic and, for Claude, by Bedrock and Vertex."""

from extproc.dialects.anthropic.invoke import InvokeTranslator
from extproc.dialects.anthropic.translator import AnthropicTranslator

__all__ = ["AnthropicTranslator", "InvokeTranslator"]
