"""``GET /v1/models``: the list and the single model (https://platform.openai.com/docs/api-reference/models)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson


def _model(name: str, *, created: int, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner}


def model_body(name: str, *, created: int, owner: str) -> bytes:
    """One model object. ``created`` is Unix seconds."""
    return orjson.dumps(_model(name, created=created, owner=owner))


def model_list_body(models: Iterable[tuple[str, str]], *, created: int) -> bytes:
    """``models`` are (name, owner) pairs."""
    data = [_model(name, created=created, owner=owner) for name, owner in models]
    return orjson.dumps({"object": "list", "data": data})
