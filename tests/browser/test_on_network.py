"""Panels of a real session on a local network: what is pressed in the browser happens on the daemon."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from golem_nb.config import ApiConfig
from tests.browser.harness import Notebook
from tests.leavings import NOTHING, look, since

Open = Callable[..., Notebook]

pytestmark = pytest.mark.localnet

BEGIN = """
from golem_nb import Session, vm
from golem_nb.services import Service
session = Session(budget=1, providers=2)
session
"""

SERVICES = """
class Web(Service):
    @staticmethod
    async def get_payload():
        return await vm.repo(image_tag="golem_nb/python:latest", capabilities=["vpn"])

    async def start(self):
        async for script in super().start():
            yield script
        script = self._ctx.new_script()
        script.run("/bin/sh", "-c", "echo hello; echo '<img src=x onerror=window.hacked=1>'")
        yield script

    async def run(self):
        while True:
            self.heard = (await self._listen()).message
            yield self._ctx.new_script()

"""

#: What the daemon says of the session's agreements, whatever we think of them.
ON_THE_DAEMON = """
import asyncio
from golem_nb.rest import Configuration, Market
api = session._core.daemon.api_config
async def _approved():
    async with Configuration(api) as configuration:
        return {each.id for each in await Market(configuration.market()).agreements(state="Approved")}
def agreements():
    return asyncio.run_coroutine_threadsafe(_approved(), session._core.desk._loop).result(10)
def approved():
    return len(agreements())
"""


def test_a_batch_from_its_beginning_to_its_bill(notebook: Open) -> None:
    book = notebook(
        [
            BEGIN,
            """
