"""The panel of a batch, and what of it is saved."""

from __future__ import annotations

import time
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.looks import BOARD, RUSH, START, Open, panel


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
