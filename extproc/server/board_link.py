"""A worker's end of the board: what it has seen goes to the keeper, what all have seen comes back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Final

from extproc.exchange.attempt import Attempt
from extproc.exchange.observation import observe, observe_broken_off
from extproc.exchange.outcome import Outcome
from extproc.routing.board import Observation, Result
from extproc.routing.health import UNKNOWN, BackendState, Circuit
from extproc.server.control import Known, Seen

_GATHER: Final = 0.05
"""Seconds for which successes wait to be told together. A failure does not wait."""
_FIELDS: Final = tuple(field.name for field in fields(Observation))


class BoardLink:
    """One per worker; what it knows is what the keeper told last. ``tell`` must not block."""

    def __init__(self, tell: Callable[[Seen], None]) -> None:
        self._tell = tell
        self._states: dict[str, BackendState] = {}
        self._in_flight: Counter[str] = Counter()
        self._observations: list[Observation] = []
        self._probes: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def state(self, backend: str) -> BackendState:
        """See ``extproc.routing.health.BackendStates``."""
        state = self._states.get(backend, UNKNOWN)
        if state.probe_until is not None and time.time() >= state.probe_until:
            # By now it may be another worker's.
            self._states[backend] = state = replace(state, circuit=Circuit.OPEN, probe_until=None)
        return state

    def known(self, known: Known) -> None:
        """What the keeper tells."""
        self._states |= {
            backend: BackendState(**fields | {"circuit": Circuit(fields["circuit"])})
            for backend, fields in known.states.items()
        }

    def planned(self, backend: str) -> bool:
        """A plan begins with this backend: where that is a probe, there is no other until the keeper gives one."""
        state = self.state(backend)
        if state.circuit is not Circuit.HALF_OPEN:
            return False
        self._states[backend] = replace(state, circuit=Circuit.OPEN, probe_until=None)
        self._probes.append(backend)
        self._flush()
        return True

    def dropped(self, backend: str) -> None:
        """What was planned as a probe goes nowhere: the next request may be one."""
        self._observations.append(Observation(backend=backend, result=Result.NEUTRAL, probe=True))
        self._flush()

    def begun(self, attempt: Attempt) -> None:
        """An attempt begins; ``ended`` follows."""
        self._in_flight[attempt.target.backend] += 1
        broken_off = observe_broken_off(attempt)
        if broken_off is None:
            self._flush_soon()
        else:
            self._observations.append(broken_off)
            self._flush()

    def ended(self, outcome: Outcome) -> None:
        """An attempt is over."""
        self._in_flight[outcome.backend] -= 1
        observation = observe(outcome, now=time.time())
        self._observations.append(observation)
        if observation.result is Result.FAILURE:
            self._flush()
        else:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHER, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        observations, self._observations = self._observations, []
        probes, self._probes = self._probes, []
        self._tell(
            Seen(
                # Shallow: asdict would copy every value, at fifty times the cost.
                observations=[{name: getattr(one, name) for name in _FIELDS} for one in observations],
                in_flight={backend: count for backend, count in self._in_flight.items() if count > 0},
                probes=probes,
            )
        )
