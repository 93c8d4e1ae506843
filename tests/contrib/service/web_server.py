"""An HTTP server of the standard library alone, to be run in a sandbox: `python3 web_server.py PORT NAME`."""

import base64
import hashlib
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NAME = sys.argv[2]
COUNTS = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def reply(self, body, status=200, headers=()):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def pieces(self):
        """The body of the request."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            data = self.rfile.read1(min(left, 65536))
            left -= len(data)
            yield data

    def do_GET(self):
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        COUNTS[url.path] = COUNTS.get(url.path, 0) + 1
        size = int(query.get("size", 0))
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.websocket()
        elif url.path == "/name":
            self.reply(NAME.encode())
        elif url.path == "/headers":
            self.reply(str(self.headers).encode())
        elif url.path == "/cookies":
            cookies = [
                ("Set-Cookie", "_xsrf=1"),
                ("Set-Cookie", "username-localhost-8888=2"),
                ("Set-Cookie", "mine=3"),
            ]
            self.reply(b"set", headers=cookies)
        elif url.path == "/bytes":
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            block = bytes(range(256)) * 256
            while size > 0:
                self.wfile.write(block[: min(size, len(block))])
                size -= len(block)
        elif url.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(5):
                self.chunk(b"piece %d\n" % number)
            self.chunk(b"")
        elif url.path == "/close":
            # a body whose end is the end of the connection
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"first")
            self.wfile.flush()
            time.sleep(float(query.get("pause", 0)))
            self.wfile.write(b" last")
            self.close_connection = True
        elif url.path == "/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(3):
                self.chunk(b"data: %d\n\n" % number)
                time.sleep(float(query.get("pause", 0.5)))
            self.chunk(b"")
        elif url.path == "/too-much":
            # an answer, and another one that nobody has asked for; in one piece, since what comes after the
            # next request cannot be told from its answer
            answers = (
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
                for text in (b"asked", b"unasked")
            )
            self.wfile.write(b"".join(answers))
        elif url.path == "/cut":
            # less than was promised
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"short")
            self.close_connection = True
        elif url.path == "/stream":
            # never ends by itself
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.chunk(b"first")
            time.sleep(60)
        elif url.path == "/file":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
            self.wfile.write("X-Utf: \u00e9\u20ac\r\n".encode() + b"X-Latin: \xe9\r\n\r\n")
        elif url.path == "/slow":
            time.sleep(float(query["pause"]))
            self.reply(b"slow")
        elif url.path == "/count":
            self.reply(str(COUNTS.get(query["of"], 0)).encode())
        elif url.path == "/garbage":
            self.wfile.write(b"this is no HTTP\r\n\r\n")
            self.close_connection = True
        elif url.path == "/hang-up":
            self.close_connection = True
        else:
            self.reply(b"there is no such page", 404)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self):
        COUNTS[self.path] = COUNTS.get(self.path, 0) + 1
        if self.path == "/refuse":
            self.reply(b"too much", 413, [("Connection", "close")])
            self.close_connection = True
            return
        if self.path == "/hang-up":
            self.close_connection = True
            return
        if self.path == "/echo":
            self.reply(b"".join(self.pieces()))
            return
        if self.path == "/back":
            # answers while it is asked
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in self.pieces():
                self.chunk(piece)
            self.chunk(b"")
            return
        digest, size = hashlib.sha256(), 0
        for piece in self.pieces():
            digest.update(piece)
            size += len(piece)
        self.reply(f"{size} {digest.hexdigest()}".encode())

    do_PUT = do_POST  # noqa: N815

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header(
            "Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        )
        self.end_headers()
        while True:
            first, second = self.rfile.read(2)
            size = second & 127
            if size > 125:
                size = int.from_bytes(self.rfile.read(2 if size == 126 else 8), "big")
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(size)))
            head = bytes([first, size]) if size < 126 else bytes([first, 126]) + size.to_bytes(2, "big")
            self.wfile.write(head + data)
            if first & 15 == 8:
                self.close_connection = True
                COUNTS["closed websockets"] = COUNTS.get("closed websockets", 0) + 1
                return


ThreadingHTTPServer.daemon_threads = True
ThreadingHTTPServer.request_queue_size = 128
server = ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler)
print("listening", flush=True)
server.serve_forever()
