"""Cohere's embeddings as Bedrock has them: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from extproc.dialects.bedrock_embeddings.invoked import InvokedEmbeddings, Json, Vectors
from extproc.errors import UnsupportedFeature

_MOST_TEXTS: Final = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class CohereEmbeddings(InvokedEmbeddings):
    """The Translator of ``cohere.embed-*``. It asks for vectors of documents unless the client says otherwise."""

    def _body(self, texts: list[str], dimensions: int | None, model: str) -> Json:
        if len(texts) > _MOST_TEXTS:
            raise UnsupportedFeature(
                f"This model embeds {_MOST_TEXTS} texts a call, but 'input' has {len(texts)}.", param="input"
            )
        size = {} if dimensions is None else {"output_dimension": dimensions}
        if size and "embed-v4" not in model:
            raise UnsupportedFeature("This model cannot choose its 'dimensions'.", param="dimensions")
        return {"texts": texts, "input_type": "search_document", "embedding_types": ["float"], **size}

    def _read(self, fields: Json) -> tuple[Vectors, int | None]:
        vectors = fields["embeddings"]
        # Asked for types, it answers by type; older models answer with the vectors alone.
        return vectors["float"] if isinstance(vectors, dict) else vectors, None
