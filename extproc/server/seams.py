"""What the streams need from the rest of the server, as protocols."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from extproc.admission.settlement import Reservation
from extproc.exchange.attempt import Attempt
from extproc.exchange.charging import Charge
from extproc.exchange.outcome import Outcome
from extproc.exchange.refusal import Refusal
from extproc.exchange.snapshot import Snapshot
from extproc.metering.rates import Price
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.quota.gate import Admission
from extproc.routing.decision import Decision
from extproc.routing.health import BackendStates
from extproc.routing.target import Target


class Context(Protocol):
    """The call that a stream is."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        """What Envoy sent with it."""

    def read(self, *, silent: bool = False, take: Callable[[bytes], bool] | None = None) -> Awaitable[bytes | None]:
        """The next message; None when Envoy has ended the stream. ``silent``: nothing is written meanwhile.

        ``take`` is offered what comes, and says whether the wait goes on for the one after it.
        """

    def write(self, message: bytes) -> None:
        """Send it, at the latest at the next ``await``."""


async def next_message(context: Context, *, silent: bool) -> ProcessingRequest | None:
    """Envoy's next message; None when it has ended the stream. ``silent``: nothing is written meanwhile."""
    message = await context.read(silent=silent)
    return None if message is None else ProcessingRequest.FromString(message)


class Recorder(Protocol):
    """Telemetry, as the streams see it."""

    def refused(self, refusal: Refusal) -> None:
        """Arrival refused the request."""

    def decided(self, decision: Decision) -> None:
        """Arrival knows where the request goes, or that it goes nowhere."""

    def begun(self, attempt: Attempt, request_id: str | None) -> None:
        """An attempt reaches for its provider; ``ended`` follows, whatever happens."""

    def settled(self, outcome: Outcome, request_id: str | None) -> None:
        """How the attempt ends is known; its last words have not been sent yet. What must not be lost is kept here."""

    def ended(self, outcome: Outcome, request_id: str | None) -> None:
        """The attempt is over."""


class Board(BackendStates, Protocol):
    """What is known of the backends, and who must hear of a plan."""

    def planned(self, backend: str) -> bool:
        """A plan begins with this backend. Whether as a probe: as one of the few that may try whether it is back."""

    def dropped(self, backend: str) -> None:
        """What was planned as a probe goes nowhere."""


class Gate(Protocol):
    """Limits and budgets."""

    async def admit(self, charge: Charge) -> Admission:
        """Reserve what the call takes. Raises RateLimited, BudgetExhausted and QuotaUnavailable."""

    async def extend(self, reservation: Reservation, *, tokens: int, price: Price | None) -> Reservation | None:
        """Reserve so many tokens more for a stream; None where its budget has no more."""

    def give_back(self, reservation: Reservation) -> None:
        """No attempt will settle it."""


class Current(Protocol):
    """What a stream begins with."""

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot of this moment."""

    @property
    def targets(self) -> Mapping[str, Target]:
        """Every target that a request under way may name: the snapshot's, and those of the ones before it."""
