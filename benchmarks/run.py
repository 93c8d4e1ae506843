"""Runs the clients, each as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import peers

Values = dict[str, float]

_LIMIT = 900.0


class ClientError(Exception):
    """A client has failed; the text is the end of what it wrote."""


class Clients:
    """The sides of a comparison.

    Parameters
    ----------
    environment
        What leads the clients to the network.
    yapapi
        The interpreter that yapapi is installed for.
    """

    def __init__(self, environment: Mapping[str, str], yapapi: Path | None) -> None:
        self._yapapi = yapapi
        #: Address of the daemon.
        self.daemon = environment["YAGNA_API_URL"]
        self._environment = dict(os.environ) | dict(environment) | {"PYTHONPATH": str(peers.ROOT)}
        # an import is measured as it is from the second time on
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)

    async def run(
        self,
        side: str,
        module: str,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Values:
        """Run a client and give what it has measured.

        Parameters
        ----------
        side
            ``"yapapi"`` runs with that SDK's interpreter, all others with this one.
        module
            The program, of `benchmarks.clients`.
        arguments
            Its arguments.
        environment
            What differs in its environment.
        on_line
            Called with each line that it prints before its measurements.

        Raises
        ------
        ClientError
            It has failed, or has not ended in time.
        """
        variables = self._environment | dict(environment or {})
        python: Path | str = sys.executable
        if side == "yapapi":
            if self._yapapi is None:
                raise ClientError("yapapi is not installed")
            python = self._yapapi
            variables["PATH"] = f"{self._yapapi.parent}{os.pathsep}{variables['PATH']}"
        command: Sequence[str] = [
            str(python),
            "-m",
            f"benchmarks.clients.{module}",
            *map(str, arguments),
        ]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=variables
        )
        assert process.stdout is not None
        assert process.stderr is not None
        errors = asyncio.create_task(process.stderr.read())
        last = ""
        try:
            async with asyncio.timeout(_LIMIT):
                async for line in process.stdout:
                    last = line.decode()
                    if on_line is not None:
                        on_line(last.strip())
                status = await process.wait()
        except TimeoutError as error:
            raise ClientError(f"{' '.join(command)} has not ended within {_LIMIT:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            output = (await errors).decode()
        if status:
            raise ClientError(f"{' '.join(command)} failed:\n{output[-3000:]}")
        return dict(json.loads(last))
