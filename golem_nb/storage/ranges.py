"""Which parts of a transfer have arrived."""

from __future__ import annotations

from bisect import bisect_left, insort

__all__ = ["Ranges"]


class Ranges:
    """The parts of a file that are there; pieces may come in any order, and more than once.

    Parameters
    ----------
    max_parts
        How many separate parts may lie beyond the first gap.
    """

    def __init__(self, max_parts: int = 1024) -> None:
        self._max_parts = max_parts
        self.start_end = 0
        """End of the part that begins at 0: everything before it is there."""
        self._parts: list[tuple[int, int]] = []

    @property
    def end(self) -> int:
        """End of the last part."""
        return self._parts[-1][1] if self._parts else self.start_end

    @property
    def complete(self) -> bool:
        """Whether nothing is missing before `end`."""
        return not self._parts

    def add(self, start: int, end: int) -> bool:
        """Add the piece from `start` to before `end`.

        Returns
        -------
        bool
            False if the piece was not added, because there would be too many separate parts.
        """
        if start <= self.start_end:
            # the way of nearly every piece
            self.start_end = max(self.start_end, end)
            while self._parts and self._parts[0][0] <= self.start_end:
                self.start_end = max(self.start_end, self._parts.pop(0)[1])
            return True
        if start == end:
            return True
        parts = self._parts
        first = bisect_left(parts, start, key=lambda part: part[1])
        last = first
        while last < len(parts) and parts[last][0] <= end:
            start, end = min(start, parts[last][0]), max(end, parts[last][1])
            last += 1
        if first == last and len(parts) >= self._max_parts:
            return False
        del parts[first:last]
        insort(parts, (start, end))
        return True
