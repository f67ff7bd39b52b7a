"""Gemini's generateContent: https://ai.google.dev/api/generate-content"""

from extproc.dialects.gemini.embeddings import GeminiEmbeddings, VertexEmbeddings
from extproc.dialects.gemini.translator import GeminiTranslator

__all__ = ["GeminiEmbeddings", "GeminiTranslator", "VertexEmbeddings"]
