"""What takes long to import, or much memory, is imported by those who need it."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOOK = """
import sys
from extproc.exchange.snapshot import compile_snapshot
from extproc.exchange.pricing import load_vocabularies, look_up_prices
from extproc.config.load import load
from extproc.providers.registry import PROVIDERS, SETTINGS
from extproc.metering.estimate import rough_input
from extproc.openai.call import Operation

text = b'''
backends: {x: {BACKEND}}
routes: {r: {models: [m], defaultBackend: {name: x}}}
'''
config = load(text, SETTINGS).config
snapshot = compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials={"x": lambda: None})
look_up_prices(snapshot)
if LOAD:
    load_vocabularies(snapshot)
rough_input({"messages": [{"role": "user", "content": "hello"}]}, Operation.CHAT, "gpt-4o")
print(sorted({"genai_prices", "bpe_openai", "splintr"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("backend", "load", "imported"),
    [
        ("provider: demo", True, []),
        ("provider: openai, apiKey: {env: K}", False, ["genai_prices"]),
        ("provider: vllm, url: 'http://vllm', model: llama3.2", True, ["genai_prices", "splintr"]),
    ],
)
def test_only_what_is_needed_is_imported(backend: str, imported: list[str], *, load: bool) -> None:
    """A worker loads the vocabularies of the models it serves, and only workers do.

    There is no list of prices for a model that is part of the gateway, and no tokenizer either.
    """
    script = LOOK.replace("BACKEND", backend).replace("LOAD", str(load))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(imported)
