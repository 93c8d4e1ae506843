"""Columns that are cheap to append to and cheap to make a frame of.

Each kind holds what numpy can take over in one piece: numbers as they are, names as numbers of their labels.
pandas and numpy are imported when the first frame is made, not before.
"""

from __future__ import annotations

from array import array
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Buffered",
    "Column",
    "Flags",
    "Labels",
    "Moments",
    "Names",
    "Numbers",
    "Sparse",
    "SparseLabels",
    "Texts",
    "Wholes",
    "categories",
    "flags",
    "moments",
    "spans",
    "sparse_texts",
    "wholes",
]

_NAN: Final = float("nan")

#: All texts of one column have so many characters at most; the oldest go first.
TEXT_BUDGET: Final = 32 * 2**20


class Column:
    """Values of one kind, one a row; a row without a value takes no room unless the kind says so."""

    def snapshot(self) -> Any:
        """Return the values as they are now, for `build`; quick, since nothing is appended meanwhile."""
        raise NotImplementedError

    def build(self, snapshot: Any, rows: int, /) -> Any:
        """Make what a frame takes as a column, out of a snapshot of so many rows."""
        raise NotImplementedError


class Buffered(Column):
    """A column in one buffer of machine numbers, in which a row without a value has one that says so."""

    _type = "d"
    missing: Any = _NAN

    def __init__(self) -> None:
        self.values: array[Any] = array(self._type)

    def snapshot(self) -> bytes:
        """Return the values as they are now."""
        return self.values.tobytes()

    def numbers(self, snapshot: bytes) -> Any:
        """Return the values as a numpy array that cannot be written to."""
        import numpy as np

        return np.frombuffer(snapshot, dtype=self.values.typecode)


class Numbers(Buffered):
    """Numbers, NaN where there is none; ``float64``."""

    def build(self, snapshot: bytes, _rows: int, /) -> Any:
        """Return the array itself."""
        return self.numbers(snapshot)


class Moments(Buffered):
    """Times as seconds since 1970; ``datetime64[us, UTC]``."""

    def build(self, snapshot: bytes, _rows: int, /) -> Any:
        """Return times in UTC."""
        return moments(self.numbers(snapshot))


class Wholes(Buffered):
    """Whole numbers that are not negative; ``Int64``."""

    _type = "q"
    missing = -1

    def build(self, snapshot: bytes, _rows: int, /) -> Any:
        """Return whole numbers, or `pandas.NA`."""
        return wholes(self.numbers(snapshot))


class Flags(Buffered):
    """True, false or neither; ``boolean``."""

    _type = "b"
    missing = -1

    def build(self, snapshot: bytes, _rows: int, /) -> Any:
        """Return truth values, or `pandas.NA`."""
        return flags(self.numbers(snapshot))


class Names:
    """Numbers for texts that come again and again; shared by the columns that hold them."""

    def __init__(self, *texts: str) -> None:
        self.texts: list[str] = []
        self._codes: dict[str, int] = {}
        for text in texts:
            self.code(text)

    def code(self, text: str) -> int:
        """Return the number of a text; a new one if it is new."""
        code = self._codes.get(text)
        if code is None:
            code = self._codes[text] = len(self.texts)
            self.texts.append(text)
        return code


class Labels(Buffered):
    """Texts that come again and again, by their numbers; ``category``.

    Parameters
    ----------
    names
        The texts and their numbers.
    """

    _type = "i"
    missing = -1

    def __init__(self, names: Names) -> None:
        super().__init__()
        self.names = names

    def build(self, snapshot: bytes, _rows: int, /) -> Any:
        """Return categories."""
        return categories(self.numbers(snapshot), self.names.texts)


