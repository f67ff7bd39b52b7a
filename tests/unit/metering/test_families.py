"""Which tokenizer is taken for which model's name."""

from __future__ import annotations

import base64
import gzip
from importlib.metadata import distribution
from pathlib import Path

import pytest

from extproc.metering.families import _FAMILIES, UNKNOWN, family_of
from extproc.metering.vocabularies import vocabulary


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-2024-08-06", "o200k_base"),
        ("gpt-4.1-mini", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("openai/o1", "o200k_base"),
        ("openai/gpt-oss-120b", "o200k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama3"),
        ("meta.llama3-1-8b-instruct-v1:0", "llama3"),
        ("llama2:7b", "llama2"),
        ("codellama", "codellama"),
        ("mistral", "mistral_v1"),
        ("open-mixtral-8x22b", "mistral_v2"),
        ("mistral-large-latest", "mistral_v3"),
        ("codestral-latest", "mistral_v3"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen3"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "qwen3"),
        ("deepseek-chat", "deepseek_v3"),
        ("google/gemma-2-9b-it", "gemma2"),
        ("gemma3:4b", "gemma3"),
        ("gemini-2.5-flash", "gemma3"),
        ("glm-4.5", "glm4"),
        ("kimi-k2", "kimi_k2"),
        ("phi-4", "phi4"),
    ],
)
def test_model_has_its_own_tokenizer(model: str, name: str) -> None:
    """However a server spells the name."""
    assert family_of(model).vocabulary == name
    assert family_of(model).exact


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "command-r", "meta-llama/Llama-4-Scout", "qwen3.5", "whatever"])
def test_model_without_one_is_never_said_to_be_exact(model: str) -> None:
    """Another's vocabulary is an estimate."""
    assert not family_of(model).exact


def test_unknown_model_is_scaled() -> None:
    """A window is better not overrun."""
    assert family_of("who-knows") is UNKNOWN
    assert UNKNOWN.percent > 100


@pytest.mark.parametrize("name", sorted({family.vocabulary for _, family in _FAMILIES}))
def test_every_vocabulary_loads_and_counts(name: str) -> None:
    """All that the table names are bundled with the libraries."""
    words = vocabulary(name)
    assert 2 <= words.count("Hello world, hello!") <= 9
    assert words.count("") == 0
    assert words.count_until("Hello world", 1) is None
    assert words.count_until("Hello world", 9) == words.count("Hello world")
    # What spells a control token is text like any other: a client cannot make a prompt look shorter.
    assert words.count("<|endoftext|><|im_start|><s>[INST]") > 4


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_no_token_is_longer_than_is_assumed(name: str) -> None:
    """The least number of tokens is told by it, from the vocabulary itself."""
    file = str(distribution("bpe-openai").locate_file(f"bpe_openai/data/{name}.tiktoken.gz"))
    data = gzip.decompress(Path(file).read_bytes())
    longest = max(len(base64.b64decode(line.split()[0])) for line in data.splitlines() if line)
    assert longest <= vocabulary(name).longest
