"""What holds for all panels: keys, narrow places, no kernel, a busy machine, hostile text, colours, names."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.looks import CONTRAST, FITS, LIVE, NAMELESS, ON_BARS, START, Open, panel


def test_without_its_kernel_a_panel_says_so_and_stands_still(notebook: Open) -> None:
    book = notebook(
        [
            START + "; trails(); lanes()",
            "desk.card()",
            "desk.progress(job)",
            "desk.cluster(cluster)",
            "explorer = desk.market(Stall(20)); explorer",
            "desk.dashboard()",
            "shell = terminal(); shell._shell.say(b'$ '); shell",
        ]
    )
    names = ("card", "progress", "cluster", "market", "dashboard", "terminal")
    card, progress, cluster, market, _, shell = panels = [panel(book, name) for name in names]
    expect(shell.locator(".gnb-cursor")).to_be_visible()
    expect(market).to_contain_text("20 of 20 offers shown")
    for found in panels:
        expect(found.locator(".gnb-gone")).to_be_hidden()
    book.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    for found in panels:
        expect(found.locator(".gnb-gone")).to_contain_text("The kernel is gone. This is how it was at")
        for control in found.locator("button, input, select").all():
            expect(control).to_be_disabled()
    expect(card).to_contain_text("0.2055 of 1.0000 tGLM spent")
    clocks = [progress.locator(".gnb-times"), cluster.locator("tbody"), cluster.locator(".gnb-timeline")]
    before = [clock.inner_html() for clock in clocks]
    # two turns of the hands
    book.page.wait_for_timeout(2100)
    # whatever draws the panels again
    book.theme(dark=True)
    expect(progress).to_have_attribute("data-theme", "dark")
    assert [clock.inner_html() for clock in clocks] == before
    # nothing waits for what is typed
    expect(shell.locator(".gnb-hint")).to_be_hidden()
    expect(shell.locator(".gnb-cursor")).to_have_count(0)
    expect(progress.get_by_role("button", name="Cancel")).to_be_disabled()
    book.screenshot("kernel-gone", progress)


def test_keys_in_a_panel_are_not_shortcuts_of_the_notebook(notebook: Open) -> None:
    book = notebook([START, "desk.card()"])
    card = panel(book, "card")
    card.get_by_role("button", name="Stop session").focus()
    for key in ("d", "d", "x", "b", "m", "ArrowDown", "0", "0"):
        book.page.keyboard.press(key)
    book.page.wait_for_timeout(300)
    assert book.page.locator(".jp-Notebook .jp-Cell").count() == 2
    assert book.page.locator(".jp-Dialog").count() == 0
    assert book.ask("1 + 1") == "2"


#: What the page and the notebook can be scrolled sideways, and a panel beyond its place, in pixels.
SIDEWAYS = """root => [
    document.documentElement,
    ...document.querySelectorAll(".jp-WindowedPanel-outer, .jp-Notebook"),
    root.closest(".jp-OutputArea-output"),
  ].map(node => node.scrollWidth - node.clientWidth)"""


def test_in_a_narrow_window_only_tables_are_scrolled_sideways(notebook: Open) -> None:
    book = notebook([START + "; lanes(); trails()", *HOSTILE_CELLS[1:5], "desk.dashboard()"])
    market = panel(book, "market")
    expect(market.locator(".gnb-line")).to_contain_text("20 of 20 offers shown")
    area = market.locator(".gnb-offers")
    sticks = "node => node.scrollWidth - node.clientWidth"
    # in an ordinary window all columns are in sight
    assert area.evaluate(sticks) <= 0
    try:
        for width in (900, 700):
            book.page.set_viewport_size({"width": width, "height": 1000})
            for name in ("card", "progress", "market", "cluster", "dashboard"):
                found = panel(book, name)
                found.scroll_into_view_if_needed()
                expect(found).to_be_visible()
                assert max(found.evaluate(SIDEWAYS)) <= 0, (width, name)
            assert area.evaluate(sticks) > 100
            area.evaluate("node => { node.scrollLeft = 1000; }")
            # what is picked there has a name still
            box, name = area.get_by_role("checkbox").first, area.locator("tbody bdi").first
            box.click()
            expect(market.locator(".gnb-line")).to_contain_text("1 offer picked")
            box.click()
            expect(market.locator(".gnb-line")).to_contain_text("none picked")
            first, second, frame = box.bounding_box(), name.bounding_box(), area.bounding_box()
            assert first is not None
            assert second is not None
            assert frame is not None
            assert frame["x"] <= first["x"] < second["x"] < frame["x"] + 60
            book.screenshot(f"market-{width}", market)
    finally:
        book.page.set_viewport_size({"width": 1200, "height": 1000})


#: What of a panel lies beyond its right edge, but in what is scrolled by itself.
BEYOND = """root => {
  const edge = root.getBoundingClientRect().right + 0.5;
  const found = [];
  const look = node => {
    for (const child of node.children) {
      const style = getComputedStyle(child);
      if (style.display === "none") continue;
      if (child.getBoundingClientRect().right > edge) found.push(child.outerHTML.slice(0, 100));
      if (!["auto", "scroll", "hidden"].includes(style.overflowX)) look(child);
    }
  };
  look(root);
  return found;
}"""

#: Words of which each gets a line of its own, or less, although they could stand side by side.
COLUMNS = """root => [...root.querySelectorAll("p:not(.gnb-spoken), li > span")]
  .filter(node => node.checkVisibility() && node.textContent.length > 60 && node.clientWidth < 100)
  .map(node => node.textContent)"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_narrow_cell_everything_stays_in_its_panel(notebook: Open, dark: bool) -> None:
    shell = "shell = terminal(); shell._shell.say(COLOURS); shell"
    book = notebook([START + "; lanes(); trails()", *HOSTILE_CELLS[1:5], LIVE, shell], dark=dark)
    expect(panel(book, "market").locator(".gnb-line")).to_contain_text("20 of 20 offers shown")
    expect(book.page.locator("[data-gnb-figure] .main-svg").first).to_be_visible()
    panel(book, "progress").locator("summary").click()
    panel(book, "cluster").locator("summary", has_text="More").first.click()
    panel(book, "card").get_by_role("button", name="Recover").click()
    book.ask("(desk.card()._fault('something went wrong, which takes some words to tell ' * 3), desk.mark())")
    expect(panel(book, "card").get_by_role("alert")).to_contain_text("something went wrong")
    style = book.page.add_style_tag(content="/* a column of cells beside others */")
    for width in (290, 240, 200):
        style.evaluate(
            "(node, width) => { node.textContent = `.jp-OutputArea-output { flex: none !important;"
            " width: ${width}px !important }`; }",
            width,
        )
        for name in ("card", "progress", "market", "cluster", "dashboard", "terminal"):
            found = panel(book, name)
            assert found.evaluate("node => node.getBoundingClientRect().width") <= width
            assert found.evaluate(BEYOND) == [], (width, name)
            assert found.evaluate(COLUMNS) == [], (width, name)
            book.screenshot(f"{name}-{width}-{'dark' if dark else 'light'}", found)
        plot = book.page.locator("[data-gnb-figure]")
        assert plot.evaluate("node => node.parentElement.scrollWidth - node.parentElement.clientWidth") <= 0
        # drawn a moment later, and nothing of it is cut or has to be scrolled for
        book.page.wait_for_function(FITS, arg=width)
        assert plot.evaluate("node => node.scrollWidth - node.clientWidth") <= 0
    style.evaluate("node => node.remove()")
    book.page.wait_for_function(FITS, arg=plot.evaluate("node => node.clientWidth"))


