"""Free ports that stay free until they are used."""

from __future__ import annotations

import socket

__all__ = ["PortReservation"]


class PortReservation:
    """A TCP port of the loopback interface, kept for a program that will listen on it.

    The port is bound here but not listened on, with `SO_REUSEADDR` set. A program that sets that option
    too, as the daemon does, can bind and listen on it; nobody is given it as a free port meanwhile.

    Parameters
    ----------
    port
        The port wanted; 0 for any free one.

    Raises
    ------
    OSError
        The port is in use.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(("127.0.0.1", port))
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Give the reservation up; the program that listens on the port keeps it."""
        self._socket.close()
