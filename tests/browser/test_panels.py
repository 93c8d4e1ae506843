"""Panels as people use them: with a mouse, with keys, twice, after a reload, without a kernel."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.harness import Notebook

Open = Callable[..., Notebook]

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


def test_the_card_stops_the_session_after_it_has_named_what_it_ends(notebook: Open) -> None:
    book = notebook([START, "desk.card()"])
    card = panel(book, "card")
    expect(card).to_contain_text("0.2055 of 1.0000 tGLM spent")
    expect(card).to_contain_text("2 agreements of session default")
    card.get_by_role("button", name="Stop session").click()
    question = card.get_by_role("alertdialog")
    expect(question).to_contain_text("This ends job-3, cluster-1")
    book.page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    assert book.ask("session.pressed") == "[]"
    # and now without a mouse
    stop = card.get_by_role("button", name="Stop session")
    expect(stop).to_be_focused()
    book.page.keyboard.press("Enter")
    expect(question.get_by_role("button", name="No, go back")).to_be_focused()
    book.page.keyboard.press("Tab")
    book.page.keyboard.press("Enter")
    book.wait_for("session.pressed", "[('stop',)]")
    book.ask("session.change(state='stopped', running=[])")
    # all that is left is what a notebook that is opened again can show
    expect(book.cell(1)).to_contain_text("Golem session default · stopped")
    expect(card).to_have_count(0)


def test_an_error_of_a_button_is_shown_where_it_was_pressed(notebook: Open) -> None:
    book = notebook([START, "session.error = RuntimeError('the daemon <b>is</b> gone'); desk.card()"])
    card = panel(book, "card")
    card.get_by_role("button", name="Recover").click()
    card.get_by_role("alertdialog").get_by_role("button", name="Recover").click()
    fault = card.get_by_role("alert")
    expect(fault).to_contain_text("Recover: RuntimeError: the daemon <b>is</b> gone")
    fault.get_by_role("button", name="Dismiss this error").click()
    expect(fault.locator("li")).to_have_count(0)
    # what a recovery could not do is no exception, but nobody else would tell it
    book.ask(
        "session.answers['recover'].problems.append('session <i>a</i> is locked')", "session.error = None"
    )
    card.get_by_role("button", name="Recover").click()
    card.get_by_role("alertdialog").get_by_role("button", name="Recover").click()
    expect(fault).to_contain_text("Recover: session <i>a</i> is locked")


def test_two_views_a_reload_and_the_same_cell_again(notebook: Open) -> None:
    book = notebook([START + "; lanes()", "desk.progress(job)", "desk.progress(job)"])
    for index in (0, 1):
        expect(panel(book, "progress", index)).to_contain_text("32 of 50 items done")
    book.ask("job.change(done=40)")
    for index in (0, 1):
        expect(panel(book, "progress", index)).to_contain_text("40 of 50 items done")
    # while the page is away, things go on
    book.ask("__import__('threading').Timer(0.5, lambda: job.change(done=44)).start()")
    book.reload()
    for index in (0, 1):
        expect(panel(book, "progress", index)).to_contain_text("44 of 50 items done")
    book.ask("job.change(done=45)")
    expect(panel(book, "progress", 1)).to_contain_text("45 of 50 items done")
    book.command("notebook:run-all-cells")
    book.ask("job.change(done=46)")
    for index in (0, 1):
        expect(panel(book, "progress", index)).to_contain_text("46 of 50 items done")


def test_a_batch_is_cancelled_and_tried_again_and_its_end_is_saved(notebook: Open) -> None:
    book = notebook([START + "; lanes()", "desk.progress(job)"])
    progress = panel(book, "progress")
    bar = progress.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", "32")
    expect(progress.get_by_role("table", name="Providers").locator("tbody tr")).to_have_count(6)
    progress.locator("summary").click()
    expect(progress.locator(".gnb-errors li").first).to_contain_text("item 9 on <img src=x")
    # what fails while it runs is tried again by itself
    expect(progress.get_by_role("button", name="Retry failed")).to_be_hidden()
    progress.get_by_role("button", name="Cancel").click()
    progress.get_by_role("button", name="Cancel job-3").click()
    book.wait_for("job.pressed", "[('cancel',)]")
    before = progress.element_handle()
    book.ask("job.change(state='cancelled', running=0, outcome='cancelled by hand', ended=datetime.now(UTC))")
    # what has failed can still be tried again
    expect(progress).to_contain_text("cancelled by hand")
    # its output is replaced, and what was opened is open in it
    before.wait_for_element_state("hidden")
    expect(progress.locator(".gnb-errors li").first).to_be_visible()
    progress.get_by_role("button", name="Retry failed").click()
    book.wait_for("job.pressed[-1]", "('retry_failed',)")
    book.page.wait_for_timeout(800)
    (output,) = book.save().cells[1].outputs
    assert output.data["text/plain"].startswith("job-3 cancelled: 32 of 50 done")
    assert "cancelled by hand" in output.data["text/html"]
    # until the session is over
    book.ask("desk.end()")
    expect(progress).to_have_count(0)
    expect(book.cell(1)).to_contain_text("cancelled by hand")
    book.reload()
    expect(book.cell(1)).to_contain_text("cancelled by hand")


def test_the_end_is_saved_by_a_page_that_was_loaded_later(notebook: Open, lab_root: Path) -> None:
    book = notebook([START + "; lanes()", "desk.progress(job)", "desk.card()", RUSH + BOARD])
    expect(panel(book, "progress")).to_contain_text("32 of 50 items done")
    expect(panel(book, "dashboard")).to_be_visible()
    book.reload()
    expect(panel(book, "progress")).to_contain_text("32 of 50 items done")
    # what is shown is no output that this page has seen made
    book.ask("job.change(state='failed', running=0, ended=datetime.now(UTC) - timedelta(minutes=2))")
    expect(panel(book, "progress")).to_contain_text("job-3 · failed")
    book.wait_for("desk.progress(job)._ended")
    deadline = time.monotonic() + 20
    while "job-3 failed" not in (plain := book.outputs()[1][0]["data"]["text/plain"]):
        assert time.monotonic() < deadline, plain
        book.page.wait_for_timeout(100)
    # its buttons work on, until the session is over
    panel(book, "progress").get_by_role("button", name="Retry failed").click()
    book.wait_for("job.pressed[-1:]", "[('retry_failed',)]")
    # and nobody looks when that is
    book.command("docmanager:save")
    address, mark = book.page.url, lab_root / "the session is over"
    book.ask(
        "__import__('threading').Timer(1, lambda: (session.change(state='stopped'), desk.end(),"
        f" open({str(mark)!r}, 'w').close())).start()"
    )
    book.page.goto("about:blank")
    while not mark.exists():
        assert time.monotonic() < deadline + 20
        book.page.wait_for_timeout(100)
    book.page.goto(address)
    book.settle()
    expect(book.cell(2)).to_contain_text("Golem session default · stopped")
    expect(book.cell(3).locator(".bartext", has_text="3").first).to_be_visible()
    expect(book.page.locator(".gnb, [data-gnb-figure]")).to_have_count(0)
    for cell in book.save().cells[1:]:
        (output,) = cell.outputs
        assert not any("widget-view" in kind for kind in output.data)
    assert "job-3 · failed" in book.save().cells[1].outputs[0].data["text/html"]


def test_a_panel_that_is_made_before_it_is_displayed_is_up_to_date(notebook: Open) -> None:
    book = notebook([START, "card = desk.card()", "session.change(name='later')", "card"])
    expect(panel(book, "card")).to_contain_text("session later")


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


#: Time between two frames while a table is scrolled by three pages at a time, and time that each step takes,
#: layout included, in milliseconds: the middle of sixty, since a busy machine prolongs single ones at will.
SCROLL = """async () => {
  const area = document.querySelector(".gnb-offers");
  const middle = times => times.sort((a, b) => a - b)[times.length >> 1];
  area.scrollTop = 0;
  const frames = [];
  for (let n = 0, last = performance.now(); n < 60; n++) {
    area.scrollTop += 997;
    await new Promise(requestAnimationFrame);
    frames.push(performance.now() - last);
    last = performance.now();
  }
  const work = [];
  for (let n = 0; n < 60; n++) {
    area.scrollTop -= 997;
    const began = performance.now();
    area.dispatchEvent(new Event("scroll"));
    area.querySelector("tbody tr:last-child").getBoundingClientRect();
    work.push(performance.now() - began);
  }
  return [middle(frames), middle(work)];
}"""


def test_ten_thousand_offers_are_filtered_sorted_and_picked(notebook: Open) -> None:
    book = notebook([START, "stall = Stall(10_000); explorer = desk.market(stall); explorer"])
    market = panel(book, "market")
    status = market.locator(".gnb-line")
    expect(status).to_contain_text("10,000 of 10,000 offers shown")
    assert market.get_by_role("table", name="Offers").locator("tbody tr").count() < 60
    market.get_by_label("Least threads").fill("16")
    market.get_by_label("Runtime").select_option("vm")
    expect(status).to_contain_text("500 of 10,000 offers shown")
    book.wait_for("len(explorer.selection)", "500")
    book.wait_for(
        "(explorer.selection.threads.min(), set(explorer.selection.runtime))", "(np.int64(16), {'vm'})"
    )
    # sorted by its heading, from the keyboard
    head = market.get_by_role("columnheader", name="This job, GLM")
    head.get_by_role("button").focus()
    book.page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(market.locator(".gnb-cost")).to_contain_text("GLM on the cheapest")
    first = market.get_by_role("checkbox", name="Pick provider").first
    first.focus()
    book.page.keyboard.press("Space")
    expect(status).to_contain_text("1 offer picked")
    book.wait_for("len(explorer.selection)", "1")
    # a rectangle on the chart
    canvas = market.locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    book.page.mouse.move(box["x"] + 70, box["y"] + 12)
    book.page.mouse.down()
    book.page.mouse.move(box["x"] + box["width"] * 0.74, box["y"] + 215, steps=4)
    book.page.mouse.up()
    expect(status).to_contain_text("500 offers picked")
    book.wait_for("len(explorer.selection)", "500")
    market.get_by_role("button", name="Pick none").click()
    # it goes on while somebody looks
    market.get_by_label("Least threads").fill("")
    market.get_by_label("Runtime").select_option("")
    book.ask("stall.add(5)")
    expect(status).to_contain_text("10,005 of 10,005 offers shown")
    frame, work = book.page.evaluate(SCROLL)
    # seen on 2 cores with a load of 3 to 9: frames of 19 to 69 ms, steps of 9 to 40 ms
    assert frame < 120, f"a frame while scrolling takes {frame:.0f} ms"
    assert work < 80, f"a step of scrolling takes {work:.0f} ms"
    market.get_by_role("button", name="Stop looking").click()
    book.wait_for("stall.closed")


def test_offers_stay_where_they_are_looked_at_and_what_is_asked_for_begins_at_the_top(notebook: Open) -> None:
    book = notebook([START, "stall = Stall(2000); explorer = desk.market(stall); explorer"])
    market = panel(book, "market")
    status, area = market.locator(".gnb-line"), market.locator(".gnb-offers")
    expect(status).to_contain_text("2,000 of 2,000 offers shown")

    def top() -> str:
        """What the first row says that is in sight."""
        found: str = area.evaluate(
            """node => {
              const edge = node.querySelector("th").getBoundingClientRect().bottom;
              const rows = [...node.querySelectorAll("tbody tr[aria-rowindex]")];
              const first = rows.find(row => row.getBoundingClientRect().bottom > edge + 2);
              return first?.cells[1].textContent ?? "";
            }"""
        )
        return found

    def scrolled() -> int:
        return int(area.evaluate("node => node.scrollTop"))

    area.evaluate("node => { node.scrollTop = 20_000; }")
    expect(area.locator("tr[aria-rowindex='700']")).to_be_attached()
    looked_at = top()
    # dearer and cheaper ones come: what is looked at stays
    book.ask("stall.add(500)")
    expect(status).to_contain_text("2,500 of 2,500 offers shown")
    assert top() == looked_at != ""
    assert scrolled() > 20_000
    # what is asked for begins at its beginning
    market.get_by_role("button", name="Threads").click()
    expect(market.get_by_role("columnheader", name="Threads")).to_have_attribute("aria-sort", "ascending")
    assert scrolled() == 0
    area.evaluate("node => { node.scrollTop = 20_000; }")
    expect(area.locator("tr[aria-rowindex='700']")).to_be_attached()
    market.get_by_label("Name").fill("provider-17")
    expect(status).to_contain_text("111 of 2,500 offers shown")
    assert scrolled() == 0
    assert "provider-17" in top()


def test_an_empty_table_of_offers_says_why(notebook: Open) -> None:
    book = notebook(
        [
            START + "; from golem_nb.ledger import KnownProviders, ProviderRecords; known = KnownProviders()",
            "stall = Stall(); stall.table = OfferTable(known); explorer = desk.market(stall); explorer",
        ]
    )
    market = panel(book, "market")
    nothing = market.locator(".gnb-nothing")
    expect(nothing).to_contain_text("No offers yet. They appear here as they come from providers")
    book.screenshot("market-nothing-yet", market)
    book.ask("stall.add(12)")
    expect(nothing).to_be_hidden()
    market.get_by_label("Least threads").fill("1000")
    market.get_by_label("Seen before").check()
    expect(nothing).to_contain_text("None of 12 offers meets the filters.")
    book.screenshot("market-nothing-left", market)
    nothing.get_by_role("button", name="Clear filters").press("Enter")
    expect(nothing).to_be_hidden()
    expect(market.locator(".gnb-line")).to_contain_text("12 of 12 offers shown")
    expect(market.get_by_label("Seen before")).not_to_be_checked()
    expect(market.get_by_label("Most GLM an hour")).to_be_focused()
    book.wait_for("len(explorer.selection)", "12")
    # who works for somebody meanwhile has been seen, without another offer
    expect(market.get_by_text("◆ yes")).to_have_count(0)
    book.ask("None", "known.maps = [ProviderRecords({})]; known.maps[0].count(f'0x{4:040x}', finished=1)")
    expect(market.get_by_role("row", name="provider-4")).to_contain_text("◆ yes")
    expect(market.get_by_text("◆ yes")).to_have_count(1)


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

#: Whether the figure is as wide as its place, and all of its texts lie in it.
FITS = """width => {
  const figure = document.querySelector("[data-gnb-figure]");
  const edge = figure.getBoundingClientRect();
  const drawn = figure.querySelector(".main-svg").clientWidth;
  return figure._fullLayout.width === width && Math.abs(drawn - width) <= 1
    && [...figure.querySelectorAll(".main-svg text")].map(text => text.getBoundingClientRect())
      .every(box => !box.width || (box.left >= edge.left - 1 && box.right <= edge.right + 1));
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


def test_a_cluster_is_steered(notebook: Open) -> None:
    book = notebook([START + "; trails()", "desk.cluster(cluster)"])
    control = panel(book, "cluster")
    expect(control).to_contain_text("1 of 5 instances running")
    rows = control.get_by_role("table", name="Instances")
    control.get_by_role("button", name="Add instance").click()
    # three hours of it are more than a tenth of what is left
    question = control.get_by_role("alertdialog")
    expect(question).to_contain_text("Start 1 more instance? At 0.1500 GLM an hour that may cost")
    question.get_by_role("button", name="Start").click()
    book.wait_for("cluster.pressed[-1:]", "[('add', 1)]")
    wanted = control.get_by_label("Instances wanted")
    # what is no number of instances is none: nothing is asked, and nothing done
    hint = control.locator(".gnb-hint")
    for typed in ("", "-1", "1.5", "1000"):
        wanted.fill(typed)
        wanted.press("Enter")
        expect(hint).to_have_text(
            "How many instances are wanted is a whole number from 0 to 200. Nothing was changed."
        )
        expect(question).to_be_hidden()
        expect(wanted).to_have_attribute("aria-invalid", "true")
    book.screenshot("cluster-no-number", control)
    wanted.press("Escape")
    expect(wanted).to_have_value("5")
    expect(hint).to_be_hidden()
    wanted.fill("")
    control.get_by_role("button", name="Set").click()
    expect(hint).to_be_visible()
    rows.get_by_role("button", name="Stop sun-01").focus()
    expect(wanted).to_have_value("5")
    expect(hint).to_be_hidden()
    assert book.ask("len(cluster.pressed)") == "1"
    # what is suspended is not one of those that are wanted
    wanted.fill("2")
    control.get_by_role("button", name="Set").click()
    expect(question).to_contain_text("Stop 1 instance, one without a provider?")
    question.get_by_role("button", name="No").click()
    wanted.fill("1")
    wanted.press("Enter")
    expect(question).to_contain_text("Stop 2 instances, <img src=x")
    question.get_by_role("button", name="Stop").click()
    book.wait_for("cluster.pressed[-1]", "('scale', 1)")
    for button, confirm, pressed in (
        ("Suspend sun-01", "Suspend", "('suspend_instance', '00000000-aaaa')"),
        ("Restart sun-01", "Restart", "('restart_instance', '00000000-aaaa')"),
        ("Stop sun-01", "Stop", "('stop_instance', '00000000-aaaa')"),
        ("Resume kiełbasa", None, "('resume_instance', '20000000-aaaa')"),
    ):
        rows.get_by_role("button", name=button).click()
        if confirm == "Restart":
            expect(question).to_contain_text(
                re.compile(r"new one costs 0\.1500 GLM an hour, 0\.4\d+ GLM until")
            )
            book.screenshot("cluster-restart", control)
        if confirm:
            question.get_by_role("button", name=confirm).click()
        book.wait_for("cluster.pressed[-1]", pressed)
    rows.locator("summary", has_text="More").first.click()
    message = control.get_by_label("Message").first
    message.fill("hello <b>")
    message.press("Enter")
    book.wait_for("cluster.pressed[-1]", "('send', '00000000-aaaa', 'hello <b>')")
    link = control.get_by_role("link", name="Open the proxied page").first
    expect(link).to_have_attribute("href", "http://127.0.0.1:8080/")
    lanes = control.locator(".gnb-timeline .gnb-lane")
    expect(lanes).to_have_count(5)
    expect(lanes.first).to_have_attribute(
        "aria-label", re.compile(r"sun-01: pending for 30 s, starting for 30 s, running for 1 min")
    )


def test_a_line_that_is_typed_outlives_its_view(notebook: Open) -> None:
    show = "shell = terminal(); shell._shell.mode = 'lines'; shell._shell.say(b'one two'); shell"
    book = notebook([START, show, "shell"])
    first, second = panel(book, "terminal"), panel(book, "terminal", 1)
    line = first.get_by_role("textbox", name="Command line")
    line.fill("half a comm")
    # a view of the same terminal that is made anew
    book.run_cell(2)
    again = second.get_by_role("textbox", name="Command line")
    expect(again).to_have_value("half a comm")
    expect(second.get_by_role("textbox", name="Terminal.")).to_contain_text("one two")
    # who types into the screen means the line
    second.get_by_role("textbox", name="Terminal.").click()
    book.page.keyboard.type("xyz")
    expect(again).to_be_focused()
    expect(again).to_have_value("half a commxyz")
    again.press("Enter")
    expect(again).to_have_value("")
    second.evaluate("node => { node.dataset.old = 1; }")
    book.run_cell(2)
    expect(second).not_to_have_attribute("data-old", "1")
    expect(again).to_have_value("")
    expect(again).to_be_focused()
    # what is marked with the mouse stays so while nothing is written
    screen = second.get_by_role("textbox", name="Terminal.")
    expect(screen).to_contain_text("one two")
    marked = "() => String(document.getSelection()).trim()"
    screen.locator("div").first.evaluate("node => document.getSelection().selectAllChildren(node)")
    assert book.page.evaluate(marked) == "one two"
    book.ask("(setattr(shell._shell, 'busy', True), shell._changed())")
    expect(screen).to_have_attribute("aria-busy", "true")
    assert book.page.evaluate(marked) == "one two"


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

BOARD = """
board = desk.dashboard()
board
"""

LIVE = RUSH + 'emit(rush.service(Instance(), 0, "pending", "starting", "running"))' + BOARD


def test_the_dashboard_goes_on_and_shows_what_is_chosen(notebook: Open) -> None:
    book = notebook([START, LIVE], dark=True)
    board = panel(book, "dashboard")
    plot = book.page.locator("[data-gnb-figure]")
    expect(plot.locator(".main-svg").first).to_be_visible()
    expect(plot).to_contain_text("Tasks by state")
    bar = plot.locator(".bartext", has_text="3")
    expect(bar.first).to_be_visible()
    book.ask("[emit(rush.turn()) for _ in range(4)]")
    expect(plot.locator(".bartext", has_text="15").first).to_be_visible()
    colour = plot.locator(".infolayer text").first.evaluate("node => getComputedStyle(node).fill")
    assert colour in ("rgb(255, 255, 255)", "rgba(255, 255, 255, 1)"), "texts follow the dark theme"
    book.screenshot("dashboard-dark", book.cell(1))
    for name in ("Offers seen", "Prices", "Services", "Throughput"):
        board.get_by_label(name).uncheck()
    expect(plot).not_to_contain_text("Throughput")
    expect(plot).to_contain_text("Tasks by state")
    book.wait_for("board._show", "('costs', 'tasks')")
    # none is a choice, too, and the figure says what to do then
    for name in ("Cost", "Tasks"):
        board.get_by_label(name, exact=True).uncheck()
    expect(plot).to_contain_text("Nothing is chosen. Tick above what you want to see.")
    book.wait_for("board._show", "()")
    assert plot.evaluate("node => node.getBoundingClientRect().height") < 250
    book.screenshot("dashboard-nothing-chosen", book.cell(1))
    expect(board.get_by_label("Tasks")).not_to_be_checked()
    board.get_by_label("Tasks").check()
    expect(plot).to_contain_text("Tasks by state")
    expect(plot).not_to_contain_text("Nothing is chosen")
    book.ask("[emit(rush.turn()) for _ in range(5)]")
    book.reload()
    expect(plot.locator(".bartext", has_text="30").first).to_be_visible()
    assert plot.evaluate("node => node.getBoundingClientRect().width") > 500
    book.ask("emit(rush.turn())")
    expect(plot.locator(".bartext", has_text="33").first).to_be_visible()


def test_parts_without_data_are_drawn_without_an_error_in_the_console(notebook: Open) -> None:
    # there are costs, and so a legend, for which plotly makes room before an axis of nothing has its place
    book = notebook([START, RUSH + BOARD])
    plot = book.page.locator("[data-gnb-figure]")
    expect(plot).to_contain_text("No services yet")
    expect(plot.locator(".legendtext").first).to_be_visible()
    book.ask("emit(rush.service(Instance(), 0, 'pending', 'starting', 'running'))")
    expect(plot).not_to_contain_text("No services yet")
    expect(plot.locator(".legendtext", has_text="starting")).to_be_visible()


#: Buttons of a figure that are shown while the mouse is over it, and the texts on which they lie.
UNDER_BUTTONS = """root => {
  const bar = [...root.querySelectorAll(".modebar-btn")].map(node => node.getBoundingClientRect());
  const texts = [...root.querySelectorAll(".main-svg text")].filter(node => node.textContent);
  return [bar.length, texts.filter(node => {
    const text = node.getBoundingClientRect();
    return bar.some(button => button.left < text.right && text.left < button.right
      && button.top < text.bottom && text.top < button.bottom);
  }).map(node => node.textContent)];
}"""


def test_the_buttons_of_a_figure_lie_on_none_of_its_words(notebook: Open) -> None:
    costs = (
        "from golem_nb import figures\n"
        "spent = figures.costs.running_costs(recorder.events())\n"
        "figures.cost_over_time(spent, 1).update_layout(width={})"
    )
    book = notebook(
        [
            START,
            LIVE,
            costs.format(770),
            costs.format(290),
            "figures.service_states(recorder.services()).update_layout(width=290)",
        ]
    )

    def look(name: str, plot: Locator) -> None:
        plot.hover(position={"x": 120, "y": 60})
        expect(plot.locator(".modebar-btn").first).to_be_visible()
        book.screenshot(f"buttons-{name}", plot)
        buttons, covered = plot.evaluate(UNDER_BUTTONS)
        assert buttons >= 3
        assert covered == []
        # nothing of a figure is sent to anybody
        expect(plot.locator("[data-title^=Share]")).to_have_count(0)
        book.screenshot(f"buttons-{name}", plot)

    for index in (2, 3, 4):
        look(f"alone-{index}", book.cell(index).locator(".js-plotly-plot"))
    live = book.page.locator("[data-gnb-figure]")
    look("live", live)
    style = book.page.add_style_tag(content="/* a column of cells beside others */")
    style.evaluate(
        "node => { node.textContent = '.jp-OutputArea-output { flex: none !important;"
        " width: 290px !important }'; }"
    )
    book.page.wait_for_function(FITS, arg=290)
    look("live-290", live)


def test_the_number_of_offers_is_told_until_now(notebook: Open) -> None:
    book = notebook([START, RUSH + "board = desk.dashboard(['offers']); board"])
    plot = book.page.locator("[data-gnb-figure]")
    expect(plot.locator(".main-svg").first).to_be_visible()
    # the last offer came a while ago, and there are as many as there were then
    book.page.wait_for_function(
        """began => {
          const [{ x, y }] = document.querySelector("[data-gnb-figure]").data;
          const last = x.length - 1;
          return x[last] > began + 3000 && y[last] === 1 && y[last - 1] === 1;
        }""",
        arg=float(book.ask("float(desk._series.offer_rows[0][-1])")),
    )
    # until there is nobody to look any more
    book.ask("session.change(state='stopped')")
    end = "float(board.figure.data[0].x[-1])"
    last = float(book.ask(end))
    book.page.wait_for_timeout(1500)
    assert float(book.ask(end)) == last


def test_instances_that_come_later_are_bars_along_the_time(notebook: Open) -> None:
    book = notebook([START, RUSH + "board = desk.dashboard(['tasks']); board"])
    plot = book.page.locator("[data-gnb-figure]")
    expect(plot.locator(".bartext", has_text="3").first).to_be_visible()
    book.ask("emit(rush.service(Instance(), 0, 'pending', 'starting', 'running'))")
    panel(book, "dashboard").get_by_label("Services").check()
    expect(plot.locator(".legendtext")).to_have_text(["starting", "running"])
    expect(plot.locator(".y4tick text")).to_have_text(["sun"])


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_last_figure_of_a_session_can_be_read_in_either_theme(notebook: Open, dark: bool) -> None:
    book = notebook([START, LIVE], dark=dark)
    plot = book.page.locator("[data-gnb-figure]")
    expect(plot.locator(".bartext", has_text="3").first).to_be_visible()
    book.wait_for("board._dark", str(dark))
    book.ask("desk.end()")
    expect(plot).to_have_count(0)
    last = book.cell(1).locator(".js-plotly-plot")
    expect(last.locator(".bartext", has_text="3").first).to_be_visible()
    for other in (dark, not dark):
        book.theme(dark=other)
        worst = last.evaluate(CONTRAST)
        assert worst[0] >= 4.5, worst
    book.screenshot(f"dashboard-last-{'dark' if dark else 'light'}", last)


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
