"""What the panels show and press: facts as values, and the objects that give them.

A panel never looks into the engine. It asks its source for `facts()`, a snapshot that is made in well under a
millisecond, from any thread, and calls the source's ordinary blocking methods on a thread of its own when a
button is pressed.

Every text in these facts may come from a provider: it is shown as text, shortened, with control characters
replaced (`golem_nb.ui.text`), so whoever fills them in does not have to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import attrs

from golem_nb.frames.instances import instance_names

if TYPE_CHECKING:
    from golem_nb.ledger import RecoveryReport

__all__ = [
    "ClusterFacts",
    "ClusterSource",
    "ErrorFact",
    "InstanceFacts",
    "JobFacts",
    "JobSource",
    "MarketSource",
    "RunningFact",
    "SessionFacts",
    "SessionSource",
]

SessionState = Literal["starting", "ready", "stopping", "stopped", "failed"]
JobState = Literal["running", "done", "failed", "cancelled"]

ZERO = Decimal(0)

#: In these states an instance is over.
OVER: Final = frozenset({"terminated", "unresponsive"})


@attrs.frozen
class RunningFact:
    """One thing that is running in a session."""

    kind: Literal["job", "cluster"]
    name: str
    #: What it is doing, in a few words, for example ``"12 of 50 done"``.
    text: str


@attrs.frozen
class SessionFacts:
    """Where a session is, who pays, what it has spent. Amounts are in GLM."""

    name: str
    state: SessionState
    #: ``"local"``, ``"hoodi"``, ``"polygon"``, …
    network: str
    subnet: str
    #: Address of the daemon.
    daemon: str
    budget: Decimal
    #: Paid on the chain.
    settled: Decimal = ZERO
    #: Accepted, and not settled yet.
    accepted: Decimal = ZERO
    #: What running activities have cost so far and nobody has billed yet.
    reserved: Decimal = ZERO
    #: What everything that runs now costs in an hour; None if that is not known.
    per_hour: Decimal | None = None
    #: ``"GLM"`` on a mainnet, the name of the test token elsewhere.
    currency: str = "GLM"
    #: Whether this is money that somebody has bought.
    real_money: bool = False
    node_id: str | None = None
    #: The payment platform and the address that pays.
    account: str | None = None
    balance: Decimal | None = None
    running: Sequence[RunningFact] = ()
    #: One line for each thing that a dead kernel has left behind.
    left: Sequence[str] = ()
    #: What does not work, with a remedy; None if all is well.
    problem: str | None = None

    @property
    def free(self) -> Decimal:
        """What can still be spent, never below zero."""
        return max(self.budget - self.settled - self.accepted - self.reserved, ZERO)


@attrs.frozen
class ErrorFact:
    """One failure of a job."""

    #: Which one, as the user counts them, such as ``"item 3"``; None if it was not about one.
    item: str | None
    #: Name of the provider, or None.
    provider: str | None
    #: What happened; the provider's own words included.
    text: str
    when: datetime | None = None


@attrs.frozen
class JobFacts:
    """How far a batch is. Amounts are in GLM."""

    name: str
    state: JobState
    #: How many items there are; None while that is not known.
    total: int | None
    done: int
    failed: int = 0
    #: How many are being computed at this moment.
    running: int = 0
    #: How those are called, such as ``"item 3"``, by the ids of their tasks in the engine.
    at_work: Mapping[str, str] = attrs.field(factory=dict)
    #: How often an item had to be tried again.
    retries: int = 0
    #: How often a try has failed on a provider, by its node id; None where each has an event that tells.
    failed_tries: Mapping[str, int] | None = None
    cost: Decimal = ZERO
    #: What it will have cost at the end, at the present pace; None while that cannot be said.
    projected: Decimal | None = None
    #: The most that the job may cost.
    limit: Decimal | None = None
    started: datetime | None = None
    ended: datetime | None = None
    #: Time that is left at the present pace, in seconds; None while that cannot be said.
    seconds_left: float | None = None
    #: The last failures, newest last.
    errors: Sequence[ErrorFact] = ()
    #: What ended it, in words; None if nothing did or it went well.
    outcome: str | None = None
    #: What is computed, for example the command.
    what: str = ""
    #: Ids of the engine's jobs that belong to it: their events fill the lanes of the providers.
    engine_jobs: Sequence[str] = ()


@attrs.frozen
class InstanceFacts:
    """One instance of a service."""

    id: str
    #: ``"pending"``, ``"starting"``, ``"running"``, ``"stopping"``, ``"suspended"``, ``"unresponsive"`` or
    #: ``"terminated"``.
    state: str
    provider: str | None = None
    provider_id: str | None = None
    #: Its address in the VPN.
    address: str | None = None
    #: When it got into its state.
    since: datetime | None = None
    #: When it was started.
    started: datetime | None = None
    #: GLM, by its agreement.
    per_hour: Decimal | None = None
    #: The last message that it has sent.
    message: str | None = None
    #: Where its proxied page is, on this machine.
    url: str | None = None
    #: The end of its output.
    output: str = ""
    #: What has ended it, in words.
    error: str | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in OVER

    @property
    def per_hour_now(self) -> Decimal | None:
        """What it costs an hour, GLM; None where it costs nothing any more, or the price is not known."""
        return None if self.over else self.per_hour


@attrs.frozen
class ClusterFacts:
    """The instances of one service."""

    name: str
    #: ``"failed"`` while nothing runs or is being started, because of errors; more can be started.
    state: Literal["running", "failed", "ended"]
    #: Name of the service's class.
    service: str
    wanted: int
    instances: Sequence[InstanceFacts] = ()
    #: GLM so far.
    cost: Decimal = ZERO
    #: What is left of the session's budget, GLM; actions that cost more than a tenth of it are asked about.
    budget_left: Decimal | None = None
    #: What one more instance costs in an hour, GLM; None if that is not known.
    instance_per_hour: Decimal | None = None
    #: When the agreements expire.
    expires: datetime | None = None

    @property
    def names(self) -> dict[str, str]:
        """What the instances are called, by their ids, as in figures."""
        # the sort is stable: those that have not started yet stay as they are
        in_order = sorted(
            self.instances, key=lambda each: math.inf if each.started is None else each.started.timestamp()
        )
        return instance_names((each.id, each.provider) for each in in_order)


class SessionSource(Protocol):
    """A session, as its card sees it."""

    def facts(self) -> SessionFacts:
        """Return where it stands."""

    def stop(self) -> Any:
        """End everything, pay, and return the bill; blocks."""

    def recover(self) -> RecoveryReport:
        """Settle or end what a dead kernel has left, and tell what came of it; blocks."""


class JobSource(Protocol):
    """A batch, as its progress panel sees it."""

    def facts(self) -> JobFacts:
        """Return how far it is."""

    def cancel(self) -> Any:
        """End it now."""

    def retry_failed(self) -> Any:
        """Compute the failed items again."""


class ClusterSource(Protocol):
    """A cluster, as its control panel sees it."""

    def facts(self) -> ClusterFacts:
        """Return its instances and their states."""

    def add(self, count: int = 1) -> Any:
        """Start more instances."""

    def scale(self, wanted: int) -> Any:
        """Start or stop instances until there are as many as wanted."""

    def stop_instance(self, instance_id: str) -> Any:
        """Stop an instance."""

    def suspend_instance(self, instance_id: str) -> Any:
        """Leave an instance alone; it goes on costing."""

    def resume_instance(self, instance_id: str) -> Any:
        """Take up a suspended instance on the same activity."""

    def restart_instance(self, instance_id: str) -> Any:
        """Stop an instance and start another one."""

    def send(self, instance_id: str, message: str) -> Any:
        """Send a message to an instance's handlers."""

    def __getitem__(self, key: str) -> Any:
        """Return an instance, by its id: a `golem_nb.services.Service`."""


class MarketSource(Protocol):
    """A look at the market that goes on."""

    @property
    def version(self) -> int:
        """Changes whenever offers have come in."""

    def frame(self) -> Any:
        """Return the offers so far, a DataFrame as `golem_nb.frames` makes it; cheap when nothing changed."""

    def close(self) -> Any:
        """End the look."""
