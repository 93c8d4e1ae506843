"""Sandboxes: where an activity's commands run, apart from the machine's files, processes and network.

`linux`, `first` and `zygote` run in the sandbox's own processes; `layout` and `host` in the provider agent.
"""

from __future__ import annotations
