"""Amazon Titan's embeddings: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html"""

from __future__ import annotations

from dataclasses import dataclass

from extproc.dialects.bedrock_embeddings.invoked import InvokedEmbeddings, Json, Vectors
from extproc.errors import UnsupportedFeature


@dataclass(frozen=True, slots=True, kw_only=True)
class TitanEmbeddings(InvokedEmbeddings):
    """The Translator of ``amazon.titan-embed-text-*``, which takes one text a call."""

    def _body(self, texts: list[str], dimensions: int | None, model: str) -> Json:
        if len(texts) > 1:
            raise UnsupportedFeature(
                f"This model embeds one text a call, but 'input' has {len(texts)}: send them one by one, "
                "or ask a model that takes many, such as cohere.embed-v4:0.",
                param="input",
            )
        if dimensions is not None and "embed-text-v1" in model:
            raise UnsupportedFeature("This model cannot choose its 'dimensions'.", param="dimensions")
        return {"inputText": texts[0], **({} if dimensions is None else {"dimensions": dimensions})}

    def _read(self, fields: Json) -> tuple[Vectors, int | None]:
        count = fields.get("inputTextTokenCount")
        return [fields["embedding"]], count if isinstance(count, int) and not isinstance(count, bool) else None
