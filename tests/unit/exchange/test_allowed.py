"""What a key may use: at the call, and in the list of models."""

from __future__ import annotations

import orjson
import pytest

from extproc.admission.caller import Caller
from extproc.admission.keyring import Key, KeyRing, cut_key, hash_secret, spell_hash
from extproc.config.keys import ClientKey
from extproc.errors import InvalidApiKey, ModelNotAllowed, ModelNotFound
from extproc.exchange.arrival import Answer, arrive, plan_call
from extproc.exchange.assignment import read_assignment
from extproc.exchange.snapshot import Snapshot
from extproc.headers import ASSIGNMENT, Headers

SECRET = "kx-the-secret-of-this-test"
POST = Headers([(":method", "POST"), (":path", "/v1/chat/completions"), ("x-api-key", SECRET)])


def with_key(snapshot: Snapshot, **fields: object) -> Snapshot:
    """The same config with one key."""
    entry = ClientKey.model_validate({"name": "ci", "hash": spell_hash(hash_secret(SECRET)), **fields})
    changed = {name: getattr(snapshot, name) for name in snapshot.__dataclass_fields__}
    return Snapshot(**changed | {"keys": KeyRing(cut_key(entry))})


def ask(snapshot: Snapshot, model: str) -> str:
    """The route that a call for the model takes; and who its assignment says is calling."""
    key = arrive(POST, has_body=True, snapshot=snapshot, now=0.0)
    assert isinstance(key, Key)
    body = orjson.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]})
    planned = plan_call(POST, body, snapshot=snapshot, now=lambda: 0.0, exchange="e", decision_id="d", key=key)
    assignment = read_assignment(dict(planned.set_headers)[ASSIGNMENT].decode())
    assert assignment.caller == Caller(key="ci", tenant="acme", tags=("a",))
    return assignment.route


def listed(snapshot: Snapshot, path: str = "/v1/models") -> list[str]:
    """The names that the key sees."""
    headers = Headers([(":method", "GET"), (":path", path), ("x-api-key", SECRET)])
    answer = arrive(headers, has_body=False, snapshot=snapshot, now=0.0)
    assert isinstance(answer, Answer)
    body = orjson.loads(answer.body)
    return [model["id"] for model in body.get("data", [body])]


def test_a_key_reaches_only_its_models(snapshot: Snapshot) -> None:
    """A name that is none of its own is refused whether or not there is such a model."""
    own = with_key(snapshot, tenant="acme", tags=["a"], models=["gpt-*"])
    assert (ask(own, "gpt-4"), ask(own, "gpt-5")) == ("exact", "wide")
    for model in ("embed", "no-such-model"):
        with pytest.raises(ModelNotAllowed, match=model) as caught:
            ask(own, model)
        assert (caught.value.status, caught.value.code) == (403, "model_not_allowed")
    assert listed(own) == ["gpt-4"]
    with pytest.raises(ModelNotFound):
        listed(own, "/v1/models/embed")


def test_a_key_reaches_only_its_routes(snapshot: Snapshot) -> None:
    """Here the model's name alone would be in order."""
    own = with_key(snapshot, tenant="acme", tags=["a"], routes=["wide"])
    assert ask(own, "gpt-5") == "wide"
    with pytest.raises(ModelNotAllowed):
        ask(own, "gpt-4")
    with pytest.raises(ModelNotFound):
        ask(own, "no-such-model")
    assert listed(own) == []
    assert listed(own, "/v1/models/gpt-5") == ["gpt-5"]


def test_nothing_is_told_when_there_is_no_key(snapshot: Snapshot) -> None:
    """Not even which paths there are."""
    locked = with_key(snapshot)
    for path in ("/v1/models", "/v1/chat/completions", "/nothing"):
        with pytest.raises(InvalidApiKey):
            arrive(Headers([(":method", "GET"), (":path", path)]), has_body=False, snapshot=locked, now=0.0)
