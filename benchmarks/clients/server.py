"""What the proxies lead to, of the standard library alone: ``python3 server.py HTTP_PORT SOCKET_PORT``.

HTTP: ``GET /N`` gives N bytes, ``POST`` gives the SHA-256 of what it gets. The other port repeats what it is
sent; after a line ``down N`` it sends N bytes.
"""

from __future__ import annotations

import hashlib
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = bytes(range(256)) * 256


class Handler(BaseHTTPRequestHandler):
    """Answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # a small answer is one write, as with other servers

    def _reply(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def do_GET(self) -> None:
        """Send bytes."""
        size = int(self.path[1:])
        self._reply(size)
        while size > 0:
            size -= self.wfile.write(BLOCK[: min(size, len(BLOCK))])

    def do_POST(self) -> None:
        """Take bytes."""
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left:
            data = self.rfile.read1(min(left, 65536))
            if not data:
                return
            left -= len(data)
            digest.update(data)
        self._reply(64)
        self.wfile.write(digest.hexdigest().encode())

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


def repeat(connection: socket.socket) -> None:
    """Serve one connection of the other port."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := connection.recv(65536):
        if data.startswith(b"down "):
            size = int(data[5:])
            while size > 0:
                connection.sendall(BLOCK[: min(size, len(BLOCK))])
                size -= min(size, len(BLOCK))
        else:
            connection.sendall(data)


def accept(port: int) -> None:
    """Serve the other port."""
    server = socket.create_server(("0.0.0.0", port), backlog=64)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=repeat, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 64
    http = ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler)
    threading.Thread(target=accept, args=(int(sys.argv[2]),), daemon=True).start()
    print("listening", flush=True)
    http.serve_forever()
