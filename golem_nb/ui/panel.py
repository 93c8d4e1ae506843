"""What every panel is: a widget with a snapshot and a line of text beside it, and a place for its errors."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import anywidget
import traitlets

from golem_nb.exceptions import GolemError
from golem_nb.log import get_logger
from golem_nb.ui import commands
from golem_nb.ui.addressed import Addressed
from golem_nb.ui.pump import INTERVAL, Pump
from golem_nb.ui.text import clean

__all__ = ["Panel", "difference"]

logger = get_logger(__name__)

#: The last errors that a panel shows.
MOST_FAULTS = 5

#: The outputs that are replaced at the end; older ones keep the live widget.
MOST_OUTPUTS = 50

#: How long a text of the kernel's own errors may be.
FAULT_LENGTH = 600

VIEW_MIMETYPE = "application/vnd.jupyter.widget-view+json"

Action = Callable[..., Any]


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what turns one state into another one, row by row in its tables; None if nothing does.

    Parameters
    ----------
    old, new
        JSON data; a mapping in them is a table of rows by their keys. No key ever goes away.

    Examples
    --------
    >>> difference({"a": 1, "rows": {"x": 1, "y": 2}}, {"a": 1, "rows": {"x": 3}})
    {'merge': {'rows': {'x': 3}}, 'drop': {'rows': ['y']}}
    """
    changed: dict[str, Any] = {}
    merge: dict[str, Any] = {}
    drop: dict[str, Any] = {}
    for key, value in new.items():
        before = old.get(key)
        if before == value:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            if rows := {name: row for name, row in value.items() if before.get(name) != row}:
                merge[key] = rows
            if gone := [name for name in before if name not in value]:
                drop[key] = gone
        else:
            changed[key] = value
    patch = {"set": changed, "merge": merge, "drop": drop}
    return {name: part for name, part in patch.items() if part} or None


