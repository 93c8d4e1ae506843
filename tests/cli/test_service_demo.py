"""`golem-nb demo --service`: a cluster behind a proxy that loses a provider, and what is left afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from decimal import Decimal
from typing import Any

import pytest

from golem_nb.cli.service_demo import availability
from golem_nb.localnet import kept

pytestmark = pytest.mark.localnet


def test_json(golem_nb: Any, machine: Any) -> None:
    output, errors = golem_nb("demo", "--service", "--json")
    assert machine.is_clean()
    assert errors == ""
    (line,) = output.splitlines()
    summary = json.loads(line)
    assert summary["servers"] == 4
    assert summary["providers_used"] == 3
    assert summary["killed"] in ("amber", "birch", "cobalt")
    assert 1 <= summary["servers_lost"] <= 2
    assert summary["requests"] == summary["answered"] > summary["requests_after_kill"]
    assert summary["requests_after_kill"] == summary["answered_after_kill"] > 100
    assert summary["seconds_to_notice"] < summary["seconds_to_recover"] < 20
    # the killed provider can send no invoice, all others do
    assert summary["agreements"] == summary["agreements_ended"] == 4 + summary["servers_lost"]
    assert summary["agreements_of_killed"] == summary["servers_lost"]
    assert summary["invoices_accepted"] == 4
    assert summary["agreements_left"] == 0
    assert summary["allocation_released"] is True
    assert Decimal(0) < Decimal(summary["cost"]) < Decimal(summary["budget"]) == 1
    assert not list(machine.data.rglob("*.sock"))


def test_as_text(golem_nb: Any, machine: Any) -> None:
    output, errors = golem_nb("demo", "--service", "--providers", "2")
    assert machine.is_clean()
    assert errors == ""
    assert max(map(len, output.splitlines())) <= 80
    text = " ".join(output.split())
    expected = (
        r"A network of 2 providers is up after [\d.]+ s\. "
        r"2 web servers run after [\d.]+ s, on amber, birch\. "
        r"4 clients ask for http://127\.\d+\.\d+\.\d+:\d+/ from now on\. "
        r"4 web servers run after [\d.]+ s more, on amber, amber, birch, birch\. "
        r"(?P<killed>amber|birch) was killed, and with it 2 of 4 web servers\. "
        r"That was noticed after [\d.]+ s, and 4 web servers run again after [\d.]+ s, "
        r"on (?P<rest>amber|birch), (?P=rest), (?P=rest), (?P=rest)\. "
        r"All \d+ requests were answered, also the \d+ sent after (?P=killed)'s death "
        r"\(the slowest of these took [\d.]+ s\)\. "
    )
    found = re.search(expected, text)
    assert found, text
    assert found["killed"] != found["rest"]
    assert f"{found['killed']} (killed)" in output
    assert "The bill" in output
    assert "6 of 6 agreements ended, 4 invoices accepted, " in text
    assert "of 1 GLM in all; a provider that was killed sends none. The rest is released. " in text
    assert "paid" not in text


def test_requests_that_were_not_answered_are_counted() -> None:
    text = availability(
        killed="amber",
        requests=1701,
        answered=1690,
        requests_after_kill=1136,
        answered_after_kill=1128,
        slowest_after_kill=0.614,
    )
    assert text == (
        "11 of 1701 requests were not answered, 8 of them among the 1136 sent after amber's death "
        "(the slowest of these took 0.61 s)."
    )


def test_one_provider_is_too_few(golem_nb: Any, machine: Any) -> None:
    _, errors = golem_nb("demo", "--service", "--providers", "1", status=2)
    assert "--service needs --providers 2 or more: one of them is killed" in errors
    assert machine.is_clean()


def test_control_c(start: Any, machine: Any) -> None:
    process = start("demo", "--service")
    for line in process.stdout:
        if "clients ask for" in line:
            break
    machine.look()
    # what is interrupted is a demo whose clients are being answered, which it does not tell while it goes on
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "golem-nb: interrupted; everything that was started ends with it"
    assert "Traceback" not in errors
    assert machine.is_clean()
    # ended in order: nothing is unsettled
    assert kept() == []
