"""Builds the static faces: well-formed by construction, escaped, in the colours of JupyterLab's theme."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, tostring

from golem_nb.ui.text import clean

__all__ = ["bar", "box", "e", "facts", "render", "table"]

_BORDER = "var(--jp-border-color2,#d0d7de)"
_MUTED = "color:color-mix(in srgb,currentColor 75%,transparent)"

Child = Element | str | None


def e(tag: str, style: str = "", *children: Child, **attributes: str) -> Element:
    """Return an element; text becomes text, whatever it is."""
    node = Element(tag, attributes)
    if style:
        node.set("style", style)
    last: Element | None = None
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            # the limit is the callers' affair: here it only has to be no control character
            text = clean(child, 5000)
            if last is None:
                node.text = (node.text or "") + text
            else:
                last.tail = (last.tail or "") + text
        else:
            node.append(child)
            last = child
    return node


def box(title: str, *children: Child) -> Element:
    """Return the frame of a static face."""
    return e(
        "div",
        f"box-sizing:border-box;max-width:100%;padding:12px 16px;border:1px solid {_BORDER};"
        "border-radius:8px;background:var(--jp-layout-color1,Canvas);color:var(--jp-ui-font-color0,CanvasText);"
        "color-scheme:light dark;font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif)",
        e("div", "margin-bottom:8px;font-weight:600;font-size:14px", title),
        *children,
        # a name between dollar signs is no formula; the first is for MathJax 3, the second for older ones
        **{"class": "mathjax_ignore tex2jax_ignore"},
    )


def bar(parts: Iterable[tuple[float, str]], label: str) -> Element:
    """Return a bar of parts, each a share of the whole from 0 to 1 and a colour."""
    spans = [
        e("span", f"width:{100 * min(max(share, 0.0), 1.0):.2f}%;background:{colour}")
        for share, colour in parts
        if share > 0
    ]
    return e(
        "div",
        "display:flex;height:12px;overflow:hidden;border-radius:6px;"
        "background:color-mix(in srgb,currentColor 15%,transparent)",
        *spans,
        role="img",
        **{"aria-label": label},
    )


def facts(pairs: Sequence[tuple[str, str]]) -> Element:
    """Return names and values beside each other."""
    cells = [
        e(
            "div",
            "min-width:0",
            e("div", f"{_MUTED};font-size:12px", name),
            e("div", "overflow-wrap:anywhere", value),
        )
        for name, value in pairs
    ]
    return e(
        "div",
        "display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:6px 20px;margin-top:10px",
        *cells,
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Element:
    """Return a table."""
    cell = f"padding:3px 12px 3px 0;border-bottom:1px solid {_BORDER};text-align:left;overflow-wrap:anywhere"
    return e(
        "table",
        "width:100%;margin-top:10px;border-collapse:collapse;font:inherit;color:inherit",
        e("thead", "", e("tr", "", *(e("th", f"{cell};{_MUTED}", text, scope="col") for text in head))),
        e("tbody", "", *(e("tr", "", *(e("td", cell, text) for text in row)) for row in rows)),
    )


def render(node: Element) -> str:
    """Return the markup, which is both XML and HTML."""
    return tostring(node, encoding="unicode", method="xml", short_empty_elements=False)
