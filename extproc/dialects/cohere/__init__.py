"""Cohere's API, version 2: chat and embed."""

from extproc.dialects.cohere.embeddings import CohereEmbeddings
from extproc.dialects.cohere.translator import CohereTranslator

__all__ = ["CohereEmbeddings", "CohereTranslator"]
