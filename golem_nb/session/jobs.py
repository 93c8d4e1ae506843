"""The jobs of a session, by their ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from golem_nb.session.handle import Handle

__all__ = ["Jobs"]


class Jobs(Mapping[str, Any]):
    """A mapping from ids to handles, the oldest first; numbers do as well as texts. New jobs appear in it.

    Parameters
    ----------
    handles
        All handles of the session.
    kind
        Those that are jobs here.

    Examples
    --------
    >>> job = session.run("sleep 60", payload=alpine)
    >>> session.jobs[job.id].cancel()
    >>> job.id in session.jobs
    True
    """

    def __init__(
        self, handles: Mapping[str, Handle[Any, Any]], kind: type[Handle[Any, Any]] = Handle
    ) -> None:
        self._all = handles
        self._kind = kind

    @property
    def _handles(self) -> dict[str, Handle[Any, Any]]:
        # a copy: other threads begin jobs
        return {name: each for name, each in list(self._all.items()) if isinstance(each, self._kind)}

    def __getitem__(self, key: str | int) -> Any:
        handles = self._handles
        try:
            return handles[str(key)]
        except KeyError:
            known = ", ".join(map(repr, handles)) or "none yet"
            raise KeyError(f"there is no job {key!r}; there are: {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._handles)

    def __len__(self) -> int:
        return len(self._handles)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self._handles.values())) or "no jobs yet"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._handles)