#: A page in which every module is late for anywidget.
LATE = """() => {
  const timeout = AbortSignal.timeout.bind(AbortSignal);
  AbortSignal.timeout = (time) => {
    if (time !== 2000) return timeout(time);
    const controller = new AbortController();
    setTimeout(() => controller.abort());
    return controller.signal;
  };
}"""


def test_on_a_machine_that_is_too_busy_panels_are_late_but_live(notebook: Open) -> None:
    book = notebook([START + "; lanes()"])
    book.page.evaluate(LATE)
    book.add("desk.progress(job)", LIVE)
    expect(panel(book, "progress")).to_contain_text("32 of 50 items done")
    plot = book.page.locator("[data-gnb-figure]")
    expect(plot.locator(".bartext", has_text="3").first).to_be_visible()
    # none of that has reached the page as it was sent
    book.ask("(job.change(done=40), [emit(rush.turn()) for _ in range(4)])")
    expect(panel(book, "progress")).to_contain_text("40 of 50 items done", timeout=30_000)
    expect(plot.locator(".bartext", has_text="15").first).to_be_visible(timeout=30_000)
    # the figure has been sent once more, which plotly takes for changes: times are times still
    assert plot.evaluate("node => node.data[0].x.every(time => time > 1e12)")
    book.ask("(job.change(done=41), emit(rush.turn()))")
    expect(panel(book, "progress")).to_contain_text("41 of 50 items done")
    expect(plot.locator(".bartext", has_text="18").first).to_be_visible()
    # nor what is no state
    book.add(
        "explorer = desk.market(Stall(20)); explorer", "shell = terminal(); shell._shell.say(b'hello'); shell"
    )
    expect(panel(book, "market")).to_contain_text("20 of 20 offers shown", timeout=30_000)
    expect(panel(book, "terminal").get_by_role("textbox", name="Terminal.")).to_contain_text("hello")
    assert any("Failed to initialize model" in text for text in book.browser.errors)


