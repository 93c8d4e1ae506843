from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from golem_nb.storage.ranges import Ranges


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 15)), max_size=30))
def test_what_is_there_is_known(pieces: list[tuple[int, int]]) -> None:
    ranges, there = Ranges(), set[int]()
    for start, length in pieces:
        assert ranges.add(start, start + length)
        there |= set(range(start, start + length))
        first_missing = next(i for i in range(100) if i not in there)
        assert ranges.start_end == first_missing
        assert ranges.end == (max(there) + 1 if there else 0)
        assert ranges.complete == (len(there) == ranges.end)


def test_too_many_separate_parts() -> None:
    ranges = Ranges(max_parts=2)
    assert ranges.add(10, 11)
    assert ranges.add(20, 21)
    assert not ranges.add(30, 31)
    # what joins a part makes no new one
    assert ranges.add(11, 13)
    assert ranges.add(0, 10)
    assert ranges.add(30, 31)
    assert (ranges.start_end, ranges.end) == (13, 31)
