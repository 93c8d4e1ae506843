"""Where the keys go after something was pressed: never to the page itself, far from the panel."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, expect

from tests.browser.harness import Notebook

Open = Callable[..., Notebook]

START = "from stage import *"

#: A batch that has ended, with items that can be computed again.
FAILED = "job.change(state='failed', running=0, ended=datetime.now(UTC))"

#: One instance more that has ended, or is in another state.
INSTANCE = (
    "cluster.change(instances=[attrs.evolve(each, state={state!r}) if each.id == {id!r} else each"
    " for each in cluster.now.instances])"
)


def panel(book: Notebook, name: str) -> Locator:
    return book.page.locator(f".gnb-{name}").first


def press(button: Locator) -> None:
    """Press a button without a mouse."""
    button.focus()
    button.press("Enter")


def test_a_question_has_the_focus_and_gives_it_back(notebook: Open) -> None:
    book = notebook([START + "; trails()", "desk.cluster(cluster)"])
    control = panel(book, "cluster")
    stop = control.get_by_role("button", name="Stop sun-01")
    press(stop)
    question = control.get_by_role("alertdialog")
    safe = question.get_by_role("button", name="No, go back")
    expect(safe).to_be_focused()
    safe.press("Enter")
    expect(stop).to_be_focused()
    # what is done about it takes its time, and the button waits with the focus
    book.ask("None", "cluster.delay = 2")
    stop.press("Enter")
    question.get_by_role("button", name="Stop").press("Enter")
    expect(stop).to_be_focused()
    expect(stop).to_be_disabled()
    book.wait_for("cluster.pressed", "[('stop_instance', '00000000-aaaa')]")
    expect(stop).to_be_enabled()
    expect(stop).to_be_focused()


def test_a_button_that_goes_hands_the_focus_to_its_neighbour(notebook: Open) -> None:
    book = notebook([START + "; trails(); lanes()", "desk.cluster(cluster)", "desk.progress(job)"])
    control = panel(book, "cluster")
    press(control.get_by_role("button", name="Resume kiełbasa"))
    book.wait_for("cluster.pressed", "[('resume_instance', '20000000-aaaa')]")
    book.ask(INSTANCE.format(state="running", id="20000000-aaaa"))
    expect(control.get_by_role("button", name="Restart kiełbasa")).to_be_focused()
    # nothing can be done to it any more but to read what it has written
    book.ask(INSTANCE.format(state="terminated", id="20000000-aaaa"))
    row = control.get_by_role("row").filter(has_text="kiełbasa")
    expect(row.locator("summary")).to_be_focused()
    # nor that
    book.ask("cluster.change(instances=cluster.now.instances[:2])")
    expect(control.locator("summary", has_text="States over time")).to_be_focused()
    book.ask("cluster.change(instances=[])")
    expect(control.locator(":focus")).to_have_count(1)


def test_a_batch_that_ends_and_begins_keeps_the_focus(notebook: Open) -> None:
    book = notebook([START + "; lanes()", "desk.progress(job)"])
    progress = panel(book, "progress")
    press(progress.get_by_role("button", name="Cancel"))
    progress.get_by_role("button", name="Cancel job-3").press("Enter")
    book.wait_for("job.pressed", "[('cancel',)]")
    before = progress.element_handle()
    book.ask(FAILED)
    # its output is replaced
    assert before is not None
    before.wait_for_element_state("hidden")
    retry = progress.get_by_role("button", name="Retry failed")
    expect(retry).to_be_focused()
    retry.press("Enter")
    book.wait_for("job.pressed[-1]", "('retry_failed',)")
    book.ask("job.change(state='running', running=4, ended=None)")
    expect(progress.get_by_role("button", name="Cancel")).to_be_focused()
    # nothing is left that could have it
    book.ask("(job.change(state='done', running=0, failed=0, done=50, ended=datetime.now(UTC)), desk.end())")
    expect(progress).to_have_count(0)
    expect(book.cell(1)).to_be_focused()


def test_an_error_that_is_dismissed_leaves_the_focus_in_its_panel(notebook: Open) -> None:
    book = notebook([START, "desk.card()"])
    card = panel(book, "card")
    book.ask("[desk.card()._fault(text) for text in ('one', 'two')]")
    faults = card.get_by_role("button", name="Dismiss this error")
    expect(faults).to_have_count(2)
    press(faults.first)
    expect(faults).to_have_count(1)
    expect(faults).to_be_focused()
    faults.press("Enter")
    expect(faults).to_have_count(0)
    expect(card.get_by_role("button", name="Stop session")).to_be_focused()


def test_the_end_of_a_look_at_the_market_leaves_the_focus_beside_it(notebook: Open) -> None:
    book = notebook([START, "stall = Stall(20); explorer = desk.market(stall); explorer"])
    market = panel(book, "market")
    press(market.get_by_role("button", name="Stop looking"))
    expect(market).to_contain_text("not looking any more")
    expect(market.get_by_role("button", name="Pick none")).to_be_focused()
    # who has gone elsewhere is not called back
    box = market.get_by_label("Name")
    box.focus()
    book.page.mouse.click(5, 500)
    book.ask("stall.add(5)")
    expect(market).to_contain_text("25 of 25 offers shown")
    expect(market.locator(":focus")).to_have_count(0)


def test_without_a_kernel_what_can_still_be_read_has_the_focus(notebook: Open) -> None:
    book = notebook([START + "; trails()", "desk.card()", "desk.cluster(cluster)"])
    card, control = panel(book, "card"), panel(book, "cluster")
    card.get_by_role("button", name="Stop session").focus()
    book.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    expect(card.locator(".gnb-gone")).to_be_visible()
    expect(card).to_be_focused()
    control.locator("summary", has_text="More").first.press("Enter")
    expect(control.get_by_label("End of the output").first).to_be_visible()
