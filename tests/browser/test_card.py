"""The card of a session: where it is, what it has spent, how it is stopped."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.looks import START, Open, panel


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


def test_a_panel_that_is_made_before_it_is_displayed_is_up_to_date(notebook: Open) -> None:
    book = notebook([START, "card = desk.card()", "session.change(name='later')", "card"])
    expect(panel(book, "card")).to_contain_text("session later")
