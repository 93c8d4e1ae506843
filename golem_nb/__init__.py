"""golem_nb: a Jupyter-first toolkit for the Golem Network.

The engine is pure asyncio and needs no notebook::

    import asyncio
    from golem_nb import Golem, Task, vm

    async def worker(context, tasks):
        async for task in tasks:
            script = context.new_script()
            result = script.run("/bin/sh", "-c", f"echo {task.data}")
            yield script
            task.accept_result((await result).stdout)

    async def main():
        payload = await vm.repo(image_tag="golem/alpine:latest")
        async with Golem(budget=1) as golem:
            async for task in golem.execute_tasks(worker, [Task(data=n) for n in range(5)], payload):
                print(task.result)

    asyncio.run(main())
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from golem_nb._version import __version__

if TYPE_CHECKING:
    from golem_nb.config import ApiConfig
    from golem_nb.ctx import WorkContext
    from golem_nb.engine import NoPaymentAccountError
    from golem_nb.executor import Task
    from golem_nb.golem import Golem
    from golem_nb.payload import vm
    from golem_nb.session import Session
    from golem_nb.session.nested import allow_asyncio_run
    from golem_nb.utils import get_version, windows_event_loop_fix

__all__ = [
    "ApiConfig",
    "Golem",
    "NoPaymentAccountError",
    "Session",
    "Task",
    "WorkContext",
    "__version__",
    "allow_asyncio_run",
    "get_version",
    "vm",
    "windows_event_loop_fix",
]

# loaded when first used, so that the command line and tools that want only a part start fast
_HOMES = {
    "ApiConfig": "golem_nb.config",
    "Golem": "golem_nb.golem",
    "NoPaymentAccountError": "golem_nb.engine",
    "Session": "golem_nb.session",
    "Task": "golem_nb.executor",
    "WorkContext": "golem_nb.ctx",
    "allow_asyncio_run": "golem_nb.session.nested",
    "get_version": "golem_nb.utils",
    # for `%load_ext golem_nb`
    "load_ipython_extension": "golem_nb.session.magics",
    "vm": "golem_nb.payload",
    "windows_event_loop_fix": "golem_nb.utils",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    try:
        # `golem_nb.log.enable_default_logger()` after `import golem_nb`, as scripts do it
        return importlib.import_module(f"golem_nb.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"golem_nb.{name}":
            raise
        raise AttributeError(f"module 'golem_nb' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted(__all__)
