"""Scripts: series of commands that a provider executes."""

from __future__ import annotations

from golem_nb.script.capture import CaptureContext
from golem_nb.script.errors import CommandNotExecutedError
from golem_nb.script.progress import CommandProgress, ProgressArgs
from golem_nb.script.script import Script

__all__ = ["CaptureContext", "CommandNotExecutedError", "CommandProgress", "ProgressArgs", "Script"]
