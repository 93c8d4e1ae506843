"""`%golem` and `%%golem`: short ways to what a session does."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

from golem_nb.arguments import amount, count, duration
from golem_nb.payload import PackageException, vm
from golem_nb.session.session import Session

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["GolemMagics", "load_ipython_extension"]

COMMANDS = {
    "status": "where the session is, who pays, what is running (the default)",
    "offers": "what providers offer now",
    "jobs": "the jobs of the session",
    "costs": "what was used, billed, accepted and settled",
    "events": "everything that has happened",
    "stop": "end everything, pay, and show the bill",
}

IMAGE = "golem/alpine:latest"


class _Parser(argparse.ArgumentParser):
    """A parser that shows its mistakes in the cell instead of ending the process."""

    def error(self, message: str) -> Any:
        """Raise the mistake."""
        raise UsageError(f"{message}\n{self.format_usage()}")

    def exit(self, status: int = 0, message: str | None = None) -> Any:  # noqa: ARG002 - argparse's names
        """Leave, after the help was shown."""
        raise _Shown


class _Shown(Exception):
    """The help was shown; there is nothing else to do."""


def _line_parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:<8} {text}" for name, text in COMMANDS.items())
    parser = _Parser(
        prog="%golem",
        description=f"Look at a session of golem_nb, or stop it.\n\ncommands:\n{commands}",
        epilog="A cell that begins with %%golem runs on providers; with --help in that line it says how.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", default="status", choices=COMMANDS, help="what to do")
    parser.add_argument("--session", default="default", metavar="NAME", help="which session")
    return parser


def _cell_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="%%golem",
        description="Run the cell's body with /bin/sh on providers, once an item; results are in `_`.",
    )
    parser.add_argument("--image", "-i", default=IMAGE, help=f"tag of the image (default: {IMAGE})")
    parser.add_argument("--data", "-d", metavar="NAME", help="a variable with the items; {} is an item")
    parser.add_argument("--workers", "-w", type=int, default=5, metavar="N", help="most providers at once")
    parser.add_argument("--timeout", type=float, default=900.0, metavar="SECONDS", help="for all items")
    parser.add_argument("--max-cost", metavar="GLM", help="the most that it may cost")
    parser.add_argument("--no-wait", action="store_true", help="do not wait: the job is in `_`")
    parser.add_argument("--session", default="default", metavar="NAME", help="which session")
    return parser


@magics_class
class GolemMagics(Magics):
    """`%golem` looks, `%%golem` runs."""

    @line_cell_magic  # type: ignore[untyped-decorator,unused-ignore]
    def golem(self, line: str, cell: str | None = None) -> Any:
        """Look at a session, or run a cell on providers; ``--help`` says more."""
        parser = _line_parser() if cell is None else _cell_parser()
        try:
            options = parser.parse_args(shlex.split(line))
        except _Shown:
            return None
        except ValueError as error:  # a quotation that is not closed
            raise UsageError(f"{error}: {line}\n{parser.format_usage()}") from None
        return self._look(options) if cell is None else self._run(options, cell)

    def _look(self, options: argparse.Namespace) -> Any:
        session = Session.living(options.session)
        match options.command:
            case "offers":
                return session.offers()
            case "jobs":
                return session.jobs
            case "costs":
                return session.costs
            case "events":
                return session.events
            case "stop":
                return session.stop()
            case _:
                return session

    def _run(self, options: argparse.Namespace, cell: str) -> Any:
        data = None if options.data is None else self._items(options.data)
        try:
            # what is wrong is said before a session is begun for it
            workers = count("max_workers", options.workers)
            timeout = duration("timeout", options.timeout)
            cost = None if options.max_cost is None else amount("max_cost", options.max_cost)
            payload = vm.repo(image_tag=options.image)
            session = Session.find(options.session) or Session(name=options.session)
            job = session.run(
                cell, data, payload=payload, max_workers=workers, timeout=timeout, max_cost=cost
            )
        except (ValueError, TypeError, PackageException) as error:
            raise UsageError(str(error)) from None
        if options.no_wait:
            return job
        job.show()
        return job.result()

    def _items(self, name: str) -> Any:
        assert self.shell is not None
        names = self.shell.user_ns
        if name not in names:
            raise UsageError(f"--data: there is no variable {name!r}")
        return names[name]


def complete(_: Any, event: Any) -> list[str]:
    """Return what may follow in a line that begins with one of the magics."""
    cell = event.line.lstrip().startswith("%%")
    parser = _cell_parser() if cell else _line_parser()
    options = [text for action in parser._actions for text in action.option_strings if text[:2] == "--"]
    words: Iterable[str] = options if cell else [*COMMANDS, *options]
    return [word for word in words if word.startswith(event.symbol)]


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Make the magics known: ``%load_ext golem_nb``."""
    ipython.register_magics(GolemMagics)
    for name in ("%golem", "%%golem"):
        ipython.set_hook("complete_command", complete, str_key=name)  # type: ignore[no-untyped-call]
