"""Lets scripts that end in ``asyncio.run(main())`` run in a cell."""

from __future__ import annotations

import asyncio

__all__ = ["allow_asyncio_run"]


def allow_asyncio_run() -> None:
    """Let ``asyncio.run(main())`` work in a notebook's cell, for scripts that are pasted there.

    It patches asyncio, by ``nest-asyncio``, for the rest of the kernel's life. Nothing of golem_nb needs
    that: in a cell, ``await main()`` does the same. Interrupting a cell that runs such a script ends the
    engine that the script has started, without paying first, where a `Session` would go on.

    Raises
    ------
    RuntimeError
        The event loop is of a kind that cannot be patched, such as uvloop's.

    Examples
    --------
    >>> golem_nb.allow_asyncio_run()
    >>> asyncio.run(main())
    """
    import nest_asyncio  # the only place that needs it

    try:
        loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    try:
        nest_asyncio.apply(loop)
    except ValueError as error:
        raise RuntimeError(
            f"asyncio.run() cannot be allowed here: {error}. Write `await main()` in its place."
        ) from error
