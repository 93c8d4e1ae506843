"""Sources that stand where they are put: for what the real network cannot be brought to at a wanted moment.

Tests of how panels look, and of what they do with hostile or huge facts, run in a kernel that imports this.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs

from golem_nb.frames import OfferTable
from golem_nb.ledger import RecoveryReport
from golem_nb.rest.scan import Offer
from golem_nb.ui.desk import Desk
from golem_nb.ui.instances import Trail
from golem_nb.ui.lanes import Lane
from golem_nb.ui.shell import InstanceShell
from golem_nb.ui.sources import ClusterFacts, ErrorFact, InstanceFacts, JobFacts, RunningFact, SessionFacts
from golem_nb.ui.terminal import Terminal

NOW = datetime.now(UTC)

HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>\x1b[31m\u202egnp.exe"


class Source:
    """Facts that can be changed, and a list of what was pressed."""

    def __init__(self, facts: Any) -> None:
        self.now = facts
        self.pressed: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.delay = 0.0
        #: What comes of what is pressed, by its name.
        self.answers: dict[str, Any] = {}

    def facts(self) -> Any:
        return self.now

    def change(self, **values: Any) -> None:
        self.now = attrs.evolve(self.now, **values)
        desk.mark()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def press(*values: Any, **named: Any) -> Any:
            time.sleep(self.delay)
            self.pressed.append((name, *values, *named.values()))
            if self.error is not None:
                raise self.error
            return self.answers.get(name)

        return press


session = Source(
    SessionFacts(
        name="default",
        state="ready",
        network="local",
        subnet="public",
        daemon="http://127.0.0.1:7465",
        budget=Decimal(1),
        settled=Decimal("0.1234"),
        accepted=Decimal("0.0821"),
        reserved=Decimal("0.05"),
        per_hour=Decimal("0.312"),
        currency="tGLM",
        node_id="0x1234567890abcdef1234567890abcdef12345678",
        account="erc20-hoodi-tglm 0x1234567890abcdef1234567890abcdef12345678",
        balance=Decimal(1000),
        running=[
            RunningFact("job", "job-3", "32 of 50 done"),
            RunningFact("cluster", "cluster-1", "2 of 2 WebService running"),
        ],
        left=["2 agreements of session default, ended 14:02, are still open (0.2 GLM an hour)"],
    )
)
session.answers["recover"] = RecoveryReport()
desk = Desk(session)

job = Source(
    JobFacts(
        name="job-3",
        state="running",
        what="wc -w /golem/input/{}",
        total=50,
        done=32,
        failed=2,
        running=4,
        at_work={"48": "item 12"},
        retries=3,
        cost=Decimal("0.01234"),
        projected=Decimal("0.0201"),
        limit=Decimal("0.5"),
        started=datetime.now(UTC) - timedelta(seconds=72),
        seconds_left=41.0,
        errors=[
            ErrorFact("item 7", "provider-2", "Command exited with code 1: wc: /golem/input/7: No such file"),
            ErrorFact("item 9", HOSTILE, HOSTILE * 20),
        ],
        engine_jobs=["1"],
    )
)


def lanes() -> None:
    """Six providers, each in another state."""
    states = ["running", "transferring", "deploying", "negotiating", "failed", "paid"]
    desk._lanes._jobs["1"] = {
        f"0x{n}": Lane(
            f"0x{n}",
            name,
            state=state,
            doing="did not answer" if state == "failed" else "",
            tasks={"48": None} if state == "running" else {},
            done=3 * n,
            failed=int(state == "failed"),
            accepted={"a": Decimal(n) / 1000},
        )
        for n, (state, name) in enumerate(
            zip(
                states,
                ["sun-01", "provider-2", "kiełbasa", "مزود", HOSTILE[:60], "old-faithful"],
                strict=True,
            )
        )
    }


def _instances() -> list[InstanceFacts]:
    now = datetime.now(UTC)
    states = ["running", "starting", "suspended", "unresponsive", "pending"]
    names = ["sun-01", HOSTILE, "kiełbasa", "old-faithful", None]
    return [
        InstanceFacts(
            id=f"{n}0000000-aaaa",
            state=state,
            provider=name,
            provider_id=f"0x{n}",
            address=f"192.168.0.{n + 2}" if name else None,
            since=now - timedelta(seconds=30 * (n + 1)),
            started=now - timedelta(seconds=60 * (n + 1)),
            per_hour=Decimal("0.15") if name else None,
            message="ready" if state == "running" else None,
            url="http://127.0.0.1:8080/" if state == "running" else None,
            output=HOSTILE + "\nline two",
            error="ServiceLostError: the activity does not answer" if state == "unresponsive" else None,
        )
        for n, (state, name) in enumerate(zip(states, names, strict=True))
    ]


cluster = Source(
    ClusterFacts(
        name="cluster-1",
        state="running",
        service="WebService",
        wanted=5,
        instances=_instances(),
        cost=Decimal("0.0234"),
        budget_left=Decimal("0.7"),
        instance_per_hour=Decimal("0.15"),
        expires=datetime.now(UTC) + timedelta(hours=3),
    )
)


def trails() -> None:
    """States of the instances over time."""
    ways = [
        ["pending", "starting", "running"],
        ["pending", "starting"],
        ["pending", "starting", "running", "suspended"],
        ["starting", "running", "unresponsive"],
        ["pending"],
    ]
    now = time.time() * 1000
    for instance, way in zip(cluster.now.instances, ways, strict=True):
        trail = desk._instances._trails.setdefault(instance.id, Trail())
        for index, state in enumerate(way):
            trail.states.append((state, now - 120_000 + 30_000 * index))


def props_of(n: int) -> dict[str, Any]:
    """Properties of the n-th offer."""
    threads = 1 + (n * 7) % 16
    return {
        "golem.com.pricing.model": "linear",
        "golem.com.pricing.model.linear.coeffs": [
            1e-6 * (1 + (n * 13) % 29),
            2e-5 * (1 + (n * 31) % 17 / 8),
            1e-4,
        ],
        "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
        "golem.node.id.name": HOSTILE if n == 3 else f"provider-{n}",
        "golem.node.debug.subnet": "public",
        "golem.inf.cpu.threads": threads,
        "golem.inf.cpu.cores": max(threads // 2, 1),
        "golem.inf.mem.gib": 2.0 * (1 + n % 16),
        "golem.inf.storage.gib": 10.0 * (1 + n % 9),
        "golem.runtime.name": "vm" if n % 5 else "wasmtime",
        "golem.runtime.capabilities": ["vpn", "inet"] if n % 3 else ["vpn"],
    }


class Stall:
    """A market with as many offers as wanted."""

    def __init__(self, number: int = 0) -> None:
        self.table = OfferTable()
        self.closed = False
        self.add(number)

    @property
    def version(self) -> int:
        return self.table.version

    def frame(self) -> Any:
        return self.table.frame()

    def close(self) -> None:
        self.closed = True

    def add(self, number: int) -> None:
        for _ in range(number):
            n = len(self.table)
            self.table.add(
                Offer(id=f"offer-{n}", issuer=f"0x{n:040x}", props=props_of(n), constraints="", timestamp=NOW)
            )
        desk.mark()


class Shell(InstanceShell):
    """A shell on no instance: hears what is typed, says what it is told to."""

    title = "sun-01 at 192.168.0.2"
    lost: Any = None

    def open(self) -> None:
        self.mode = "keys"
        self.typed = b""

    def write(self, data: bytes) -> None:
        self.typed += data

    def resize(self, columns: int, rows: int) -> None:
        self._size = columns, rows

    def close(self) -> None:
        self._on_end("The shell was closed.")

    def say(self, data: bytes) -> None:
        self._on_output(data)


class StagedTerminal(Terminal):
    """A terminal on no instance."""

    shell_class = Shell


#: All that a shell can make of a text, each look once.
COLOURS = b"$ ls --color\r\n" + b"\r\n".join(
    b" ".join(b"\x1b[%s%dmlook-%d\x1b[0m" % (style, n, n) for n in (*range(30, 38), *range(90, 98)))
    for style in (b"", b"1;", b"2;", b"7;", b"4;")
)


def terminal() -> StagedTerminal:
    """A terminal that ends with the desk."""
    found = StagedTerminal(None, None, desk._pump)  # type: ignore[arg-type]
    desk._panels["terminal", id(found)] = found, found
    return found
