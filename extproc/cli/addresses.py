"""Addresses as they are given on the command line."""

from __future__ import annotations

import typer

from extproc.config.scalars import parse_address

_UNIX = "unix:"


def check_place(address: str) -> str:
    """``host:port`` or ``unix:/path``, as it was given. Raises typer.BadParameter for anything else."""
    if address.startswith(_UNIX):
        if not address.removeprefix(_UNIX).startswith("/"):
            message = f"{address!r} needs an absolute path: unix:/path"
            raise typer.BadParameter(message)
        return address
    return check_host_and_port(address)


def check_host_and_port(address: str) -> str:
    """``host:port``. Raises typer.BadParameter for anything else."""
    try:
        return str(parse_address(address))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
