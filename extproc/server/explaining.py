"""``POST /explain``: ``{"body": …, "path": …, "headers": …, "key": …, "decision": …}``; only the body is needed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from extproc.admission.keyring import ANYONE, Key
from extproc.errors import InvalidRequest, PathNotFound
from extproc.exchange.explanation import Explanation, explain, request_headers
from extproc.exchange.snapshot import Snapshot
from extproc.openai.json_text import JsonTextError, member, parse_object
from extproc.routing.health import UNKNOWN, BackendState

_KEYS: Final = {"body": dict, "path": str, "headers": dict, "key": str, "decision": str}


def explain_request(asked: bytes, snapshot: Snapshot, states: Mapping[str, BackendState]) -> Explanation:
    """What would become of the request that ``asked`` describes. Raises ClientError, as the request itself would."""
    fields = _read(asked)
    path = fields.get("path", "/v1/chat/completions")
    headers = {str(name): str(value) for name, value in fields.get("headers", {}).items()}
    try:
        seen = request_headers(path, headers)
    except KeyError:
        message = f"Unknown path: {path}."
        raise PathNotFound(message) from None
    return explain(
        seen,
        member(asked, "body") or b"",
        snapshot=snapshot,
        now=time.time(),
        decision_id=fields.get("decision") or secrets.token_hex(8),
        key=_key(fields.get("key"), snapshot),
        states=_Known(states),
    )


def _key(name: str | None, snapshot: Snapshot) -> Key:
    """Who is to be asking. A key is named, not shown: its secret has no business here."""
    if name is None:
        return ANYONE
    key = snapshot.keys.named(name)
    if key is None:
        message = f"No key is called '{name}'."
        raise InvalidRequest(message, param="key")
    return key


class _Known:
    def __init__(self, states: Mapping[str, BackendState]) -> None:
        self._states = states

    def state(self, backend: str) -> BackendState:
        return self._states.get(backend, UNKNOWN)


def _read(asked: bytes) -> dict[str, Any]:
    try:
        fields = parse_object(asked)
    except JsonTextError as error:
        message = f"We could not parse the JSON body of your request: {error}."
        raise InvalidRequest(message) from None
    for name, value in fields.items():
        if name not in _KEYS:
            message = f"Unknown key '{name}': there are {', '.join(_KEYS)}."
            raise InvalidRequest(message, param=name)
        if not isinstance(value, _KEYS[name]):
            kind = "an object" if _KEYS[name] is dict else "a string"
            message = f"Invalid type for '{name}': expected {kind}."
            raise InvalidRequest(message, param=name)
    if "body" not in fields:
        message = "Missing required parameter: 'body', the client's request."
        raise InvalidRequest(message, param="body")
    return fields
