"""A worker starts quickly: what only some configs need is imported by those."""

from __future__ import annotations

import subprocess
import sys

LOOK = """
import sys
import extproc.server.child
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
HEAVY = {
    "azure",
    "bpe_openai",
    "envoy_data_plane",
    "genai_prices",
    "httpx",
    "opentelemetry",
    "psycopg",
    "redis",
    "splintr",
    "sqlalchemy",
}


def test_nothing_heavy_is_imported_before_the_config_is_known() -> None:
    """Every worker would wait for it, and keep its memory."""
    ran = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    imported = set(ran.stdout.split())
    assert "extproc" in imported
    assert HEAVY & imported == set()
