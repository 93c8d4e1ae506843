"""Data in pieces."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["chunks"]


def chunks(data: bytes | bytearray | memoryview, chunk_limit: int) -> Iterator[memoryview]:
    """Give data in consecutive pieces, without copying it.

    Parameters
    ----------
    data
        The data.
    chunk_limit
        Largest size of a piece, bytes.

    Examples
    --------
    >>> [bytes(piece) for piece in chunks(b"abcde", 2)]
    [b'ab', b'cd', b'e']
    """
    if chunk_limit < 1:
        raise ValueError(f"chunk_limit must be at least 1, not {chunk_limit}")
    view = memoryview(data)
    for start in range(0, len(view), chunk_limit):
        yield view[start : start + chunk_limit]
