"""Payloads on the service bus: FlexBuffers, which the daemon sends compressed."""

from __future__ import annotations

import zlib
from typing import Any, Final

from golem_nb.localnet.bus.packets import BusProtocolError
from golem_nb.rest.flexbuffers import MalformedBuffer, decode, encode

__all__ = ["dumps", "loads"]

#: What a compressed payload may grow to: the sizes in it are the sender's word.
_MAX_PAYLOAD: Final = 256 << 20

#: Write a payload: None, bool, int, float, str, bytes, lists and maps with text keys.
dumps = encode


def loads(data: bytes) -> Any:
    """Read a payload, zlib-compressed or not.

    Raises
    ------
    BusProtocolError
        The bytes are no FlexBuffers.

    Examples
    --------
    >>> loads(dumps({"Ok": [1, "two", None]}))
    {'Ok': [1, 'two', None]}
    """
    if data[:1] == b"\x78":
        inflate = zlib.decompressobj()
        try:
            plain = inflate.decompress(data, _MAX_PAYLOAD)
        except zlib.error:
            pass  # a plain payload may begin so, too
        else:
            if inflate.unconsumed_tail:
                raise BusProtocolError(f"a compressed payload grows beyond {_MAX_PAYLOAD} bytes")
            if inflate.eof:
                data = plain
    try:
        return decode(data)
    except MalformedBuffer as error:
        raise BusProtocolError(f"a payload of the service bus is broken: {error}") from error
