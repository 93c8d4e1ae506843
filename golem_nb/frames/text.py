"""Text of providers, made fit to be kept and shown."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["OUTPUT_LIMIT", "clean"]

#: Of each piece of output so many characters are kept, at most.
OUTPUT_LIMIT: Final = 4096

# Sequences that move a terminal's cursor, characters that turn the direction of writing or cannot be seen,
# and halves of characters, which cannot be encoded. Line breaks and tabs are as they are.
_HARMFUL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def clean(text: object, limit: int = OUTPUT_LIMIT) -> str:
    r"""Return text of limited length without characters that do harm when they are shown.

    Parameters
    ----------
    text
        Text, bytes of it in UTF-8, or anything else for `str`.
    limit
        Most characters to keep.

    Examples
    --------
    >>> clean("amber\x1b[2J")
    'amber\\x1b[2J'
    """
    if not isinstance(text, str):
        text = bytes(text[:limit]).decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    # what most programs print has line breaks and nothing else that is not printable
    if text.replace("\n", "").isprintable():
        return text
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
