"""Numbers that look drawn and are computed: the same on every worker, after every restart, in every release.

Not Python's ``hash``, which differs from process to process. One digest serves both kinds of choice: keyed by a unit
such as a user it keeps that unit where it is, keyed by a decision's own id it is a fresh draw.
"""

from __future__ import annotations

from hashlib import blake2b
from math import log
from typing import Final

_RANGE: Final = 1 << 64


def share(*key: str) -> float:
    """Uniform in (0, 1) over keys; a key always has the same."""
    digest = blake2b("\0".join(key).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) + 0.5) / _RANGE


def arrival(unit: str, name: str, weight: int) -> float:
    """When ``name`` arrives in a race over ``unit``, exponential with rate ``weight``; the earliest wins.

    Weighted rendezvous hashing: each wins by its share of the weights, the next of those left by theirs, and one that
    joins or leaves moves no unit between the others.
    https://www.snia.org/sites/default/files/SDC15_presentations/dist_sys/Jason_Resch_New_Consistent_Hashings_Rev.pdf
    """
    return -log(share(unit, name)) / weight
