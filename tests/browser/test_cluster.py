"""The control of a cluster, and the terminal of an instance."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.looks import START, Open, panel


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
