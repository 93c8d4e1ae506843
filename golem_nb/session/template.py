"""Shell commands with places for what is different from item to item."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from golem_nb.session.errors import SessionError

__all__ = ["Template", "TemplateError"]

# `{}`, `{0}` or `{name}`, not after a `$`, which makes it a variable of the shell; doubled braces stand for
# themselves
_PLACE = re.compile(r"\{\{(\w*)\}\}|(?<!\$)\{(\w*)\}")


class TemplateError(SessionError, ValueError):
    """A command has a place for something that an item does not have."""


class Template:
    """A text with places.

    ``{}`` is the item, or the next element of an item that is a tuple or a list. ``{0}`` is an element, and
    ``{name}`` the value under a key of an item that is a mapping. ``{index}`` is the number of the item. Of a
    path only the name is put in. ``{{}}`` is a pair of braces; braces around anything but a word are left as
    they are.

    Parameters
    ----------
    text
        The text.
    quote
        Whether values are quoted for the shell.

    Examples
    --------
    >>> Template("wc -w /golem/input/{}").fill(Path("poems/my poem.txt"), 0)
    "wc -w /golem/input/'my poem.txt'"
    >>> Template("render {scene} {frame} > {index}.png").fill({"scene": "moon", "frame": 7}, 3)
    'render moon 7 > 3.png'
    """

    def __init__(self, text: str, *, quote: bool = True) -> None:
        if not isinstance(text, str):
            raise TypeError(f"this must be a text, not {type(text).__name__}: {text!r:.100}")
        self.text = text
        self._quote = quote
        #: Whether it is the same for all items.
        self.constant = not any(match[2] is not None for match in _PLACE.finditer(text))

    def __repr__(self) -> str:
        return f"Template({self.text!r})"

    def fill(self, item: Any, index: int) -> str:
        """Return the text for an item.

        Raises
        ------
        TemplateError
            The item does not have what a place is for.
        """
        position = 0

        def value(match: re.Match[str]) -> str:
            nonlocal position
            if match[2] is None:
                return f"{{{match[1]}}}"
            name = match[2]
            if name == "":
                name = str(position) if isinstance(item, tuple | list) else ""
                position += 1
            found = self._shown(self._find(item, index, name), name)
            return shlex.quote(found) if self._quote else found

        return _PLACE.sub(value, self.text)

    def _find(self, item: Any, index: int, name: str) -> Any:
        if name == "":
            return item
        if isinstance(item, Mapping) and name in item:
            return item[name]
        if name == "index":
            return index
        if name.isdigit() and isinstance(item, tuple | list) and int(name) < len(item):
            return item[int(name)]
        if name == "0" and not isinstance(item, tuple | list | Mapping):
            return item
        raise TemplateError(f"{self.text!r} has a place {{{name}}}, {self._advice(item, index, name)}")

    @staticmethod
    def _advice(item: Any, index: int, name: str) -> str:
        which = f"but item {index} ({item!r:.80})"
        if isinstance(item, Mapping):
            near = difflib.get_close_matches(name, [str(key) for key in item], n=1)
            hint = f": did you mean {{{near[0]}}}?" if near else f"; it has {', '.join(map(repr, item))}"
            return f"{which} has no key {name!r}{hint}"
        if isinstance(item, tuple | list):
            return f"{which} has {len(item)} elements, the first one is {{0}}"
        return f"{which} is a single value, whose place is {{}}; write {{{{{name}}}}} for plain braces"

    def _shown(self, value: Any, name: str) -> str:
        if value is None:
            raise TemplateError(
                f"{self.text!r} has a place {{{name}}}, and nothing to go there: give `data` with a value "
                f"for each item, or write {{{{{name}}}}} for plain braces"
            )
        if isinstance(value, Path | PurePosixPath):
            return value.name
        if isinstance(value, bytes | Mapping | tuple | list | set):
            raise TemplateError(
                f"{self.text!r}: what goes in at {{{name}}} is a {type(value).__name__}, which has no "
                "obvious form in a command: turn it into a text first, or name a part of it"
            )
        return str(value)
