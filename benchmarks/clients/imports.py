"""How long an import takes: ``python -m benchmarks.clients.imports MODULE``."""

from __future__ import annotations

import importlib
import sys

from benchmarks.clients import measure

clock = measure.Clock()
clock.mark("begin")
module = importlib.import_module(sys.argv[1])
# a package may import its parts when they are asked for; these are what every program asks for
for name in ("Golem", "Task", "WorkContext"):
    getattr(module, name, None)
clock.mark("end")
measure.report(import_s=clock.seconds("begin", "end"))