job = session.run(
    "sleep 0.2; echo {} '<script>window.hacked=1</script>'; test {} -ne 3",
    range(8),
    payload=vm.repo(image_tag="golem/alpine:latest"),
    max_workers=2,
)
job
""",
        ]
    )
    card, progress = book.page.locator(".gnb-card"), book.page.locator(".gnb-progress")
    expect(card).to_contain_text("local network on this machine")
    expect(progress).to_contain_text("7 of 8 items done · 1 failed", timeout=60_000)
    expect(progress.get_by_role("table", name="Providers").locator("tbody tr").first).to_contain_text(
        "paid", timeout=30_000
    )
    # each try that has failed is counted where it has failed
    failed = progress.get_by_role("table", name="Providers").locator("tbody td:nth-child(5)")
    assert sum(int(text or 0) for text in failed.all_inner_texts()) == 3
    progress.locator("summary").click()
    expect(progress.locator(".gnb-errors pre").first).to_contain_text("<script>window.hacked=1</script>")
    accepted = float(book.ask("float(session._core.recorder.totals().accepted)"))
    assert accepted > 0
    book.screenshot("batch-on-network")
    progress.get_by_role("button", name="Retry failed").click()
    book.wait_for("len(job.engine_jobs)", "2")
    book.wait_for("job.state", "'failed'", timeout=60)
    expect(progress).to_contain_text("7 of 8 items done · 1 failed")
    card.get_by_role("button", name="Stop session").click()
    card.get_by_role("alertdialog").get_by_role("button", name="Stop session").click()
    expect(book.cell(0)).to_contain_text("· stopped", timeout=60_000)
    assert book.page.evaluate("() => window.hacked ?? null") is None
    saved = book.save()
    assert "stopped on local" in saved.cells[0].outputs[0].data["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" not in saved.cells[0].outputs[0].data
    key = book.ask("api_key", "api_key = session._core.daemon.api_config.app_key").strip("'")
    assert key
    assert key not in str(saved)


@pytest.mark.parametrize("wait", ["job.wait()", "await job"])
def test_the_menu_interrupts_the_waiting_and_not_the_work(notebook: Open, wait: str) -> None:
    book = notebook(
        [
            BEGIN,
            'job = session.run("sleep {}", [100, 100], payload=vm.repo(image_tag="golem/alpine:latest"))',
        ]
    )
    book.wait_for("job.progress.running", "2", timeout=60)
    line = re.compile(
        r"Stopped waiting. run 1 goes on \(0 of 2 done, .*session.jobs\['1'\].cancel\(\) ends it."
    )
    times = []
    for number in range(3):
        # the run is not awaited: it ends with the interrupt
        book.page.evaluate(
            """source => {
                 const { content } = window.jupyterapp.shell.currentWidget;
                 const cells = content.model.sharedModel;
                 cells.insertCell(cells.cells.length, { cell_type: "code", source });
                 content.activeCellIndex = content.widgets.length - 1;
                 void window.jupyterapp.commands.execute("notebook:run-cell");
               }""",
            f"print('it begins')\n{wait}",
        )
        output = book.cell(2 + number).locator(".jp-OutputArea")
        expect(output).to_contain_text("it begins", timeout=20_000)
        book.page.get_by_role("menuitem", name="Kernel", exact=True).click()
        item = book.page.get_by_role("menuitem", name="Interrupt Kernel")
        expect(item).to_be_visible()
        began = time.monotonic()
        item.click()
        expect(output).to_contain_text(line, timeout=20_000)
        times.append(time.monotonic() - began)
        # a machine with much to do may be late, but not always
        if times[-1] < 0.6:
            break
    assert min(times) < 0.6, times
    assert book.ask("job.state, job.progress.running") == "('running', 2)"
    assert book.ask("job.wait(20)", "job.cancel()") == "True"


def test_a_cluster_is_steered_on_the_daemon(notebook: Open) -> None:
    book = notebook(
        [
            BEGIN + ON_THE_DAEMON,
            SERVICES + "cluster = session.cluster(Web, num_instances=1)\ncluster",
        ]
    )
    control = book.page.locator(".gnb-cluster")
    table = control.get_by_role("table", name="Instances")
    # what is spoken may still be what was so before
    line = control.locator(".gnb-line")
    expect(table).to_contain_text("running", timeout=60_000)
    assert book.ask("approved()") == "1"
    table.locator("summary", has_text="More").click()
    expect(control.get_by_label("End of the output")).to_contain_text("<img src=x onerror=window.hacked=1>")
    message = control.get_by_label("Message")
    message.fill("from the browser")
    message.press("Enter")
    book.wait_for("getattr(cluster.instances[0], 'heard', None)", "'from the browser'")
    question = control.get_by_role("alertdialog")
    control.get_by_role("button", name="Add instance").click()
    # three hours of it are more than a tenth of the budget
    question.get_by_role("button", name="Start").click()
    expect(line).to_contain_text("2 of 2 instances running", timeout=60_000)
    assert book.ask("approved()") == "2"
    table.get_by_role("button", name="Suspend").first.click()
    question.get_by_role("button", name="Suspend").click()
    expect(table).to_contain_text("suspended", timeout=30_000)
    assert book.ask("approved()") == "2"
    table.get_by_role("button", name="Resume").first.click()
    expect(line).to_contain_text("2 of 2 instances running", timeout=60_000)
    assert book.ask("approved()") == "2"
    table.get_by_role("button", name="Suspend").first.click()
    question.get_by_role("button", name="Suspend").click()
    suspended = table.get_by_role("row").filter(has_text="suspended")
    suspended.get_by_role("button", name="Stop").click(timeout=30_000)
    question.get_by_role("button", name="Stop").click()
    book.wait_for("approved()", "1", timeout=60)
    expect(line).to_contain_text("1 of 1 instance running")
    wanted = control.get_by_label("Instances wanted")
    wanted.fill("0")
    wanted.press("Enter")
    question.get_by_role("button", name="Stop").click()
    book.wait_for("approved()", "0", timeout=60)
    assert book.page.evaluate("() => window.hacked ?? null") is None
    book.screenshot("cluster-on-network")


def test_one_instance_is_restarted_and_one_is_stopped_on_the_daemon(notebook: Open) -> None:
    book = notebook(
        [
            BEGIN + ON_THE_DAEMON,
            SERVICES + "cluster = session.cluster(Web, num_instances=2)\ncluster",
        ]
    )
    control = book.page.locator(".gnb-cluster")
    table = control.get_by_role("table", name="Instances")
    question = control.get_by_role("alertdialog")
    line = control.locator(".gnb-line")
    expect(line).to_contain_text("2 of 2 instances running", timeout=60_000)
    book.ask("0", "before = agreements(); ids = [each.id for each in cluster.instances]")
    table.get_by_role("button", name="Restart").first.click()
    expect(question).to_contain_text(
        re.compile(r"and start another one\? .* new one costs [\d.]+ GLM an hour")
    )
    question.get_by_role("button", name="Restart").click()
    # one of them is gone, another one is there, and the other of the two was left alone
    book.wait_for("(len(agreements() & before), len(agreements() - before))", "(1, 1)", timeout=60)
    expect(line).to_contain_text("2 of 2 instances running", timeout=60_000)
    expect(table.locator("tbody tr:visible")).to_have_count(3)
    expect(table.locator("tbody tr:visible").filter(has_text="terminated")).to_have_count(1)
    stayed = book.ask("[each.id for each in cluster.instances if each.is_available and each.id in ids]")
    assert stayed == book.ask("ids[1:]")
    # the one that was left alone is stopped now
    book.ask("0", "kept = agreements() - before")
    running = table.locator("tbody tr:visible").filter(has_text="running")
    running.first.get_by_role("button", name="Stop").click()
    expect(question).to_contain_text("Stop the instance on")
    question.get_by_role("button", name="Stop").click()
    book.wait_for("agreements() == kept", timeout=60)
    expect(line).to_contain_text("1 of 1 instance running")
    book.screenshot("cluster-restarted")


@pytest.fixture
def shared(lab_data: Path) -> Iterator[ApiConfig]:
    """What `golem-nb up` starts in the folder of the kernels; the address of its daemon."""
    from golem_nb.localnet import LocalNetwork

    def golem_nb(*arguments: str) -> None:
        environment = {**os.environ, "GOLEM_NB_DATA_DIR": str(lab_data)}
        command = [sys.executable, "-m", "golem_nb", *arguments]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)

    golem_nb("up", "--providers", "2")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GOLEM_NB_DATA_DIR", str(lab_data))
            config = LocalNetwork.attach().api_config
        yield config
    finally:
        golem_nb("down")


def test_what_a_killed_kernel_has_left_is_recovered_by_a_button(notebook: Open, shared: ApiConfig) -> None:
    book = notebook(
        [
            """
