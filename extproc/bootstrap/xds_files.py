"""Envoy's filesystem xDS: whole files, put in place at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson

CLUSTERS: Final = "cds.json"
LISTENERS: Final = "lds.json"


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write aside and rename: Envoy watches for the move and never sees half a file."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    aside.replace(path)