HOSTILE_CELLS = [
    START + "; lanes(); trails()",
    "desk.card()",
    "desk.progress(job)",
    "stall = Stall(20); explorer = desk.market(stall); explorer",
    "desk.cluster(cluster)",
    LIVE,
    "recorder.costs()",
    "MEGABYTES = HOSTILE + '<b>' * 3_500_000 + HOSTILE  # in one line\nshell = terminal(); shell",
    "from IPython.display import HTML; from golem_nb.ui.faces import *\n"
    "HTML(job_html(attrs.evolve(job.now, outcome=HOSTILE * 100, what=HOSTILE)) + session_html(session.now))",
]


def test_nothing_that_a_provider_says_is_more_than_text(notebook: Open) -> None:
    book = notebook(HOSTILE_CELLS)
    book.ask(
        "(session.change(name=HOSTILE, subnet=HOSTILE, problem=HOSTILE * 50, left=[HOSTILE] * 3),"
        " job.change(what=HOSTILE, outcome=HOSTILE * 50, errors=[ErrorFact('1', HOSTILE, MEGABYTES)]),"
        " cluster.change(service=HOSTILE, instances=[attrs.evolve(each, output=MEGABYTES, message=MEGABYTES,"
        " error=MEGABYTES) for each in cluster.now.instances]), shell._shell.say(MEGABYTES.encode()))"
    )
    expect(panel(book, "card")).to_contain_text("<img src=x onerror=")
    expect(panel(book, "progress")).to_contain_text("<img src=x onerror=")
    expect(panel(book, "market")).to_contain_text("20 of 20 offers shown")
    panel(book, "progress").locator("summary").click()
    for button in panel(book, "cluster").locator("summary", has_text="More").all():
        button.click()
    for output in panel(book, "cluster").get_by_label("End of the output").all():
        expect(output).to_contain_text(re.compile(r"^…[<b>]+….*<img src=x onerror=.*gnp\.exe$"))
    expect(panel(book, "progress").locator(".gnb-errors pre")).to_contain_text(re.compile("^…[<b>]+…"))
    # a terminal shows all of it, the end last
    expect(panel(book, "terminal").get_by_role("textbox", name="Terminal.")).to_contain_text("gnp.exe")
    assert len(panel(book, "terminal").inner_text()) < 200_000
    plot = book.page.locator("[data-gnb-figure]")
    expect(plot.locator(".legendtext").first).to_be_visible()
    # the words of a provider over its points
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    for share in (0.2, 0.4, 0.6, 0.8):
        for height in (0.15, 0.45, 0.55, 0.8):
            book.page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] * height)
            book.page.wait_for_timeout(30)
    book.page.wait_for_timeout(500)
    assert book.page.evaluate("() => window.hacked ?? null") is None
    for selector in (".gnb", "[data-gnb-figure]", ".jp-OutputArea"):
        assert book.page.locator(f"{selector} img[src=x], {selector} script").count() == 0
    for output in book.page.locator(".jp-OutputArea-output").all():
        assert "\u202e" not in (output.text_content() or "")
    book.screenshot("hostile")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everything_can_be_read_and_has_a_name(notebook: Open, dark: bool) -> None:
    shell = "shell = terminal(); shell._shell.say(COLOURS); shell"
    cells = [*HOSTILE_CELLS[:5], LIVE, shell]
    book = notebook(cells, dark=dark)
    book.page.set_viewport_size({"width": 1200, "height": 3800})
    try:
        expect(panel(book, "market")).to_contain_text("20 of 20 offers shown")
        panel(book, "progress").locator("summary").click()
        panel(book, "cluster").locator("summary", has_text="More").first.click()
        book.ask("(desk.card()._fault('something went wrong'), desk.mark())")
        panel(book, "card").get_by_role("button", name="Recover").click()
        expect(panel(book, "card").get_by_role("alert")).to_contain_text("something went wrong")
        expect(panel(book, "terminal")).to_contain_text("look-97")
        for name in ("card", "progress", "market", "cluster", "dashboard", "terminal"):
            found = panel(book, name)
            expect(found).to_have_attribute("data-theme", "dark" if dark else "light")
            worst: list[Any] = found.evaluate(CONTRAST)
            assert worst[0] >= 4.5, f"{name}: {worst}"
            assert found.evaluate(NAMELESS) == [], name
            book.screenshot(f"{name}-{'dark' if dark else 'light'}", found)
        plot = book.page.locator("[data-gnb-figure]")
        expect(plot.locator(".bartext", has_text="3").first).to_be_visible()
        worst = plot.evaluate(CONTRAST)
        assert worst[0] >= 4.5, worst
        assert plot.evaluate(ON_BARS) == []
        book.screenshot(f"figure-{'dark' if dark else 'light'}", plot)
    finally:
        book.page.set_viewport_size({"width": 1200, "height": 1000})