from golem_nb import Session, vm
from golem_nb.localnet import LocalNetwork
session = Session(budget=1, network=LocalNetwork.attach())
session
""",
            'job = session.run("sleep 100", range(2), payload=vm.repo(image_tag="golem/alpine:latest"))\njob',
        ]
    )
    card = book.page.locator(".gnb-card")
    expect(book.page.locator(".gnb-progress")).to_contain_text("2 running", timeout=60_000)
    left = look(shared)
    assert (len(left.agreements), len(left.allocations)) == (2, 1)
    os.kill(int(book.ask("__import__('os').getpid()")), 9)
    expect(card.locator(".gnb-gone")).to_contain_text("The kernel is gone.", timeout=30_000)
    # JupyterLab starts another one, which finds what the first one has left
    book.page.locator(".jp-Dialog").get_by_role("button", name="Ok").click()
    book.settle()
    book.run_cell(0)
    expect(card).to_contain_text("An earlier kernel has left this behind", timeout=60_000)
    # beside what kernels of earlier tests have left, which ended in order, but before their invoices came
    left_here = card.locator(".gnb-notice li").filter(has_text="2 agreements in force")
    expect(left_here).to_have_count(1, timeout=60_000)
    book.screenshot("card-left")
    assert look(shared).agreements == left.agreements
    card.get_by_role("button", name="Recover").click()
    question = card.get_by_role("alertdialog")
    expect(question).to_contain_text("What still runs is ended, what is owed is paid")
    question.get_by_role("button", name="Recover").click()
    expect(card.locator(".gnb-notice li")).to_have_count(0, timeout=120_000)
    expect(card.get_by_role("button", name="Recover")).to_be_hidden()
    assert card.get_by_role("alert").locator("li").count() == 0
    book.ask("session.left")
    assert not look(shared).agreements
    # the session that has done it is alive, and leaves nothing either
    card.get_by_role("button", name="Stop session").click()
    question.get_by_role("button", name="Stop session").click()
    expect(book.cell(0)).to_contain_text("· stopped", timeout=60_000)
    assert since(shared, NOTHING, 10) == NOTHING


def test_what_a_killed_kernel_has_left_on_its_own_network_is_recovered_by_a_button(
    notebook: Open, lab_data: Path
) -> None:
    """The network has ended with its kernel: the button starts it again, pays, and removes it."""
    book = notebook(
        [
            BEGIN,
            """
