"""``python -m benchmarks.widgets [--seconds N] [--rates R …] [--flat N]``: what panels cost.

JupyterLab in a headless Chromium that draws by software shows a dashboard, a cluster and a batch while
events come at each rate. The events go through the engine's own dispatcher, as its public ``emit`` does it,
on a loop in a thread of its own; offers are added to the table of offers. There is no network: objects in
the events have only what consumers look at. What the injection itself costs, with the session's frames but
without any panel, is measured first and told apart. Prints lines of JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.browser.harness import Browser, Notebook, browser, jupyter

#: Aims: share of a core, milliseconds of a frame, seconds of lag, growth of memory in a minute while the
#: session's frames, which keep every event, are left out. What is left of the page after a collection goes up
#: and down by some megabytes: plotly keeps the sizes of texts at their places, and forgets all of them when
#: there are 10 000, which takes more than two minutes. A leak goes on beyond that.
AIMS = {
    "panels_cpu_percent": 10.0,
    "frame_ms_p95": 100.0,
    "lag_s_p95": 0.5,
    "kernel_mb_per_minute": 1.0,
    "page_mb_per_minute": 1.0,
    "page_nodes_per_minute": 50.0,
    "page_listeners_per_minute": 5.0,
}

#: Events come for so long before anything is measured, in seconds.
WARM_UP = 8.0

#: Memory is looked at that often, in seconds.
SAMPLE = 10.0

SET_UP = """
import asyncio, itertools, threading, time
from stage import *
from rush import Rush
from golem_nb.engine.dispatcher import EventDispatcher
from golem_nb.frames import Recorder

lanes(); trails()
recorder = desk._recorder = Recorder()
rush = Rush([f"provider-{n}" for n in range(20)])
dispatcher = EventDispatcher()
recording = [True]
dispatcher.add(lambda event: recorder.take(event) if recording[0] else None, (ev.Event,))
dispatcher.add(desk.take, (ev.Event,))
loop = asyncio.new_event_loop()
reached = [], []

async def inject(rate, seconds):
    dispatcher.start()
    for event in rush.begin():
        dispatcher.emit(event)
    source = itertools.chain.from_iterable(rush.turn() for _ in itertools.count())
    begin, sent, accepted = time.time(), 0, desk._series.accepted
    while (now := time.time()) - begin < seconds:
        due = int((now - begin) * rate)
        for event in itertools.islice(source, max(due - sent, 0)):
            dispatcher.emit(event)
        sent = max(sent, due)
        if recording[0]:
            reached[0].append(desk._series.accepted)
            reached[1].append(now)
        if int(now * 100) % 50 == 0:
            # the offers of a market are made anew again and again
            recorder._offers.add(rush.proposal(sent % 500).proposal)
        await asyncio.sleep(0.01)
    await dispatcher.stop()

def measured(rate, seconds, frames=True):
    recording[0] = frames
    outcome = {}
    def work():
        cpu, begin = time.process_time(), time.time()
        loop.run_until_complete(inject(rate, seconds))
        outcome["cpu_percent"] = 100 * (time.process_time() - cpu) / (time.time() - begin)
    for column in reached:
        column.clear()
    thread = threading.Thread(target=work)
    thread.start()
    return thread, outcome
