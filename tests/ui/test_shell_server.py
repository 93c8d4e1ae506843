from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from golem_nb.ui import shell

SERVER = Path(shell.__file__).with_name("shell_server.py")


def start() -> tuple[int, str]:
    """Run a server as an instance does, but on loopback; it goes into the background."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    secret = secrets.token_hex(8)
    subprocess.run(
        [sys.executable, "-c", SERVER.read_text(), str(port), secret, "127.0.0.1"], timeout=20, check=True
    )
    return port, secret


def frame(kind: int, data: bytes) -> bytes:
    return struct.pack("!BH", kind, len(data)) + data


def read_until(connection: socket.socket, wanted: bytes) -> bytes:
    found = b""
    deadline = time.monotonic() + 20
    while wanted not in found:
        assert time.monotonic() < deadline, found
        piece = connection.recv(65536)
        assert piece, found
        found += piece
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is for the Linux of an instance")
class TestShellServer:
    def test_a_shell_on_a_terminal(self) -> None:
        port, secret = start()
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.settimeout(20)
            connection.sendall(secret.encode() + frame(1, struct.pack("!HH", 133, 47)))
            connection.sendall(frame(0, b"tty; echo $((6*7)); stty size\n"))
            found = read_until(connection, b"47 133")
            assert b"/dev/pts/" in found
            assert b"42" in found

    def test_an_interrupt_ends_the_command_and_not_the_shell(self) -> None:
        port, secret = start()
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.settimeout(20)
            connection.sendall(secret.encode() + frame(0, b"echo begin; sleep 100\n"))
            read_until(connection, b"begin\r\n")
            time.sleep(0.3)
            connection.sendall(frame(0, b"\x03"))
            connection.sendall(frame(0, b"echo after $((40+2))\n"))
            read_until(connection, b"after 42")

    def test_the_end_of_the_shell_ends_the_connection(self) -> None:
        port, secret = start()
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.settimeout(20)
            connection.sendall(secret.encode() + frame(0, b"exit\n"))
            while connection.recv(65536):
                pass

    def test_who_does_not_know_the_secret_gets_nothing(self) -> None:
        port, secret = start()
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.settimeout(20)
            connection.sendall(b"x" * len(secret) + frame(0, b"echo hello\n"))
            # closed, or reset because something was sent that nobody has read
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100) == b""
