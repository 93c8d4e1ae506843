"""Ports of this machine, which proxies listen on."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from golem_nb import arguments

__all__ = ["listening_on", "local_port"]


def local_port(name: str, value: object) -> int:
    """Read a port to listen on; 0 is any that is free.

    Raises
    ------
    TypeError
        It is not a whole number.
    ValueError
        It is too small or too large.
    """
    port = arguments.number(value)
    if not isinstance(port, int):
        raise TypeError(f"{name} must be a whole number, not {value!r:.100}")
    if not 0 <= port <= 65535:
        raise ValueError(f"{port} is no port: give one from 1 to 65535, or 0 for any that is free")
    return port


@contextmanager
def listening_on(address: str, port: int) -> Iterator[None]:
    """Say which port it is that somebody else has, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(
                error.errno, f"Port {port} of {address} is in use: choose another one, or 0 for any"
            ) from error
        raise
