"""How instances of services are told apart wherever they are shown: names, and colours of their states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from golem_nb.frames.text import clean

__all__ = ["NAMELESS", "STATE_COLOURS", "STATE_PATTERNS", "instance_names"]

#: What an instance is called before it has a provider.
NAMELESS: Final = "no provider yet"

#: Of a provider's name.
MOST_CHARACTERS: Final = 60

#: Told apart by people who see colours differently, and at least 3:1 on white and on JupyterLab's dark grey.
STATE_COLOURS: Final[Mapping[str, str]] = {
    "pending": "#808080",
    "starting": "#a06bd1",
    "running": "#3a9d5d",
    "stopping": "#c2701c",
    "suspended": "#3b82c4",
    "unresponsive": "#cc5560",
    "terminated": "#808080",
}

#: A state is never told by its colour alone: shapes as plotly calls them, which `cluster.css` draws, too.
STATE_PATTERNS: Final[Mapping[str, str]] = {
    "pending": ".",
    "starting": "/",
    "running": "",
    "stopping": "\\",
    "suspended": "-",
    "unresponsive": "x",
    "terminated": "|",
}


def instance_names(instances: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """Return what the instances of a cluster are called, by their ids.

    That is the name of the provider; where several were on providers of one name, those after the first one
    are numbered.

    Parameters
    ----------
    instances
        Id and name of the provider of each, in the order in which they were started.

    Examples
    --------
    >>> instance_names([("3fa8", "sun-01"), ("77c1", "kiełbasa"), ("9d02", "sun-01"), ("e514", None)])
    {'3fa8': 'sun-01', '77c1': 'kiełbasa', '9d02': 'sun-01 (2)', 'e514': 'no provider yet'}
    """
    names = {}
    known: Counter[str] = Counter()
    for instance, provider in instances:
        if not provider:
            names[instance] = NAMELESS
            continue
        name = clean(provider, MOST_CHARACTERS)
        known[name] += 1
        names[instance] = name if known[name] == 1 else f"{name} ({known[name]})"
    return names
