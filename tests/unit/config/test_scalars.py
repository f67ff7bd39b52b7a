"""Durations, sizes, addresses and references to secrets: what is taken, what is refused, how it is written back."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from extproc.config.scalars import (
    Duration,
    ListenAddress,
    SecretRef,
    Size,
    format_duration,
    format_size,
    is_duration,
    split_address,
)

_DURATION = TypeAdapter[int](Duration)
_SIZE = TypeAdapter[int](Size)
_ADDRESS = TypeAdapter[str](ListenAddress)


@pytest.mark.parametrize(
    ("text", "milliseconds", "written"),
    [
        pytest.param("250ms", 250, "250ms", id="milliseconds"),
        pytest.param("10s", 10_000, "10s", id="seconds"),
        pytest.param("1.5m", 90_000, "90s", id="fraction"),
        pytest.param("90m", 5_400_000, "90m", id="minutes"),
        pytest.param("2h", 7_200_000, "2h", id="hours"),
        pytest.param(" 5s ", 5_000, "5s", id="spaces"),
        pytest.param("0s", 0, "0ms", id="zero"),
    ],
)
def test_a_duration_is_milliseconds_when_it_has_a_unit(text: str, milliseconds: int, written: str) -> None:
    """And is written back the shortest way."""
    assert _DURATION.validate_python(text) == milliseconds
    assert format_duration(milliseconds) == written
    assert _DURATION.dump_python(milliseconds, mode="json") == written
    assert is_duration(text)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("10", id="no-unit"),
        pytest.param(10, id="number"),
        pytest.param("-1s", id="negative"),
        pytest.param("1d", id="unknown-unit"),
        pytest.param("9" * 400 + "s", id="beyond-any-number"),
        pytest.param("٣s", id="other-digits"),
    ],
)
def test_a_duration_is_refused_when_it_is_not_one(value: object) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValidationError, match="duration"):
        _DURATION.validate_python(value)


@pytest.mark.parametrize(
    ("value", "size", "written"),
    [
        pytest.param(1000, 1000, "1000B", id="number"),
        pytest.param("1000", 1000, "1000B", id="digits"),
        pytest.param("12B", 12, "12B", id="bytes"),
        pytest.param("512KiB", 512 << 10, "512KiB", id="kib"),
        pytest.param("32 MiB", 32 << 20, "32MiB", id="mib-with-space"),
        pytest.param("2GiB", 2 << 30, "2GiB", id="gib"),
        pytest.param(0, 0, "0B", id="zero"),
    ],
)
def test_a_size_is_bytes_when_read(value: object, size: int, written: str) -> None:
    """And is written back the shortest way."""
    assert _SIZE.validate_python(value) == size
    assert format_size(size) == written
    assert _SIZE.dump_python(size, mode="json") == written


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("32MB", id="decimal-unit"),
        pytest.param("x", id="word"),
        pytest.param(True, id="boolean"),  # in Python a whole number
        pytest.param(1.5, id="fraction"),
        pytest.param("9" * 5000, id="beyond-any-number"),
    ],
)
def test_a_size_is_refused_when_it_is_not_one(value: object) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValidationError, match="size"):
        _SIZE.validate_python(value)


@pytest.mark.parametrize(
    ("text", "address", "parts"),
    [
        pytest.param("127.0.0.1:8080", "127.0.0.1:8080", ("127.0.0.1", 8080), id="ipv4"),
        pytest.param(":8080", "0.0.0.0:8080", ("0.0.0.0", 8080), id="every-interface"),
        pytest.param("[::1]:0", "[::1]:0", ("::1", 0), id="ipv6-and-free-port"),
        pytest.param("localhost:65535", "localhost:65535", ("localhost", 65535), id="name"),
    ],
)
def test_an_address_is_host_and_port_when_split(text: str, address: str, parts: tuple[str, int]) -> None:
    """Brackets belong to the address, not to the host."""
    assert _ADDRESS.validate_python(text) == address
    assert split_address(address) == parts


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("8080", id="port-alone"),
        pytest.param("host", id="host-alone"),
        pytest.param("127.0.0.1:65536", id="port-too-high"),
        pytest.param("gateway.example:8080", id="name-of-a-host"),
        pytest.param("::1:80", id="ipv6-without-brackets"),
        pytest.param(8080, id="number"),
    ],
)
def test_an_address_is_refused_when_it_is_not_one(value: object) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValidationError, match="address"):
        _ADDRESS.validate_python(value)


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param({"env": "OPENAI_API_KEY"}, id="environment"),
        pytest.param({"file": "/run/secrets/openai"}, id="file"),
    ],
)
def test_a_secret_is_named_when_it_has_one_source(reference: dict[str, str]) -> None:
    """The reference keeps the name, not the secret."""
    assert SecretRef.model_validate(reference).model_dump(exclude_none=True) == reference


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("sk-1f2e3d", id="inline"),
        pytest.param(12345678, id="inline-number"),
        pytest.param({"env": "sk-1f2e3d"}, id="in-place-of-the-variables-name"),
        pytest.param({}, id="no-source"),
        pytest.param({"env": "sk_1f2e3d", "file": "sk-1f2e3d"}, id="two-sources"),
        pytest.param({"file": ""}, id="empty-file"),
    ],
)
def test_a_secret_is_not_repeated_when_it_is_refused(value: object) -> None:
    """Of pydantic's error only the sentence is shown to anybody; the sentence must not hold it."""
    with pytest.raises(ValidationError) as refusal:
        SecretRef.model_validate(value)
    sentences = " ".join(detail["msg"] for detail in refusal.value.errors())
    assert "1f2e3d" not in sentences
    assert "12345678" not in sentences
