"""One request as a fake received it, and what became of it."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.fakes.steps import HeaderList, Json


class CaseInsensitive(Mapping[str, str]):
    """Headers by name in any case; a repeated header's values are joined with ``, `` as RFC 9110 section 5.3 says."""

    def __init__(self, pairs: HeaderList) -> None:
        self._values: dict[str, str] = {}
        for name, value in pairs:
            known = self._values.get(name.lower())
            self._values[name.lower()] = value if known is None else f"{known}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(eq=False, kw_only=True, repr=False)
class Recorded:
    """A request that arrived whole. The first fields never change; the last ones follow the reply.

    ``number`` counts the requests of a fake from 1, ``connection`` its connections; ``path`` and ``query`` are as sent;
    ``server_name`` is the TLS SNI. Times are ``time.monotonic()`` seconds. ``bytes_sent`` counts what the kernel took,
    headers and framing included, before TLS. ``finished`` means that the reply's plan ran to its end, also where that
    end is a planned cut; ``client_disconnected_at`` that the client left before.
    """

    number: int
    connection: int
    method: str
    path: str
    query: str
    header_list: HeaderList
    body: bytes
    received_at: float
    wants_close: bool
    server_name: str | None

    fault: object = None
    bytes_sent: int = 0
    finished: bool = False
    client_disconnected_at: float | None = None
    headers: CaseInsensitive = field(init=False)

    def __post_init__(self) -> None:
        self.headers = CaseInsensitive(self.header_list)

    @functools.cached_property
    def json(self) -> Json:
        """The body as a JSON object; ValueError when it is none."""
        document = json.loads(self.body)
        if not isinstance(document, dict):
            raise ValueError(f"the body is JSON, but no object: {type(document).__name__}")  # noqa: TRY004  as for bad JSON
        return document

    def __repr__(self) -> str:
        """Without headers: they hold credentials."""
        end = (
            "finished"
            if self.finished
            else "open"
            if self.client_disconnected_at is None
            else "abandoned by the client"
        )
        fault = "" if self.fault is None else f", {self.fault!r}"
        return (
            f"<{self.number}: {self.method} {self.path}, {len(self.body)} bytes, {end}, {self.bytes_sent} sent{fault}>"
        )
