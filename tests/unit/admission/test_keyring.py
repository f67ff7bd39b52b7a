"""Who a request is from: which secrets open, until when, and what their holders may use."""

from __future__ import annotations

import pytest

from extproc.admission.keyring import ANYONE, OPEN, KeyRing, cut_key, hash_secret, spell_hash
from extproc.config.keys import ClientKey
from extproc.errors import InvalidApiKey
from extproc.headers import Headers

NEW, OLD = "kx-the-new-secret-of-the-key", "kx-the-old-secret-of-the-key"
ENTRY = ClientKey.model_validate(
    {
        "name": "ci",
        "hash": spell_hash(hash_secret(NEW)),
        "tenant": "acme",
        "tags": ["nightly"],
        "models": ["gpt-4*", "small"],
        "routes": ["production"],
        "expires": "2026-12-31T00:00:00Z",
        "previous": [{"hash": spell_hash(hash_secret(OLD)), "expires": "2026-06-01"}],
    }
)
RING = KeyRing(cut_key(ENTRY))
MAY, JULY, AFTER = 1_777_593_600.0, 1_782_864_000.0, 1_798_675_200.0


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param((("authorization", f"Bearer {NEW}"),), id="bearer"),
        pytest.param((("authorization", f"bearer  {NEW} "),), id="scheme-in-small-letters"),
        pytest.param((("x-api-key", NEW),), id="x-api-key"),
        pytest.param((("api-key", NEW),), id="api-key"),
        pytest.param((("authorization", f"Bearer {NEW}"), ("x-api-key", "another")), id="authorization-first"),
    ],
)
def test_a_key_is_known_when_sent_in_any_usual_header(headers: tuple[tuple[str, str], ...]) -> None:
    """OpenAI's, Anthropic's and Azure's clients each have their own."""
    caller = RING.identify(Headers(headers), now=JULY).caller
    assert (caller.key, caller.tenant, caller.tags) == ("ci", "acme", ("nightly",))


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        pytest.param((), "didn't provide", id="none"),
        pytest.param((("authorization", "Bearer "),), "didn't provide", id="empty"),
        pytest.param((("authorization", f"Basic {NEW}"),), "didn't provide", id="another-scheme"),
        pytest.param((("authorization", f"Bearer {NEW}x"),), "Incorrect", id="wrong"),
        pytest.param((("authorization", f"Bearer {spell_hash(hash_secret(NEW))}"),), "Incorrect", id="the-hash-itself"),
        pytest.param((("authorization", "Bearer \udcff"),), "Incorrect", id="no-utf-8"),
        pytest.param(
            (("authorization", f"Bearer {NEW}"), ("authorization", f"Bearer {NEW}")), "Incorrect", id="header-twice"
        ),
    ],
)
def test_a_request_is_refused_when_its_key_is_none_of_ours(headers: tuple[tuple[str, str], ...], words: str) -> None:
    """The answer says how to send one, and never what was sent."""
    with pytest.raises(InvalidApiKey, match=words) as caught:
        RING.identify(Headers(headers), now=JULY)
    assert "secret-of-the-key" not in caught.value.message
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


def test_a_secret_opens_until_it_expires_when_it_was_rotated() -> None:
    """Both open in between, as the same key."""
    old, new = (Headers([("authorization", f"Bearer {secret}")]) for secret in (OLD, NEW))
    assert RING.identify(old, now=MAY) is RING.identify(new, now=MAY)
    with pytest.raises(InvalidApiKey, match="expired"):
        RING.identify(old, now=JULY)
    RING.identify(new, now=JULY)
    with pytest.raises(InvalidApiKey, match="expired"):
        RING.identify(new, now=AFTER)


def test_a_former_secret_ends_with_its_key_when_that_is_sooner() -> None:
    """A revoked key is closed with all of its secrets."""
    ring = KeyRing(cut_key(ENTRY.model_copy(update={"expires": "2026-01-01"})))
    with pytest.raises(InvalidApiKey, match="expired"):
        ring.identify(Headers([("x-api-key", OLD)]), now=MAY)


def test_a_key_allows_what_it_names() -> None:
    """Globs for models, names for routes; without a list, everything."""
    key = RING.identify(Headers([("x-api-key", NEW)]), now=JULY)
    names = ("gpt-4", "gpt-4o", "small", "smaller", "gpt-3")
    assert [name for name in names if key.allows_model(name)] == ["gpt-4", "gpt-4o", "small"]
    assert (key.allows_route("production"), key.allows_route("other")) == (True, False)
    assert ANYONE.allows_model("anything")
    assert ANYONE.allows_route("any")


def test_anyone_may_call_when_there_are_no_keys() -> None:
    """Whatever an SDK that insists on a key sends."""
    assert OPEN.identify(Headers([("authorization", "Bearer unused")]), now=MAY) is ANYONE


def test_a_ring_without_keys_opens_to_nobody() -> None:
    """A key file that is still empty is not the same as none."""
    with pytest.raises(InvalidApiKey):
        KeyRing(()).identify(Headers([("x-api-key", NEW)]), now=MAY)
