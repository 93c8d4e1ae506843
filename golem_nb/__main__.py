"""The command line: `golem-nb`, or `python -m golem_nb`."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from golem_nb import __version__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="golem-nb", description="Golem Network from this machine.")
    parser.add_argument("--version", action="version", version=f"golem-nb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", help="compute a batch, or run web servers, on a complete Golem network on this machine"
    )
    demo.add_argument(
        "--service",
        action="store_true",
        help="run web servers on providers, behind a proxy, and kill a provider under them",
    )
    demo.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    demo.add_argument("--providers", type=_count, default=3, metavar="N", help="providers (default: 3)")
    demo.add_argument(
        "--folder",
        type=Path,
        default=Path("golem-demo"),
        help="where the batch's results go (default: golem-demo)",
    )

    up = commands.add_parser("up", help="start a local network that programs share until `down`")
    up.add_argument("--providers", type=_count, default=3, metavar="N", help="providers (default: 3)")
    commands.add_parser("down", help="stop the shared local network")

    offers = commands.add_parser("offers", help="list what providers offer now; costs nothing")
    offers.add_argument("--subnet", help="only this subnet")
    offers.add_argument("--runtime", help="only this runtime, such as vm")
    offers.add_argument(
        "--seconds", type=_seconds, default=3.0, metavar="S", help="how long to listen (default: 3)"
    )
    offers.add_argument("--json", action="store_true", help="print JSON")

    commands.add_parser("doctor", help="tell what is installed, running and wrong, and how to mend it")
    return parser


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= 100:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 100, not {text!r}")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"must be a number, more than 0 and at most 3600, not {text!r}")
    return seconds


def _run(arguments: argparse.Namespace) -> int:
    # each command imports what it needs: `golem-nb --help` is quick
    match arguments.command:
        case "demo" if arguments.service:
            from golem_nb.cli import service_demo

            return service_demo.main(as_json=arguments.json, providers=arguments.providers)
        case "demo":
            from golem_nb.cli import demo

            return demo.main(as_json=arguments.json, folder=arguments.folder, providers=arguments.providers)
        case "up":
            from golem_nb.cli import network

            return network.up(arguments.providers)
        case "down":
            from golem_nb.cli import network

            return network.down()
        case "offers":
            from golem_nb.cli import network, offers

            return offers.main(
                api_config=network.api_config(),
                seconds=arguments.seconds,
                subnet=arguments.subnet,
                runtime=arguments.runtime,
                as_json=arguments.json,
            )
        case _:
            from golem_nb.cli import doctor

            return doctor.main()


def _write_what_can_be_written() -> None:
    """Let a terminal or a pipe that knows few characters get a question mark for the others."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@contextlib.contextmanager
def _terminated_in_order() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: end what was started, and pay for it."""
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        Arguments; those of the process if None.

    Returns
    -------
    int
        The exit status: 0 on success, 1 on failure, 2 for wrong arguments, 130 when interrupted or
        terminated.
    """
    from golem_nb.cli.interrupts import leave
    from golem_nb.exceptions import GolemError

    _write_what_can_be_written()
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "demo" and arguments.service and arguments.providers < 2:
        parser.error("--service needs --providers 2 or more: one of them is killed")
    try:
        with _terminated_in_order():
            return _run(arguments)
    except KeyboardInterrupt:
        # no return: the interpreter's end waits for threads, and these may wait for what only ends when this
        # process has ended
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stdout.flush()
        leave()
    except (GolemError, OSError) as error:
        print(f"golem-nb: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
