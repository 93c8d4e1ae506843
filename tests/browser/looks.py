"""What tests of panels begin with, and look at."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator

from tests.browser.harness import Notebook

Open = Callable[..., Notebook]

#: The panels' sources, staged.
START = "from stage import *"

#: Contrast of all visible texts in a panel with what is behind them: the worst one, and which it is.
CONTRAST = """root => {
  const numbers = text => text.match(/[\\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = text => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, below) => [0, 1, 2].map(n => top[n] * top[3] / 255 + below[n] * (1 - top[3] / 255));
  const above = node => node.parentElement ?? node.getRootNode().host;
  const behind = node => {
    const layers = [];
    for (let n = node; n; n = above(n)) {
      const paper = n.matches(".svg-container") ? n.querySelector(".main-svg") : n;
      const colour = rgba(getComputedStyle(paper).backgroundColor);
      if (colour[3]) layers.unshift(colour);
    }
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = colour => colour.slice(0, 3).map(n => n / 255)
    .map(n => n <= 0.03928 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4)
    .reduce((sum, n, at) => sum + n * [0.2126, 0.7152, 0.0722][at], 0);
  let worst = [99, ""];
  for (const node of root.querySelectorAll("*")) {
    const text = [...node.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent).join("").trim();
    if (!text || !node.checkVisibility() || node.closest(".gnb-spoken, legend")) continue;
    const back = behind(node);
    const style = getComputedStyle(node);
    const ink = rgba(node instanceof SVGElement ? style.fill : style.color);
    for (let n = node; n; n = above(n)) ink[3] *= Number(getComputedStyle(n).opacity);
    const front = over(ink, back);
    const [low, high] = [light(front), light(back)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < worst[0]) worst = [ratio, `${node.tagName} ${node.className}: ${text.slice(0, 40)}`];
  }
  return worst;
}"""

#: Numbers of a figure that lie on a bar, whose colour would decide whether they can be read.
ON_BARS = """root => {
  const bars = [...root.querySelectorAll(".bars .point path")].map(node => node.getBoundingClientRect());
  return [...root.querySelectorAll(".bartext")].filter(node => {
    const text = node.getBoundingClientRect();
    return bars.some(bar => bar.left < text.right && text.left < bar.right
      && bar.top < text.bottom && text.top < bar.bottom);
  }).map(node => node.textContent);
}"""

#: Controls of a panel that have no name for who does not see them.
NAMELESS = """root => [...root.querySelectorAll("button, input, select, a, [tabindex]")]
  .filter(node => node.checkVisibility())
  .filter(node => !(node.getAttribute("aria-label") || node.textContent.trim() || node.labels?.length))
  .map(node => node.outerHTML.slice(0, 120))"""


def panel(notebook: Notebook, name: str, index: int = 0) -> Locator:
    return notebook.page.locator(f".gnb-{name}").nth(index)


#: Whether the figure is as wide as its place, and all of its texts lie in it.
FITS = """width => {
  const figure = document.querySelector("[data-gnb-figure]");
  const edge = figure.getBoundingClientRect();
  const drawn = figure.querySelector(".main-svg").clientWidth;
  return figure._fullLayout.width === width && Math.abs(drawn - width) <= 1
    && [...figure.querySelectorAll(".main-svg text")].map(text => text.getBoundingClientRect())
      .every(box => !box.width || (box.left >= edge.left - 1 && box.right <= edge.right + 1));
}"""

#: A session in which things happen when `emit` is told of them.
RUSH = """
import threading
from rush import Rush
from golem_nb.frames import Recorder
recorder = desk._recorder = Recorder()
rush = Rush(["sun", HOSTILE, "$x^2$"])
def emit(events):
    for event in events:
        recorder.take(event)
        desk.take(event)
emit(rush.begin())
class Instance:
    id = "abcdef"
    exc_info = (None, None, None)
emit(rush.turn()); emit([rush.proposal(1)])
"""

#: Its dashboard, in a cell.
BOARD = """
board = desk.dashboard()
board
"""

#: The same with a service, so that each part has something to show.
LIVE = RUSH + 'emit(rush.service(Instance(), 0, "pending", "starting", "running"))' + BOARD
