from __future__ import annotations

import socket

import pytest

from golem_nb.node.ports import PortReservation


def test_a_program_with_reuseaddr_can_listen_on_it() -> None:
    reserved = PortReservation()
    with socket.socket() as program:
        program.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        program.bind(("127.0.0.1", reserved.port))
        program.listen()
        reserved.release()
        socket.create_connection(("127.0.0.1", reserved.port)).close()


def test_nobody_is_given_it_as_a_free_port() -> None:
    reserved = [PortReservation() for _ in range(200)]
    assert len({one.port for one in reserved}) == 200
    for one in reserved:
        one.release()


def test_a_taken_port_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            PortReservation(taken.getsockname()[1])
