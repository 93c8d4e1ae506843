"""A shell on a pseudo-terminal, for one connection: what is sent to an instance and run by its own Python.

It needs nothing but Python 3.6 and takes a port, a secret and perhaps an address as arguments. It listens
before it goes into the background, so that who has started it can connect at once. What comes in are frames:
a byte that says what (0 keys, 1 size), two bytes of length, and the data; what goes out is the terminal's
output as it is.
"""

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import sys
import termios
from typing import Any

#: Who has started it connects within so many seconds, or nobody does.
PATIENCE = 30


def exactly(connection: socket.socket, size: int) -> bytes:
    """Receive `size` bytes; fewer only at the end of the connection."""
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data


def serve(connection: socket.socket) -> None:
    """Connect a shell with a connection until one of the two ends."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        for shell in ("/bin/bash", "/bin/sh"):
            if os.access(shell, os.X_OK):
                os.execv(shell, [shell, "-i"])  # noqa: S606
        os._exit(127)
    try:
        while True:
            sources: list[Any] = [connection, terminal]
            ready = select.select(sources, [], [])[0]
            if terminal in ready:
                try:
                    output = os.read(terminal, 65536)
                except OSError:
                    return
                if not output:
                    return
                connection.sendall(output)
            if connection in ready:
                head = exactly(connection, 3)
                if len(head) < 3:
                    return
                kind, size = struct.unpack("!BH", head)
                data = exactly(connection, size)
                if kind == 0:
                    os.write(terminal, data)
                elif len(data) == 4:
                    columns, rows = struct.unpack("!HH", data)
                    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    finally:
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGHUP)


def main() -> None:
    """Listen, go into the background, and serve the one who knows the secret."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # the instance's own network is the VPN: there is nobody else on it
    address = sys.argv[3] if len(sys.argv) > 3 else "0.0.0.0"  # noqa: S104
    listener.bind((address, int(sys.argv[1])))
    listener.listen(1)
    if os.fork():
        os._exit(0)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    listener.settimeout(PATIENCE)
    connection = listener.accept()[0]
    listener.close()
    connection.settimeout(None)
    secret = sys.argv[2].encode()
    if exactly(connection, len(secret)) == secret:
        serve(connection)
    connection.close()


if __name__ == "__main__":
    main()