class Sparse(Column):
    """Numbers of which most rows have none.

    Parameters
    ----------
    kind
        Of number, as `array.array` has it; where there is none it is NaN or -1.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._values: dict[int, float] = {}
        self._dropped = 0

    def set(self, row: int, value: float) -> None:
        """Give a row a value."""
        self._values[row + self._dropped] = value

    def snapshot(self) -> tuple[list[int], list[float], int]:
        """Return the values as they are now."""
        return list(self._values), list(self._values.values()), self._dropped

    def build(self, snapshot: tuple[list[int], list[float], int], rows: int, /) -> Any:
        """Return the array itself."""
        import numpy as np

        keys, values, dropped = snapshot
        dense = np.full(rows, -1 if self._kind == "i" else _NAN, dtype=self._kind)
        dense[np.array(keys, dtype=np.int64) - dropped] = values
        return dense

    def drop_first(self, rows: int) -> None:
        """Forget the oldest rows."""
        self._dropped += rows
        self._values = {key: value for key, value in self._values.items() if key >= self._dropped}


class SparseLabels(Sparse):
    """Texts that come again and again, in few rows; ``category``.

    Parameters
    ----------
    names
        The texts and their numbers.
    """

    def __init__(self, names: Names) -> None:
        super().__init__("i")
        self._names = names

    def set_text(self, row: int, text: str) -> None:
        """Give a row a text."""
        self.set(row, self._names.code(text))

    def build(self, snapshot: tuple[list[int], list[float], int], rows: int, /) -> Any:
        """Return categories."""
        return categories(super().build(snapshot, rows), self._names.texts)


class Texts(Column):
    """Texts of which most rows have none; all together they do not grow beyond `TEXT_BUDGET`."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._order: deque[int] = deque()
        self._size = 0
        self._dropped = 0

    def get(self, row: int) -> str | None:
        """Return the text of a row."""
        return self._texts.get(row + self._dropped)

    def set(self, row: int, text: str) -> None:
        """Give a row a text."""
        key = row + self._dropped
        old = self._texts.get(key)
        if old is None:
            self._order.append(key)
        else:
            self._size -= len(old)
        self._texts[key] = text
        self._size += len(text)
        while self._size > TEXT_BUDGET:
            gone = self._texts.pop(self._order.popleft(), None)
            if gone is not None:
                self._size -= len(gone)

    def snapshot(self) -> tuple[list[int], list[str], int]:
        """Return the texts as they are now."""
        return list(self._texts), list(self._texts.values()), self._dropped

    def build(self, snapshot: tuple[list[int], list[str], int], rows: int, /) -> Any:
        """Return texts, missing where a row has none."""
        keys, texts, dropped = snapshot
        return sparse_texts([key - dropped for key in keys], texts, rows)

    def drop_first(self, rows: int) -> None:
        """Forget the oldest rows."""
        self._dropped += rows
        while self._order and self._order[0] < self._dropped:
            gone = self._texts.pop(self._order.popleft(), None)
            if gone is not None:
                self._size -= len(gone)


# -- arrays for frames ---------------------------------------------------------------------------------------


def moments(seconds: Any) -> Any:
    """Return an array of times in UTC for seconds since 1970; NaN is a missing one."""
    import pandas as pd

    return pd.Series(_microseconds(seconds).view("M8[us]"), copy=False).dt.tz_localize("UTC").array


def spans(seconds: Any) -> Any:
    """Return an array of lengths of time for seconds; NaN is a missing one."""
    import pandas as pd

    return pd.array(_microseconds(seconds).view("m8[us]"))


def _microseconds(seconds: Any) -> Any:
    import numpy as np

    missing = np.isnan(seconds)
    values = np.round(np.where(missing, 0.0, seconds) * 1e6).astype(np.int64)
    values[missing] = np.iinfo(np.int64).min  # what numpy takes for "not a time"
    return values


def wholes(values: Any) -> Any:
    """Return an array of whole numbers; a negative one is a missing one."""
    import pandas as pd

    return pd.arrays.IntegerArray(values, values < 0)


def flags(values: Any) -> Any:
    """Return an array of truth values; a negative one is a missing one."""
    import pandas as pd

    return pd.arrays.BooleanArray(values > 0, values < 0)


def categories(codes: Any, texts: Sequence[str]) -> Any:
    """Return an array of categories for numbers of texts; a negative one is a missing one."""
    import pandas as pd

    return pd.Categorical.from_codes(codes, categories=pd.Index(list(texts), dtype="str"))


def sparse_texts(rows: Sequence[int], texts: Sequence[str], length: int) -> Any:
    """Return an array of texts of which most are missing."""
    import numpy as np
    import pandas as pd

    values = np.full(length, np.nan, dtype=object)
    values[np.asarray(rows, dtype=np.int64)] = texts
    # an array of its own would say "nan" before pandas 3
    return pd.Index(values, dtype="str").array
