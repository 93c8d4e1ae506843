"""How a provider misbehaves at the moment: which of its `Misbehaviour`s are due."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from golem_nb.localnet.spec import Misbehaviour, MisbehaviourKind

__all__ = ["HOSTILE_LINE", "HOSTILE_NAME", "Faults"]

#: Terminal control (title, colours, clear), HTML, a right-to-left override, format strings, a path, a quote.
HOSTILE_NAME: Final = (
    "\x1b]0;owned\x07\x1b[31m<script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.exe"
    "%s{0.__class__}${HOME}../../../etc/passwd'\"\\"
)
#: The same with a NUL, newlines and 64 KiB of one line.
HOSTILE_LINE: Final = f"{HOSTILE_NAME}\x00\r\x1b[2J\n{'A' * 65536}\n"


class Faults:
    """The misbehaviours of one provider; they can be replaced while it runs.

    Examples
    --------
    >>> faults = Faults([Misbehaviour(kind="no-invoice", times=1)])
    >>> faults.take(MisbehaviourKind.NO_INVOICE) is not None
    True
    >>> faults.take(MisbehaviourKind.NO_INVOICE) is None
    True
    """

    def __init__(self, misbehaviours: Iterable[Misbehaviour] = ()) -> None:
        self._left: dict[MisbehaviourKind, tuple[Misbehaviour, int | None]] = {}
        self.replace(misbehaviours)

    def replace(self, misbehaviours: Iterable[Misbehaviour]) -> None:
        """Misbehave in these ways from now on."""
        self._left = {m.kind: (m, m.times) for m in misbehaviours}

    def has(self, kind: MisbehaviourKind) -> Misbehaviour | None:
        """Return the misbehaviour if it is due, without counting it as done."""
        misbehaviour, left = self._left.get(kind, (None, None))
        return None if left == 0 else misbehaviour

    def take(self, kind: MisbehaviourKind) -> Misbehaviour | None:
        """Return the misbehaviour if it is due, and count it as done once."""
        misbehaviour = self.has(kind)
        if misbehaviour is not None:
            left = self._left[kind][1]
            self._left[kind] = (misbehaviour, None if left is None else left - 1)
        return misbehaviour