job = session.run(
    "test {} -lt 4 || sleep 100", range(6), payload=vm.repo(image_tag="golem/alpine:latest"), max_workers=2
)
job
""",
        ]
    )
    card = book.page.locator(".gnb-card")
    # the last two may be one provider's, one after the other
    expect(book.page.locator(".gnb-progress")).to_contain_text(
        re.compile("4 of 6 items done · [12] running"), timeout=60_000
    )
    folder = lab_data / "localnet" / book.ask("session._core.daemon.localnet").strip("'")
    os.kill(int(book.ask("__import__('os').getpid()")), 9)
    book.page.locator(".jp-Dialog").get_by_role("button", name="Ok").click(timeout=30_000)
    book.settle()
    book.run_cell(0)
    left = card.locator(".gnb-notice li")
    # beside what kernels of earlier tests have left, which ended in order, but before their invoices came
    expect(left.filter(has_text="2 agreements in force")).to_have_count(1, timeout=60_000)
    # that network has ended, and is kept for what is owed
    deadline = time.monotonic() + 30
    while not (folder / "unsettled.json").exists() and time.monotonic() < deadline:
        book.page.wait_for_timeout(200)
    assert (folder / "unsettled.json").exists()
    # two have not been dealt with; an agreement that ended before may have been, on a slow machine
    assert book.ask("session.history().agreements.settled.all()") in ("False", "np.False_")
    book.ask("None", "paid = session.history().costs.accepted.sum()")
    recover = card.get_by_role("button", name="Recover")
    recover.click()
    card.get_by_role("alertdialog").get_by_role("button", name="Recover").click()
    expect(card.get_by_role("button", name="Recovering …")).to_be_disabled()
    expect(left).to_have_count(0, timeout=120_000)
    expect(card.get_by_role("button", name="Recover")).to_be_hidden()
    assert card.get_by_role("alert").locator("li").count() == 0
    assert book.ask("session.left") == "[]"
    assert book.ask("session.history().agreements.settled.all()") in ("True", "np.True_")
    assert book.ask("session.history().costs.accepted.sum() > paid") in ("True", "np.True_")
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        book.page.wait_for_timeout(200)
    assert not folder.exists()
    book.screenshot("card-recovered", card)
    book.ask("session.stop()")


def test_a_look_at_the_market_chooses_providers(notebook: Open) -> None:
    book = notebook([BEGIN, "explorer = session.market()\nexplorer"])
    market = book.page.locator(".gnb-market")
    expect(market.locator(".gnb-line")).to_contain_text("2 of 2 offers shown", timeout=60_000)
    market.get_by_label("Cheapest").fill("1")
    expect(market.locator(".gnb-line")).to_contain_text("1 of 2 offers shown")
    book.wait_for("len(explorer.selection)", "1")
    cheapest = book.ask("explorer.selection.price_full_hour[0] == explorer.offers.price_full_hour.min()")
    assert cheapest in ("True", "np.True_")
    assert "ProviderFilter" in book.ask("explorer.strategy()")


def test_a_terminal_over_the_vpn_and_one_without(notebook: Open) -> None:
    book = notebook(
        [
            BEGIN,
            SERVICES
            + """
