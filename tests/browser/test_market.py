"""The explorer of offers."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.looks import START, Open, panel

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
