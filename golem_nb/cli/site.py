"""A small web server; runs on providers with the standard library alone.

python site.py PORT NAME
"""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{name}</title>
<h1>{name}</h1><p>Answer {number} of a web server that has been up for {seconds:.1f} s.</p></html>
"""


class Page(BaseHTTPRequestHandler):
    """Answers every GET with a page that says who has answered."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    name = ""
    began = time.monotonic()
    answers = 0

    def do_GET(self) -> None:
        """Send the page."""
        Page.answers += 1
        seconds = time.monotonic() - self.began
        body = PAGE.format(name=self.name, number=Page.answers, seconds=seconds).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


if __name__ == "__main__":
    Page.name = sys.argv[2]
    # all interfaces of the sandbox, which are the VPN's and no others
    server = ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Page)  # noqa: S104
    server.daemon_threads = True
    print("listening", flush=True)
    server.serve_forever()
