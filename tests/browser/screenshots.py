"""Pictures of the panels for README and documentation: `python -m tests.browser.screenshots`.

A real session on a network of its own works in a real JupyterLab; each panel is photographed in light and in
dark. Names after the module: only these pictures are taken.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
from imageio_ffmpeg import get_ffmpeg_exe
from playwright.sync_api import Locator, expect, sync_playwright

from tests.browser.harness import CHROMIUM_FLAGS, ROOT, Browser, Notebook, chromium, jupyter

# a machine that builds something else at the same time is slow
expect.set_options(timeout=30_000)

IMAGES = ROOT / "docs" / "images"

#: Pages with larger pictures take their time.
LARGEST = 150_000

START = """
from golem_nb import Session, vm

session = Session(budget=1, providers=12)
session
"""

WORK = """
import random, time

def estimate(seed):
    "Pi, and as if it were much harder."
    generator = random.Random(seed)
    points = [(generator.random(), generator.random()) for _ in range(10_000)]
    time.sleep(generator.uniform(0.5, 2.5))
    return 4 * sum(x * x + y * y < 1 for x, y in points) / len(points)
"""

JOB = """
job = session.map(estimate, range(300), max_workers=8)
job
"""

SERVICE = """
from golem_nb.contrib.service.http_proxy import HttpProxyService

class Site(HttpProxyService):
    def __init__(self):
        super().__init__(remote_port=8000)

    @staticmethod
    async def get_payload():
        return await vm.repo(image_tag="golem_nb/python:latest", capabilities=["vpn"])

    async def start(self):
        async for script in super().start():
            yield script
        script = self._ctx.new_script()
        serve = f"python3 -m http.server --bind {self.network_node.ip} 8000 > log 2>&1"
        script.run("/bin/sh", "-c", f"cd /golem/work; {serve} & echo serving")
        yield script

network = session.create_network("192.168.0.0/24")
"""

CLUSTER = """
cluster = session.cluster(Site, num_instances=4, network=network)
cluster
"""


#: Asks the instance beside it for its page.
NEIGHBOUR = 'from urllib.request import urlopen; print(urlopen("http://192.168.0.3:8000").status)'


@attrs.frozen
class Picture:
    """A panel in its cell.

    Attributes
    ----------
    cell
        What is run.
    panel
        The panel's class in the page.
    whole
        Whether the code is in the picture, too.
    """

    cell: str
    panel: str
    whole: bool = False


PICTURES = {
    "card": Picture(START, "card"),
    "progress": Picture(JOB, "progress", whole=True),
    "market": Picture("explorer = session.market()\nexplorer", "market"),
    "cluster": Picture(CLUSTER, "cluster"),
    "dashboard": Picture("session.dashboard()", "dashboard"),
    "terminal": Picture("cluster.terminal()", "terminal"),
}


@contextlib.contextmanager
def sharp_page(profile: Path) -> Iterator[Browser]:
    """A page with twice as many dots to a line, as good screens have them."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=chromium(),
            headless=True,
            args=[*CHROMIUM_FLAGS, "--font-render-hinting=none"],
            viewport={"width": 960, "height": 1400},
            device_scale_factor=2,
        )
        try:
            found = Browser(context.pages[0])
            found.watch()
            found.page.set_default_timeout(30_000)
            yield found
        finally:
            context.close()


def packed(picture: bytes) -> bytes:
    """Return a PNG of 256 colours, which is what panels have and a third of the size."""
    colours = "split[a][b];[a]palettegen=reserve_transparent=0[c];[b][c]paletteuse=dither=none"
    command = [get_ffmpeg_exe(), "-v", "error", "-f", "png_pipe", "-i", "-", "-filter_complex", colours]
    command += [
        "-compression_level",
        "9",
        "-pred",
        "mixed",
        "-frames:v",
        "1",
        "-f",
        "image2pipe",
        "-c:v",
        "png",
        "-",
    ]
    return subprocess.run(command, input=picture, capture_output=True, check=True).stdout


