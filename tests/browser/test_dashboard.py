"""The dashboard and its figure."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.looks import BOARD, CONTRAST, FITS, LIVE, RUSH, START, Open, panel


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
