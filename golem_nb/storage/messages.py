"""The messages by which providers fetch and send data: what they may look like.

``GetMetadata`` -> ``{fileSize}``, ``GetChunk {offset, size}`` -> ``{offset, content}``, ``UploadChunk
{chunk: {offset, content}}`` -> nothing, ``UploadFinished {hash}`` -> nothing. All of them are a stranger's,
so every field is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["MAX_CHUNK", "RefusedError", "chunk_of", "hash_of", "range_of"]

MAX_CHUNK = 65_000
"""Largest piece that is sent in one message, bytes.

The daemon (yagna 0.17.6) closes a websocket that brings it a message of more than 64 KiB, and knows no
messages in several frames: some 100 bytes of that are not content. Providers ask for 40 KiB. What they send
may be larger.
"""

_MAX_OFFSET = 1 << 62


class RefusedError(Exception):
    """A message that is answered with an error; the text goes to the provider."""


def range_of(payload: Any, size: int) -> tuple[int, int]:
    """Start and end of what a ``GetChunk`` asks for, within data of `size` bytes."""
    start, length = _number(payload, "offset"), _number(payload, "size")
    if start > size:
        raise RefusedError(f"offset {start} is beyond the end of the data, which has {size} bytes")
    if length > MAX_CHUNK:
        raise RefusedError(f"a chunk of {length} bytes is too large: ask for at most {MAX_CHUNK}")
    return start, min(start + length, size)


def chunk_of(payload: Any) -> tuple[int, bytes]:
    """Offset and content of an ``UploadChunk``."""
    chunk = payload.get("chunk") if isinstance(payload, Mapping) else None
    offset = _number(chunk, "offset")
    content = chunk.get("content") if isinstance(chunk, Mapping) else None
    if isinstance(content, bytes):
        return offset, content
    if isinstance(content, bytearray | memoryview):
        return offset, bytes(content)
    raise RefusedError("a chunk needs content")


def hash_of(payload: Any) -> str | None:
    """Checksum of an ``UploadFinished`` in lower case, None if it has none."""
    value = payload.get("hash") if isinstance(payload, Mapping) else None
    if value is None:
        return None
    if isinstance(value, str) and len(value) == 64:
        return value.lower()
    raise RefusedError("the hash must be a SHA3-256 of 64 hexadecimal digits")


def _number(payload: Any, name: str) -> int:
    value = payload.get(name) if isinstance(payload, Mapping) else None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_OFFSET:
        return value
    raise RefusedError(f"{name} must be a whole number, not negative")