"""

#: Notes how long frames take, and when the number of accepted tasks that is drawn changes.
WATCH = """() => {
  const frames = [], seen = [];
  let last = performance.now(), shown = null, on = true;
  const look = now => {
    frames.push(now - last);
    last = now;
    const bars = [...document.querySelectorAll("[data-gnb-figure] .bartext")];
    const most = Math.max(...bars.map(node => Number(node.textContent)), 0);
    if (most !== shown) { shown = most; seen.push([most, Date.now() / 1000]); }
    if (on) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
  window.watched = () => { on = false; return { frames, seen }; };
}"""


def say(text: str) -> None:
    """Tell the user, beside the results."""
    print(text, file=sys.stderr, flush=True)


def percentile(values: list[float], share: float) -> float:
    """Return the value that a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


def inject(
    book: Notebook,
    rate: int,
    seconds: float,
    *,
    frames: bool = True,
    meanwhile: Callable[[], Any] | None = None,
) -> dict[str, Any]:
    """Send events for some time, with or without the session's frames; return what was measured."""
    book.ask("None", f"thread, outcome = measured({rate}, {seconds}, {frames})")
    found = None
    if meanwhile is None:
        book.page.wait_for_timeout(seconds * 1000 + 500)
    else:
        found = meanwhile()
    book.wait_for("thread.is_alive()", "False", timeout=60)
    return {**json.loads(book.ask("__import__('json').dumps(outcome)").strip("'")), "meanwhile": found}


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return by how much `y` grows with `x`: the middle one of the slopes between all pairs of points."""
    pairs = itertools.combinations(zip(x, y, strict=True), 2)
    return statistics.median((later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in pairs)


def measure(book: Notebook, page: Browser, rate: int, seconds: float, bare: dict[str, Any]) -> dict[str, Any]:
    """Measure panels at one rate of events."""
    page.page.evaluate(WATCH)
    page.received = 0
    outcome = inject(book, rate, seconds)
    watched = page.page.evaluate("() => window.watched()")
    counts, times = json.loads(book.ask("__import__('json').dumps(reached)").strip("'"))
    lags = []
    for shown, at in watched["seen"][2:]:
        # what was drawn was true until the number went beyond it
        behind = next((time for count, time in zip(counts, times, strict=True) if count > shown), None)
        if behind is not None:
            lags.append(max(at - behind, 0.0))
    return {
        "rate": rate,
        "seconds": seconds,
        "cpu_percent": round(outcome["cpu_percent"], 1),
        "without_panels_cpu_percent": round(bare["cpu_percent"], 1),
        "panels_cpu_percent": round(outcome["cpu_percent"] - bare["cpu_percent"], 1),
        "frame_ms_p50": round(statistics.median(watched["frames"]), 1),
        "frame_ms_p95": round(percentile(watched["frames"], 0.95), 1),
        "lag_s_p50": round(percentile(lags, 0.5), 2),
        "lag_s_p95": round(percentile(lags, 0.95), 2),
        "redraws_per_s": round(len(watched["seen"]) / seconds, 1),
        "kilobytes_per_s": round(page.received / seconds / 1000, 1),
    }


def flat(book: Notebook, page: Browser, rate: int, seconds: float) -> dict[str, Any]:
    """Measure how the memory of kernel and page grows while events go on."""
    kernel = psutil.Process(int(book.ask("__import__('os').getpid()")))
    devtools = page.page.context.new_cdp_session(page.page)
    devtools.send("Performance.enable")

    def look() -> dict[str, float]:
        # twice: what the first collection finalizes is let go by the second
        for _ in range(2):
            devtools.send("HeapProfiler.collectGarbage")
        metrics = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
        return {
            "kernel_mb": kernel.memory_info().rss / 1e6,
            "page_mb": metrics["JSHeapUsedSize"] / 1e6,
            "page_nodes": metrics["Nodes"],
            "page_listeners": metrics["JSEventListeners"],
        }

    def watch() -> list[tuple[float, dict[str, float]]]:
        found = []
        begin = time.monotonic()
        while (gone := time.monotonic() - begin) < seconds:
            found.append((gone / 60, look()))
            page.page.wait_for_timeout(min(SAMPLE, seconds / 6) * 1000)
        return found

    # what is thinned when it is full is as long as it gets, and caches are warm
    inject(book, rate, max(seconds / 5, WARM_UP), frames=False)
    samples = inject(book, rate, seconds, frames=False, meanwhile=watch)["meanwhile"]
    minutes = [at for at, _ in samples]
    series = {name: [each[name] for _, each in samples] for name in samples[0][1]}
    return {
        "flat_seconds": seconds,
        **{f"{name}_per_minute": round(slope(minutes, values), 2) for name, values in series.items()},
        **{
            f"{name}_from_to": [round(min(values), 1), round(max(values), 1)]
            for name, values in series.items()
        },
    }


def main() -> int:
    """Run it; give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each rate is measured")
    parser.add_argument("--flat", type=float, default=60.0, help="how long memory is watched")
    parser.add_argument("--rates", type=int, nargs="+", default=[1000, 10_000], help="events a second")
    options = parser.parse_args()
    met = True
    for rate in options.rates:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "notebooks"
            root.mkdir()
            cells = [
                "from golem_nb import events as ev\n" + SET_UP,
                "board = desk.dashboard(); board",
                "desk.cluster(cluster)",
                "desk.progress(job)",
            ]
            with (
                jupyter(root, Path(folder) / "jupyter") as url,
                browser(Path(folder) / "chromium", height=1800) as page,
            ):
                book = Notebook(page, url, root).open(cells)
                book.cell(0).locator(".jp-Cell-inputWrapper").first.wait_for()
                book.run_cell(0)
                say(f"{rate} events a second: without panels …")
                bare = inject(book, rate, options.seconds / 2)
                book.run()
                page.page.locator("[data-gnb-figure] .main-svg").first.wait_for()
                # drawing for the first time, for which the browser has to compile plotly, is no part of it
                inject(book, rate, WARM_UP)
                say(f"{rate} events a second: with dashboard, cluster and progress …")
                result = measure(book, page, rate, options.seconds, bare)
                say(f"{rate} events a second: memory …")
                result |= flat(book, page, rate, options.flat)
                book.shut_down()
        result["met"] = {name: result[name] <= aim for name, aim in AIMS.items()}
        result["machine"] = {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "load": round(os.getloadavg()[0], 1),
        }
        result["injected"] = "through the engine's dispatcher, as Engine.emit does it; no network"
        print(json.dumps(result), flush=True)
        met &= all(result["met"].values())
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