network = session.create_network("192.168.7.0/24")
inside, outside = session.cluster(Web, network=network), session.cluster(Web)
assert inside.wait(60) and outside.wait(60)
inside.terminal()
""",
            "outside.terminal(outside.instances[0].id)",
        ]
    )
    area = book.cell(1).get_by_role("textbox", name="Terminal.")
    expect(area).to_contain_text(re.compile("[#$] "), timeout=30_000)
    area.click()
    book.page.keyboard.type("echo $((6*7)) '<b>'; printf '\\033]0;x\\007\\033[31mred\\033[0m\\n'\n")
    expect(area).to_contain_text("42 <b>")
    expect(area.locator("span", has_text="red").last).to_have_attribute("style", "color: var(--gnb-ansi-1);")
    book.page.keyboard.type("sleep 100\n")
    book.page.wait_for_timeout(500)
    book.page.keyboard.press("Control+c")
    book.page.keyboard.type("echo after $((40+2))\n")
    expect(area).to_contain_text("after 42")
    book.page.keyboard.press("Control+]")
    expect(book.cell(1).get_by_role("button", name="Interrupt")).to_be_focused()
    line = book.cell(2).get_by_role("textbox", name="Command line")
    other = book.cell(2).get_by_role("textbox", name="Terminal.")
    line.fill("cd /tmp; echo one; false")
    line.press("Enter")
    expect(other).to_contain_text("exit code 1", timeout=30_000)
    line.fill("pwd")
    line.press("Enter")
    expect(other).to_contain_text("/tmp\n", timeout=30_000, use_inner_text=True)
    line.press("ArrowUp")
    line.press("ArrowUp")
    expect(line).to_have_value("cd /tmp; echo one; false")
    line.fill("sleep 3")
    line.press("Enter")
    book.page.wait_for_timeout(300)
    book.cell(2).get_by_role("button", name="Interrupt").click()
    expect(book.cell(2).get_by_role("alert")).to_contain_text("only ending the instance")
    book.screenshot("terminals")
    # a page that is loaded again finds what was written
    book.reload()
    expect(area).to_contain_text("after 42", timeout=30_000)
    expect(other).to_contain_text("exit code 1")
    # what was being typed is not thrown away with the instance
    line.fill("echo never")
    expect(book.cell(2).get_by_role("button", name="Interrupt")).to_be_visible()
    book.ask("(inside.stop_instance(inside.instances[0].id), outside.stop_instance(outside.instances[0].id))")
    for index in (1, 2):
        found = book.cell(index).locator(".gnb-terminal")
        expect(found).to_contain_text("The instance has ended.", timeout=30_000)
        expect(found.locator("h3")).to_contain_text("· ended")
        expect(found.get_by_role("button", name="Open again")).to_be_hidden()
        expect(found.locator(".gnb-cursor")).to_have_count(0)
        book.screenshot(f"terminal-ended-{index}", found)
    expect(line).to_be_disabled()
    expect(line).to_have_value("echo never")
    expect(book.cell(2).get_by_role("button", name="Run")).to_be_disabled()


#: Writes a line of ten megabytes, and one that would be an image.
HUGE = "seq -s '<' 1400000; echo '<img src=x onerror=window.hacked=1>'"

#: The longest time between two frames in two seconds, in milliseconds.
LONGEST_FRAME = """async () => {
  let [last, longest] = [performance.now(), 0];
  for (const end = last + 2000; last < end; ) {
    await new Promise(requestAnimationFrame);
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }
  return longest;
}"""


def test_lines_of_ten_megabytes_are_cut_and_the_page_stays_usable(notebook: Open) -> None:
    book = notebook(
        [
            BEGIN + f"HUGE = {HUGE!r}",
            SERVICES.replace("echo hello; echo '<img src=x onerror=window.hacked=1>'", HUGE)
            + """
network = session.create_network("192.168.8.0/24")
cluster = session.cluster(Web, network=network)
assert cluster.wait(60)
cluster
""",
            """
job = session.run(HUGE + "; exit 3", range(1), payload=vm.repo(image_tag="golem/alpine:latest"), max_tries=1)
job
""",
            "cluster.terminal()",
        ]
    )

    control, progress = book.page.locator(".gnb-cluster"), book.page.locator(".gnb-progress")
    control.locator("summary", has_text="More").click()
    output = control.get_by_label("End of the output")
    # a provider keeps the first four megabytes of what a command writes
    expect(output).to_contain_text(re.compile(r"^…6\d{5}<[\d<]+…[\d<]+$"))
    assert len(output.inner_text()) < 3000
    expect(progress).to_contain_text("1 failed", timeout=60_000)
    progress.locator("summary").click()
    words = progress.locator(".gnb-errors pre").first
    expect(words).to_contain_text(re.compile(r"exited with code 3: [\d<]+…[\d<]+$"))
    assert len(words.inner_text()) < 2000
    area = book.cell(3).get_by_role("textbox", name="Terminal.")
    expect(area).to_contain_text(re.compile("[#$] "), timeout=30_000)
    area.click()
    book.page.keyboard.type(HUGE + "\n")
    # while all of it comes
    assert book.page.evaluate(LONGEST_FRAME) < 1500
    book.page.keyboard.type("echo after $((40+2))\n")
    expect(area).to_contain_text("after 42", timeout=60_000)
    shown = area.inner_text()
    assert "<1400000\n<img src=x onerror=window.hacked=1>\n" in shown
    # as much as the screen and what can be scrolled back to
    assert len(shown) < 200_000
    assert book.page.evaluate(LONGEST_FRAME) < 1500
    assert book.page.locator(".gnb img[src=x]").count() == 0
    assert book.page.evaluate("() => window.hacked ?? null") is None
    book.screenshot("huge-lines")