class Studio:
    """The notebook in which the pictures are taken."""

    def __init__(self, book: Notebook, wanted: list[str]) -> None:
        self._book = book
        self._wanted = wanted
        self._cells = 0

    def run(self, code: str) -> Locator:
        """Run a cell; returns it."""
        self._book.add(code.strip("\n"))
        self._cells += 1
        return self._book.cell(self._cells)

    def show(self, name: str) -> Locator:
        """Run the cell of a picture; returns its panel."""
        panel = self.run(PICTURES[name].cell).locator(f".gnb-{PICTURES[name].panel}").first
        expect(panel).to_be_visible()
        return panel

    def take(self, name: str, panel: Locator) -> None:
        """Take a picture of a panel, or of its cell, in both themes."""
        if name not in self._wanted:
            return
        # its cell is the closest one above it
        shown = (
            panel.locator("xpath=ancestor::*[contains(@class, 'jp-Cell ')][1]")
            if PICTURES[name].whole
            else panel
        )
        # no cell is marked as the current one
        self._book.page.evaluate(
            "() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }"
        )
        for theme in ("light", "dark"):
            self._book.theme(dark=theme == "dark")
            # colours of the theme come over some frames
            self._book.page.wait_for_timeout(700)
            path = IMAGES / f"{name}-{theme}.png"
            path.write_bytes(packed(shown.screenshot(animations="disabled")))
            size = path.stat().st_size
            if size > LARGEST:
                raise RuntimeError(f"{path.name} has {size} bytes, and {LARGEST} are the most")
            print(f"{path.relative_to(ROOT)}: {size / 1000:.0f} kB")
        self._book.theme(dark=False)


def shoot(book: Notebook, wanted: list[str]) -> None:
    """Work in the notebook, and take pictures on the way."""
    page = book.page
    book.command("application:toggle-left-area")
    page.add_style_tag(content=".jp-InputPrompt, .jp-OutputPrompt { display: none !important; }")
    studio = Studio(book, wanted)
    card = studio.show("card")
    studio.run(WORK)
    # it shows what happens from now on
    dashboard = studio.show("dashboard")
    progress = studio.show("progress")
    book.wait_for("job.progress.done >= 130 or job.ended", timeout=180)
    studio.take("progress", progress)
    market = studio.show("market")
    expect(market).to_contain_text("12 of 12 offers")
    studio.take("market", market)
    studio.run(SERVICE)
    cluster = studio.show("cluster")
    expect(cluster).to_contain_text("4 of 4", timeout=60_000)
    # until the job's invoices have come
    book.wait_for("job.ended and bool(session.costs.accepted.max() > 0)", timeout=120)
    studio.take("card", card)
    output = dashboard.locator("xpath=ancestor::*[contains(@class, 'jp-Cell-outputArea')][1]")
    expect(output.locator(".main-svg").first).to_be_visible()
    page.wait_for_timeout(3000)
    studio.take("dashboard", output)
    terminal = studio.show("terminal")
    terminal.locator("[tabindex]").first.click()
    for line in ("ip -br address", "ls /golem", f"python3 -c '{NEIGHBOUR}'"):
        page.keyboard.type(f"{line}\n", delay=60)
        page.wait_for_timeout(1000)
    # the neighbour's answer
    expect(terminal).to_contain_text(re.compile(r"'\s*200\s*root@"))
    studio.take("terminal", terminal)
    studio.take("cluster", cluster)
    studio.run("session.stop()")


def main(wanted: list[str]) -> None:
    """Take the pictures of these names, or all."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gnb-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        for part in ("notebooks", "jupyter", "data"):
            (folder / part).mkdir()
        environment = {"GOLEM_NB_DATA_DIR": str(folder / "data")}
        url = stack.enter_context(jupyter(folder / "notebooks", folder / "jupyter", environment=environment))
        browser = stack.enter_context(sharp_page(folder / "chromium"))
        book = Notebook(browser, url, folder / "notebooks").open(["pass"], "golem.ipynb")
        try:
            shoot(book, wanted or list(PICTURES))
        except Exception:
            book.screenshot("screenshots-failed")
            raise
        finally:
            book.shut_down()


if __name__ == "__main__":
    main(sys.argv[1:])
