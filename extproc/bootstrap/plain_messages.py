"""Envoy's message types as plain dataclasses: a start of the gateway needs them, and their checks only costs time."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import pydantic.dataclasses


@contextlib.contextmanager
def plain_messages() -> Iterator[None]:
    """What is imported of envoy-data-plane inside the block does not check its values when it is made.

    For that pydantic makes a schema of each of six hundred classes, a third of the CPU that a start takes. Types are
    mypy's to check and values Envoy's. The package knows no switch for it; its classes are dataclasses either way.
    """
    checking = pydantic.dataclasses.dataclass
    pydantic.dataclasses.dataclass = _plain  # type: ignore[assignment] # for as long as the block lasts
    try:
        yield
    finally:
        pydantic.dataclasses.dataclass = checking


def _plain(**options: bool) -> Callable[[type], type]:
    """``config`` is pydantic's own."""
    return dataclasses.dataclass(**{name: value for name, value in options.items() if name != "config"})
