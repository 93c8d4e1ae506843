"""How the documentation is built: `make docs`, warnings are errors, and nothing is fetched."""

from __future__ import annotations

import enum
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from golem_nb import __version__  # noqa: E402 - the checkout, not an installed one

project = "golem_nb"
author = "golem_nb contributors"
project_copyright = "golem_nb contributors"
version = release = __version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
html_theme = "pydata_sphinx_theme"
html_title = "golem_nb"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_nav_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
}
# a page that is a section of its own has nothing to show beside it
html_sidebars = {"start": []}

# the tutorials are shown as they were saved; the tests run them
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, object] = {}
nb_mime_priority_overrides = [
    ("html", "application/vnd.plotly.v1+json", None),
    ("html", "image/png", 5),
]
suppress_warnings = ["mystnb.unknown_mime_type"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# docstrings: `name` in single backticks is a reference where such a name exists, and code elsewhere
default_role = "py:obj"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
INHERITED = {"final_states", "initial_state", "states", "states_map"}


def skip(app: object, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Leave out what a state machine gets from the library that it is made with."""
    return True if name in INHERITED else None


#: Made by a session, so that nobody has to know how.
HANDLES = {
    f"golem_nb.session.{name}"
    for name in ("Batch", "ClusterHandle", "ClusterProxy", "Handle", "Item", "SessionNetwork", "TasksJob")
} | {"golem_nb.ui.market.MarketExplorer", "golem_nb.ui.dashboard.Dashboard", "golem_nb.ui.terminal.Terminal"}


def defaults(cls: type, signature: str) -> str:
    """Write the defaults of an attrs class as values: autodoc finds how its `__init__` comes by them."""
    for field in attrs.fields(cls):
        value = field.default
        if value is attrs.NOTHING:
            continue
        if isinstance(value, attrs.Factory):
            shown = f"{value.factory.__name__}()" if isinstance(value.factory, type) else "..."
        elif isinstance(value, enum.Enum):
            shown = f"{type(value).__name__}.{value.name}"
        else:
            shown = repr(value)
        found = rf"\b({field.alias}: [^=]+ = )(?:attr_dict\['{field.name}'\]\.default|(?:_Nothing\.)?NOTHING)"
        signature = re.sub(found, lambda match, shown=shown: match[1] + shown, signature)
    return signature


def sign(
    app: object, what: str, name: str, obj: Any, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """Show no constructor of what is only ever returned, and defaults as values."""
    if what == "class" and name in HANDLES:
        return "", ""
    if what == "class" and signature and attrs.has(obj):
        return defaults(obj, signature), returns
    return None


def setup(app: Any) -> None:
    """Register what is above."""
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", sign)


copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

for notebook in (ROOT / "notebooks").glob("*.ipynb"):
    target = Path(__file__).parent / "tutorials" / notebook.name
    if not target.exists() or target.read_bytes() != notebook.read_bytes():
        shutil.copyfile(notebook, target)
