"""What a fault is: a value that turns the reply a provider would give into another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from tests.fakes.steps import Reply


class Fault(ABC):
    """The base of all faults."""

    __slots__ = ()

    @abstractmethod
    def apply(self, reply: Reply) -> Reply:
        """The reply as this fault spoils it."""

    def __or__(self, other: Fault) -> Fault:
        """Both, this one first."""
        return Together((self, other))


@dataclass(frozen=True, slots=True)
class Together(Fault):
    """Several faults of one reply, in order; usually written with ``|``."""

    faults: tuple[Fault, ...]

    def apply(self, reply: Reply) -> Reply:
        for fault in self.faults:
            reply = fault.apply(reply)
        return reply
