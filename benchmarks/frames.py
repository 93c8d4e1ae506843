"""``python -m benchmarks.frames [--events N]``: what events and offers cost on their way into frames.

Events are made of real agreements, activities and tasks. They are given to a recorder at once, and injected
through the engine's public ``emit`` at a steady rate, with a recorder and without. Times are of the
processor, so that other programs do not count. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from golem_nb import events as ev
from golem_nb.engine.dispatcher import EventDispatcher
from golem_nb.frames import OfferTable, Recorder
from golem_nb.rest.activity import Activity
from golem_nb.rest.ids import ActivityId, AgreementId, DebitNoteId, InvoiceId, NodeId
from golem_nb.rest.market import Agreement, AgreementDetails
from golem_nb.rest.notes import DebitNote, Invoice
from golem_nb.rest.scan import Offer

NOW = datetime.now(UTC)
JOB = SimpleNamespace(id="1")
RUN = type("Run", (), {})()
UPLOAD = type("UploadFile", (), {})()
CLIENT: Any = None

PRICE = {
    "golem.com.pricing.model": "linear",
    "golem.com.pricing.model.linear.coeffs": [0.00002, 0.00005, 0.0001],
    "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
}


def offer_props(number: int) -> dict[str, Any]:
    """Properties as an offer has them."""
    return PRICE | {
        "golem.node.id.name": f"provider-{number}",
        "golem.node.debug.subnet": "public",
        "golem.runtime.name": "vm",
        "golem.runtime.capabilities": ["vpn", "inet", "manifest-support"],
        "golem.inf.cpu.threads": 1 + number % 16,
        "golem.inf.cpu.cores": 1 + number % 8,
        "golem.inf.mem.gib": 1.5 + number % 64,
        "golem.inf.storage.gib": 20.0,
    }


def agreement(number: int) -> Agreement:
    """Make an agreement with a provider of its own."""
    key = AgreementId(f"{number:064x}")
    details = AgreementDetails(
        agreement_id=key,
        state="Approved",
        provider_id=NodeId(f"0x{number:040x}"),
        requestor_id=NodeId("0x" + "1" * 40),
        valid_to=NOW,
        approved=NOW,
        timestamp=NOW,
        app_session_id="s",
        offer_props=offer_props(number),
        demand_props={},
        offer_constraints="",
        demand_constraints="",
        demand_id="d",
    )
    return Agreement(CLIENT, key, details)


def stream(providers: int = 200) -> Iterator[Callable[[], ev.Event]]:
    """Give makers of events, in the proportions that a batch has: 14 events a task, a debit note in 500."""
    works = []
    for number in range(providers):
        made = agreement(number)
        activity = Activity(CLIENT, ActivityId(f"{number:032x}"), made.id)
        works.append((made, activity))
        yield lambda made=made: ev.AgreementCreated(JOB, made)
        yield lambda made=made: ev.AgreementConfirmed(JOB, made)
        yield lambda made=made, activity=activity: ev.ActivityCreated(JOB, made, activity)
    for number in itertools.count(1):
        made, activity = random.choice(works)
        task = SimpleNamespace(id=str(number), data=number, result=None)
        script = SimpleNamespace(id=number)
        three = (JOB, made, activity)
        yield lambda three=three, task=task: ev.TaskStarted(*three, task)
        yield lambda three=three, script=script: ev.ScriptSent(*three, script)
        yield lambda three=three, script=script: ev.GettingResults(*three, script)
        for command in (UPLOAD, RUN, RUN):
            yield lambda three=three, script=script, command=command: ev.CommandStarted(
                *three, script, command
            )
            text = None if command is UPLOAD else f"frame {number} rendered in 1.25 s\n"
            yield lambda three=three, script=script, command=command, text=text: ev.CommandExecuted(
                *three, script, command, success=True, message=None, stdout=text
            )
        yield lambda three=three, script=script: ev.ScriptFinished(*three, script)
        yield lambda three=three, task=task: ev.TaskAccepted(*three, task)
        yield lambda three=three, task=task: ev.TaskFinished(*three, task)
        if number % 500 == 0:
            note = DebitNote(
                CLIENT, DebitNoteId(str(number)), made.details.provider_id, made.id, activity.id,
                Decimal(number) / 10**6, [float(number), 1.0], "erc20-hoodi-tglm", None, None, NOW,
                "RECEIVED",
            )  # fmt: skip
            yield lambda made=made, note=note: ev.DebitNoteReceived(JOB, made, note)
            yield lambda made=made, note=note: ev.DebitNoteAccepted(JOB, made, note)
        if number % 5000 == 0:
            invoice = Invoice(
                CLIENT, InvoiceId(str(number)), made.details.provider_id, made.id, [activity.id],
                Decimal(number) / 10**6, "erc20-hoodi-tglm", None, NOW, "RECEIVED",
            )  # fmt: skip
            yield lambda made=made, invoice=invoice: ev.InvoiceReceived(JOB, made, invoice)


def take_all(recorder: Recorder, number: int) -> dict[str, float]:
    """Feed a recorder; give microseconds an event, for making events and for taking them."""
    making = taking = 0.0
    clock = time.thread_time
    makers = stream()
    while number > 0:
        count = min(number, 10_000)
        some = list(itertools.islice(makers, count))
        begun = clock()
        events = [make() for make in some]
        made = clock()
        for event in events:
            recorder.take(event)
        taking += clock() - made
        making += made - begun
        number -= count
    return {"make_seconds": making, "take_seconds": taking}


async def through_engine(rate: int, seconds: float, *, record: bool) -> float:
    """Make and emit so many events a second; give the share of a core that this used."""
    dispatcher = EventDispatcher()
    recorder = Recorder()
    if record:
        dispatcher.add(recorder.take, (ev.Event,))
    dispatcher.start()
    total = int(rate * seconds)
    makers = stream()
    batch = rate // 50
    loop = asyncio.get_running_loop()
    began, used = loop.time(), time.process_time()
    for start in range(0, total, batch):
        for make in itertools.islice(makers, batch):
            dispatcher.emit(make())
        await asyncio.sleep(max(0.0, began + (start + batch) / rate - loop.time()))
    spent = time.process_time() - used
    await dispatcher.stop()
    assert not record or len(recorder.events()) == total
    return spent / seconds


def frames(recorder: Recorder) -> dict[str, dict[str, float]]:
    """Build each frame: the first time, again, and after one more event; in milliseconds."""
    result = {}
    for name in ("events", "tasks", "agreements", "activities", "services", "costs", "offers"):
        build = getattr(recorder, name)
        timings = []
        for again in (False, False, True):
            if again:
                recorder.take(next(stream())())
            begun = time.thread_time()
            frame = build()
            timings.append(round((time.thread_time() - begun) * 1e3, 2))
        first, unchanged, changed = timings
        result[name] = {"rows": len(frame), "first": first, "unchanged": unchanged, "changed": changed}
    return result


def offers(number: int) -> dict[str, float]:
    """Add offers and build their frame; microseconds an offer, and milliseconds."""
    table = OfferTable()
    some = [Offer(str(i), NodeId(f"0x{i:040x}"), offer_props(i), "", NOW) for i in range(number)]
    begun = time.thread_time()
    for offer in some:
        table.add(offer)
    added = time.thread_time()
    table.frame()
    built = time.thread_time()
    table.add(some[0])
    more = time.thread_time()
    table.frame()
    return {
        "add_us": round((added - begun) / number * 1e6, 2),
        "first_ms": round((built - added) * 1e3, 2),
        "one_more_ms": round((time.thread_time() - more) * 1e3, 2),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frames", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="how many (1 000 000)")
    arguments = parser.parse_args()
    recorder = Recorder()
    took = take_all(recorder, arguments.events)
    import pandas as pd

    without = asyncio.run(through_engine(10_000, 5.0, record=False))
    with_recorder = asyncio.run(through_engine(10_000, 5.0, record=True))
    result = {
        "case": "frames",
        "events": arguments.events,
        "make_us": round(took["make_seconds"] / arguments.events * 1e6, 2),
        "take_us": round(took["take_seconds"] / arguments.events * 1e6, 2),
        "frames_ms": frames(recorder),
        "core_at_10000_a_second": {
            "with_recorder": round(with_recorder, 4),
            "without": round(without, 4),
            "recorder": round(with_recorder - without, 4),
        },
        "offers_10000": offers(10_000),
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "pandas": pd.__version__,
            "load": os.getloadavg()[0],
        },
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
