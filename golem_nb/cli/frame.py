"""One frame of a flight into the Mandelbrot set; runs on providers with the standard library alone.

python frame.py PARAMETERS.json FRAME.png
"""

from __future__ import annotations

import json
import math
import struct
import sys
import zlib
from pathlib import Path

Parameters = dict[str, float]


def colour(steps: float) -> tuple[int, int, int]:
    """Smooth shades of blue, gold and violet; black inside the set."""
    if math.isinf(steps):
        return 0, 0, 0
    t = math.log(steps + 1)
    red, green, blue = (127 + 127 * math.cos(1.1 * t + shift) for shift in (3.6, 4.4, 5.4))
    return int(red), int(green), int(blue)


def escape_steps(c: complex, limit: int) -> float:
    """How many steps the point `c` stays near, with a smooth fraction."""
    z = 0j
    for step in range(limit):
        z = z * z + c
        if abs(z) > 8:
            return step + 1 - math.log2(math.log(abs(z)))
    return math.inf


def png(rows: list[bytes], width: int) -> bytes:
    """Pack rows of RGB bytes into a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def render(parameters: Parameters) -> bytes:
    """Compute one frame as PNG."""
    width, height = int(parameters["width"]), int(parameters["height"])
    centre = complex(parameters["x"], parameters["y"])
    step = parameters["span"] / width
    limit = int(parameters["limit"])
    rows = []
    for j in range(height):
        row = bytearray()
        for i in range(width):
            point = centre + complex(i - width / 2, height / 2 - j) * step
            row += bytes(colour(max(escape_steps(point, limit), 0.0)))
        rows.append(bytes(row))
    return png(rows, width)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    target.write_bytes(render(json.loads(source.read_text())))
