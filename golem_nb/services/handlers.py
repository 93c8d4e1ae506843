"""What the handlers of a service have to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from golem_nb.engine.errors import WorkerFunctionError
from golem_nb.engine.user_code import may_give_async_generator

if TYPE_CHECKING:
    from golem_nb.services.service import Service

HANDLERS = ("start", "run", "shutdown")


def check_handlers(service_class: type[Service]) -> None:
    """Refuse a class that cannot be run, before anything is spent on it.

    Parameters
    ----------
    service_class
        What shall be run.

    Raises
    ------
    WorkerFunctionError
        A handler can give no async generator, whatever it does.
    """
    for name in HANDLERS:
        handler = getattr(service_class, name)
        # what a property gives is seen when an instance is asked for it
        known = callable(handler) or not hasattr(type(handler), "__get__")
        if known and not may_give_async_generator(handler):
            raise not_a_handler(f"{service_class.__name__}.{name}")


def not_a_handler(what: str) -> WorkerFunctionError:
    """Return the error for a handler, such as ``"DateService.run"``, that gives no async generator."""
    return WorkerFunctionError(f"Service handler: `{what}` must be an asynchronous generator.")
