"""Panels in a JupyterLab whose content security policy allows no more than what JupyterLab itself needs."""

from __future__ import annotations

import base64
import hashlib
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.harness import TOKEN, Browser, Notebook, browser, jupyter
from tests.browser.looks import LIVE, START

pytestmark = pytest.mark.timeout(300)

#: Tells in the console of each violation, reported or prevented, and whose script it was.
TELL = """addEventListener("securitypolicyviolation", (event) => {
  const { disposition, effectiveDirective, blockedURI, sourceFile } = event;
  console.error(["violation", disposition, effectiveDirective, blockedURI, sourceFile].join(" "));
})"""

#: How the browser names a script from a ``blob:`` address: panels and plotly, nothing of JupyterLab.
OURS = "blob"


def inline_scripts(url: str) -> str:
    """Hashes of the scripts that JupyterLab has in its page."""
    with urllib.request.urlopen(f"{url}/lab?token={TOKEN}", timeout=20) as answer:
        page = answer.read().decode()
    scripts = re.findall(
        r"<script(?![^>]*(?:src=|type=\"application/json\"))[^>]*>(.*?)</script>", page, re.DOTALL
    )
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


@pytest.fixture
def strict(lab: str, tmp_path: Path) -> Iterator[str]:
    """Address of a JupyterLab with the policy."""
    scripts = f"script-src 'self' blob: {inline_scripts(lab)}"
    rest = "img-src 'self' data:; font-src 'self'; connect-src 'self'"
    ends = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    headers = {
        # JupyterLab compiles the schemas of its settings, and anywidget loads modules from blobs
        "Content-Security-Policy": f"default-src 'none'; {scripts} 'unsafe-eval'; "
        f"style-src 'self' 'unsafe-inline'; {rest}; {ends}",
        # what JupyterLab does and we need not do is told, together with who has done it
        "Content-Security-Policy-Report-Only": f"default-src 'none'; {scripts}; style-src 'self'; {rest}",
    }
    (tmp_path / "notebooks").mkdir()
    with jupyter(
        tmp_path / "notebooks",
        tmp_path / "jupyter",
        environment={"GOLEM_NB_DATA_DIR": str(tmp_path / "data")},
        headers=headers,
    ) as url:
        yield url


@pytest.fixture
def page(chromium_path: str, tmp_path: Path) -> Iterator[Browser]:
    """A page that tells of violations."""
    with browser(tmp_path / "chromium") as found:
        found.page.context.add_init_script(TELL)
        yield found


def violations(page: Browser) -> list[list[str]]:
    """Disposition, directive, what was blocked, and whose script did it, of each violation so far."""
    return [text.split(" ")[1:] for text in page.errors if text.startswith("violation ")]


def test_all_panels_work_with_a_strict_content_security_policy(
    strict: str, page: Browser, tmp_path: Path
) -> None:
    def panel(name: str) -> Any:
        return page.page.locator(f".gnb-{name}")

    cells = [
        START + "; lanes(); trails()",
        "desk.card()",
        "desk.progress(job)",
        "stall = Stall(20); explorer = desk.market(stall); explorer",
        "desk.cluster(cluster)",
        "shell = terminal(); shell._shell.say(COLOURS); shell",
    ]
    book = Notebook(page, strict, tmp_path / "notebooks").open(cells)
    book.run()
    # each of them is used
    panel("card").get_by_role("button", name="Recover").click()
    panel("card").get_by_role("alertdialog").get_by_role("button", name="Recover").click()
    book.wait_for("session.pressed", "[('recover',)]")
    panel("progress").locator("summary").click()
    expect(panel("progress").locator(".gnb-errors li").first).to_contain_text("item 9 on <img src=x")
    panel("market").get_by_label("Least threads").fill("16")
    book.wait_for("(explorer.selection.threads >= 16).all()", "np.True_")
    canvas = panel("market").locator("canvas")
    canvas.hover()
    panel("cluster").get_by_role("button", name="Stop sun-01").click()
    panel("cluster").get_by_role("alertdialog").get_by_role("button", name="Stop").click()
    book.wait_for("cluster.pressed[-1]", "('stop_instance', '00000000-aaaa')")
    area = panel("terminal").get_by_role("textbox", name="Terminal.")
    expect(area).to_contain_text("look-97")
    area.click()
    page.page.keyboard.type("ls\n")
    book.wait_for("shell._shell.typed", r"b'ls\r'")
    # the policy is there: JupyterLab's own need of more is told
    found = violations(page)
    assert any(tuple(violation[:3]) == ("report", "script-src", "eval") for violation in found)
    assert [violation for violation in found if violation[0] != "report" or violation[3] == OURS] == []
    # a figure: plotly has styles in its elements, and no more than that
    book.add(LIVE)
    plot = page.page.locator("[data-gnb-figure]")
    expect(plot.locator(".bartext", has_text="3").first).to_be_visible(timeout=60_000)
    book.ask("[emit(rush.turn()) for _ in range(4)]")
    expect(plot.locator(".bartext", has_text="15").first).to_be_visible()
    panel("dashboard").get_by_label("Offers seen").uncheck()
    expect(plot).not_to_contain_text("Offers seen")
    found = violations(page)
    assert {violation[0] for violation in found} == {"report"}
    assert {violation[1] for violation in found if violation[3] == OURS} <= {
        "style-src-attr",
        "style-src-elem",
    }
    # and the policy does stop what it must stop
    page.page.evaluate(
        "() => { const node = document.createElement('img'); node.src = 'x'; "
        "node.setAttribute('onerror', 'window.hacked = 1'); document.body.append(node); }"
    )
    page.page.wait_for_timeout(300)
    assert page.page.evaluate("() => window.hacked ?? null") is None
    assert ["enforce", "script-src-attr"] in [violation[:2] for violation in violations(page)]
    book.screenshot("strict-policy")
    book.shut_down()
    assert page.foreign == []
