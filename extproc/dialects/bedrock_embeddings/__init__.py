"""Embeddings through Bedrock's InvokeModel, where each maker's models have a format of their own."""

from extproc.dialects.bedrock_embeddings.cohere import CohereEmbeddings
from extproc.dialects.bedrock_embeddings.titan import TitanEmbeddings

__all__ = ["CohereEmbeddings", "TitanEmbeddings"]
