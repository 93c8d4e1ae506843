"""Real Jupyter kernels, driven as a front end drives them."""

from __future__ import annotations

import os
import queue
import signal
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
from jupyter_client.manager import KernelManager

#: Tells when the kernel's main thread, which runs the cell, sleeps in a waiting call of the portal.
TELL = """
def _tell_when_waiting():
    import sys, threading, time
    from golem_nb.session.portal import Portal
    def look():
        main = threading.main_thread().ident
        while True:
            frame = innermost = sys._current_frames()[main]
            while frame is not None and frame.f_code is not Portal.wait.__code__:
                frame = frame.f_back
            if frame is not None and innermost.f_code is threading.Condition.wait.__code__:
                sys.stdout.write("waiting\\n")
                return
            time.sleep(0.01)
    threading.Thread(target=look, daemon=True).start()
_tell_when_waiting()
"""

#: The same in a cell that awaits: its loop comes to this when the cell is suspended.
TELL_IN_LOOP = """
import asyncio, sys
asyncio.get_running_loop().call_soon(sys.stdout.write, "waiting\\n")
"""


@attrs.define
class Reply:
    """What came of a cell."""

    ok: bool
    seconds: float
    stdout: str = ""
    stderr: str = ""
    text: str = ""
    html: str = ""
    error: str = ""
    value: str = ""
    traceback: str = ""
    mimetypes: set[str] = attrs.field(factory=set)

    @property
    def said(self) -> str:
        """Everything that a person would read."""
        return "\n".join(filter(None, (self.stdout, self.stderr, self.text, self.traceback)))


class Cell:
    """A cell that was sent to the kernel and may still be running."""

    def __init__(self, kernel: Kernel, message: str) -> None:
        self._kernel = kernel
        self._message = message
        self._sent = time.monotonic()

    def waits(self, timeout: float = 30.0) -> Cell:
        """Wait until it says so."""
        while True:
            message = self._kernel.client.get_iopub_msg(timeout=timeout)
            # whosever it is: what a thread prints, the kernel may take for an earlier cell's
            if message["msg_type"] == "stream" and message["content"]["text"] == "waiting\n":
                return self

    def reply(self, timeout: float = 60.0) -> Reply:
        """Wait for its end."""
        client = self._kernel.client
        reply = Reply(ok=False, seconds=0.0)
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"the cell is still running; so far: {reply}")
            try:
                message = client.get_iopub_msg(timeout=left)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != self._message:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                setattr(reply, content["name"], getattr(reply, content["name"]) + content["text"])
            elif kind in ("execute_result", "display_data"):
                reply.mimetypes |= set(content["data"])
                reply.text += content["data"].get("text/plain", "")
                reply.html += content["data"].get("text/html", "")
            elif kind == "error":
                reply.error, reply.value = content["ename"], content["evalue"]
                reply.traceback = "\n".join(content["traceback"])
            elif kind == "status" and content["execution_state"] == "idle":
                reply.ok = not reply.error
                reply.seconds = time.monotonic() - self._sent
                return reply


class Kernel:
    """A kernel in a process of its own; a context manager.

    Parameters
    ----------
    folder
        Its working folder.
    env
        Environment variables that it has beside ours.
    python
        Its interpreter.
    """

    def __init__(self, folder: Path, env: dict[str, str] | None = None, python: str = sys.executable) -> None:
        self._manager = KernelManager()
        self._folder = folder
        self._env = {**os.environ, **(env or {}), "IPYTHONDIR": str(folder / "ipython")}
        self._manager.kernel_spec.argv[0] = python  # type: ignore[union-attr]
        self.client: Any = None

    def __enter__(self) -> Kernel:
        self._manager.start_kernel(env=self._env, cwd=str(self._folder))
        self.client = self._manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.stop_channels()
        if self._manager.is_alive():
            self._manager.shutdown_kernel(now=True)

    @property
    def pid(self) -> int:
        """Process id of the kernel."""
        return int(self._manager.provisioner.process.pid)  # type: ignore[union-attr]

    def begin(self, code: str) -> Cell:
        """Send a cell and do not wait for it."""
        return Cell(self, self.client.execute(code))

    def wait_in(self, code: str) -> Cell:
        """Send a cell that waits for a session, and return when it does.

        A kernel that is interrupted a moment earlier, when it has the cell and is not yet at it, ends what
        handles its requests: nobody has been waiting then.
        """
        awaits = code.startswith(("await ", "async "))
        return self.begin((TELL_IN_LOOP if awaits else TELL) + code).waits()

    def run(self, code: str, timeout: float = 60.0) -> Reply:
        """Run a cell to its end, whatever that is."""
        return self.begin(code).reply(timeout)

    def must(self, code: str, timeout: float = 60.0) -> Reply:
        """Run a cell that has to succeed."""
        reply = self.run(code, timeout)
        assert reply.ok, reply.traceback
        return reply

    def interrupt(self) -> None:
        """Do what Kernel > Interrupt does."""
        os.kill(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash does."""
        os.kill(self.pid, signal.SIGKILL)

    def restart(self) -> None:
        """Do what Kernel > Restart does: ask it to end, then start it anew."""
        self._manager.restart_kernel()
        self.client.wait_for_ready(timeout=60)

    def shutdown(self) -> float:
        """Ask it to end; return how long that took, seconds."""
        started = time.monotonic()
        self.client.shutdown()
        self._manager.finish_shutdown(waittime=10)
        return time.monotonic() - started
