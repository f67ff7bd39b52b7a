"""The model that is built into the gateway: it answers offline, so that the first call works without an account."""

from extproc.providers.demo.provider import DEMO

__all__ = ["DEMO"]