class Panel(Addressed, anywidget.AnyWidget):
    """Base of the panels.

    A subclass says what its state is (`describe`), what may be pressed (`actions`) and how it looks where
    nothing lives (`face_html`, `face_text`). The state is sent by the pump alone; what the browser sends only
    starts a command on a thread of its own. An exception of either is shown in the panel, in words.

    Parameters
    ----------
    pump
        Keeps it up to date while it is displayed.
    """

    state = traitlets.Dict().tag(sync=True)

    #: Least time between two writes of the pump, in seconds.
    interval: float = INTERVAL

    #: What may be asked for from the browser: the name of the action, and the method of the panel.
    actions: ClassVar[Mapping[str, str]] = {}

    def __init__(self, pump: Pump, **traits: Any) -> None:
        self._pump = pump
        #: Display ids of what was shown, and the id of the model that each shows.
        self._outputs: dict[str, str | None] = {}
        self._last: dict[str, Any] | None = None
        self._busy: dict[str, int] = {}
        self._faults: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._writing = threading.RLock()
        self._counting = threading.Lock()
        self._version = 0
        self._uid = uuid.uuid4().hex
        self._resync = False
        self._ended = False
        self._replaced = False
        # in place before the browser is told of the widget
        super().__init__(state=self._put(self._describe()), **traits)
        self.on_msg(self._on_message)

    def __repr__(self) -> str:
        return self.face_text()

    # -- for subclasses ------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return the state, JSON data; called by the pump."""
        raise NotImplementedError

    @property
    def over(self) -> bool:
        """Whether what it shows has ended, so that the state is the last one."""
        return False

    def face_html(self) -> str:
        """Return a snapshot: well-formed, themed, and without anything that runs."""
        raise NotImplementedError

    def face_text(self) -> str:
        """Return one line that depends on nothing but what is shown."""
        raise NotImplementedError

    def on_other(self, message: Mapping[str, Any], _buffers: list[Any], /) -> None:
        """Take a message of the browser that is of no kind that all panels know.

        Parameters
        ----------
        message
            What the browser has sent: JSON data, whose ``kind`` says what it is.
        buffers
            Bytes that came with it.
        """

    # -- display -------------------------------------------------------------------------------------------

    def bundle(self) -> dict[str, Any]:
        """Return the three faces: the live widget, the snapshot and the line of text."""
        return {
            VIEW_MIMETYPE: {"version_major": 2, "version_minor": 0, "model_id": self.model_id},
            "text/html": self.face_html(),
            "text/plain": self.face_text(),
        }

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        self._begin_to_show()
        return self.bundle(), {}

    def _ipython_display_(self) -> None:
        self.show()

    def show(self) -> None:
        """Display it here, once more; in a plain interpreter print its line of text."""
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        if get_ipython() is None:
            print(self.face_text())  # noqa: T201 - this is its display
            return
        name = uuid.uuid4().hex
        self._begin_to_show()
        bundle = self.last_bundle() if self._replaced else self.bundle()
        if self._ended:
            self._last = bundle
        self._outputs[name] = bundle.get(VIEW_MIMETYPE, {}).get("model_id")
        while len(self._outputs) > MOST_OUTPUTS:
            del self._outputs[next(iter(self._outputs))]
        display(bundle, raw=True, display_id=name)  # type: ignore[no-untyped-call]

    def _begin_to_show(self) -> None:
        """Bring it to this moment; the pump keeps it there, and ends it."""
        if not self._ended:
            with self._writing:
                self._flush()
        self._pump_it()

    def _pump_it(self) -> None:
        if not self._ended:
            self._pump.add(self)

    def last_bundle(self) -> dict[str, Any]:
        """Return what is left of it when it has ended: the snapshot and the line of text.

        The live widget is not among them, since a notebook that is opened again, with another kernel, would
        show an error in its place.
        """
        return {"text/html": self.face_html(), "text/plain": self.face_text()}

    @property
    def useful(self) -> bool:
        """Whether the live widget can still be used when what it shows has ended."""
        return False

    def end(self, *, last: bool = True) -> None:
        """Write the last state, and replace each output, so that a saved notebook shows the end.

        Parameters
        ----------
        last
            Nothing can follow: the live widget is taken away even if it could still be used.
        """
        with self._writing:
            ended, self._ended = self._ended, True
            if not ended:
                self._flush()
        live = self.useful and not last
        if not live:
            self._pump.remove(self)
        if not ended or (last and not self._replaced):
            self._replaced = not live
            self._last = self.bundle() if live else self.last_bundle()
            self._replace_outputs(self._last)

    def _replace_outputs(self, bundle: Mapping[str, Any]) -> None:
        if not self._outputs:
            return
        from IPython.display import update_display

        for name in self._outputs:
            update_display(bundle, display_id=name, raw=True)  # type: ignore[no-untyped-call]
        self._tell_last()

    def _tell_last(self) -> None:
        """Have a browser that was loaded after its outputs, and so knows no display ids, replace them."""
        views = [view for view in self._outputs.values() if view is not None]
        if views and self._last is not None:
            self.send({"kind": "last", "views": views, "data": self._last})

    # -- the pump's side -----------------------------------------------------------------------------------

    @property
    def ticking(self) -> bool:
        """Whether costs and times go on although nothing happens."""
        return not self._ended

    def flush(self) -> bool:
        """Write what has changed; ends the panel when what it shows is over."""
        with self._writing:
            if self._replaced:
                return False
            written = self._flush()
            over, ended = self.over, self._ended
            # what was over goes on, for example because failed items are tried again
            self._ended = ended and over
            if not self._ended:
                self._last = None
        if over and not ended:
            self.end(last=False)
        return written

    def beat(self) -> None:
        """Say that the kernel is alive."""
        self.send({"kind": "beat", "version": self._version, "now": time.time() * 1000})

    def _flush(self) -> bool:
        state = self._describe()
        patch = difference(self._trait_values["state"], state)
        if patch is None and not self._resync:
            return False
        base = self._version
        self._version += 1
        state = self._put(state)
        if self._resync:
            self._resync = False
            self.send({"kind": "full", "state": state, "now": state["now"]})
        else:
            self.send(
                {
                    "kind": "patch",
                    "base": base,
                    "version": self._version,
                    "now": state["now"],
                    **(patch or {}),
                }
            )
        return True

    def _describe(self) -> dict[str, Any]:
        try:
            state = self.describe()
        except Exception as error:
            logger.debug("The state of %s could not be made", type(self).__name__, exc_info=True)
            state = dict(self._trait_values.get("state") or {})
            self._fault(f"This could not be brought up to date: {_words(error)}", key="update")
        else:
            self._faults.pop("update", None)
        state["uid"] = self._uid
        state["busy"] = sorted(self._busy)
        state["faults"] = dict(self._faults)
        state["final"] = self._ended
        state.pop("version", None)
        state.pop("now", None)
        return state

    def _put(self, state: dict[str, Any]) -> dict[str, Any]:
        """Keep the state where a page that is opened later finds it, without sending all of it again."""
        full = {**state, "version": self._version, "now": datetime.now(UTC).timestamp() * 1000}
        self._trait_values["state"] = full
        return full

    # -- the browser's side --------------------------------------------------------------------------------

    def _on_message(self, _: Any, message: Any, buffers: list[Any]) -> None:
        """Hear the browser; on whatever thread, so nothing is done here."""
        if not isinstance(message, dict):
            return
        kind = message.get("kind")
        if kind == "hello":
            # a page that has the last state is not sent it again
            self._resync |= message.get("version") != self._version
            self._pump_it()
            self._pump.mark()
            self._tell_last()
        elif kind == "do":
            arguments = message.get("args")
            self.perform(str(message.get("action")), arguments if isinstance(arguments, dict) else {})
        else:
            try:
                self.on_other(message, buffers)
            except Exception as error:
                self._fault(_words(error))

    def perform(self, action: str, arguments: Mapping[str, Any]) -> None:
        """Do what a button asks for, on a thread of its own.

        Parameters
        ----------
        action
            One of the names in `actions`; any other one is told in the panel.
        arguments
            What the method of that action is called with.
        """
        if action == "dismiss":
            self._faults.pop(str(arguments.get("key")), None)
            self._changed()
            return
        method = self.actions.get(action)
        if method is None:
            self._fault(f"There is nothing called {clean(action, 40)!r} here")
            return
        key = self.busy_key(action, arguments)
        self._count(key, 1)
        self._changed()

        def done(error: BaseException | None) -> None:
            self._count(key, -1)
            if error is not None:
                logger.debug("%s of %s failed", action, type(self).__name__, exc_info=error)
                self._fault(f"{action.replace('_', ' ').capitalize()}: {_words(error)}")
            self._changed()

        started = commands.run(lambda: getattr(self, method)(**arguments), done)
        if not started:
            self._count(key, -1)
            self._fault("Too much is under way already: wait until some of it is done")

    def _count(self, key: str, change: int) -> None:
        """Note that an action is under way, or that it is not any more."""
        with self._counting:
            count = self._busy.pop(key, 0) + change
            if count > 0:
                self._busy[key] = count

    def busy_key(self, action: str, arguments: Mapping[str, Any]) -> str:
        """Return the name under which an action that is under way is part of the state.

        Parameters
        ----------
        action
            Its name in `actions`.
        arguments
            What it was asked for with; an ``id`` among them becomes part of the name.
        """
        identity = arguments.get("id")
        return action if identity is None else f"{action} {identity}"

    def _fault(self, text: str, key: str | None = None) -> None:
        key = key or str(next(self._numbers))
        self._faults[key] = text
        while len(self._faults) > MOST_FAULTS:
            del self._faults[next(iter(self._faults))]
        self._changed()

    def _changed(self) -> None:
        if self._ended:
            # an ended panel is not pumped any more, but its errors still have to be seen
            with self._writing:
                self._flush()
        else:
            self._pump.mark()


def _words(error: BaseException) -> str:
    text = clean(error, FAULT_LENGTH)
    if text and isinstance(error, GolemError):
        # ours say what is wrong and what to do; of others the class may be what tells most
        return text
    name = type(error).__name__
    return f"{name}: {text}" if text else name
