"""Budgets, limits and estimates, on networks of providers that ask for too much."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from golem_nb import Session, vm
from golem_nb.engine.errors import JobTimeoutError
from golem_nb.localnet import LocalNetwork, Misbehaviour, ProviderSpec
from golem_nb.services import Service
from golem_nb.session.errors import LimitReachedError
from golem_nb.session.meter import Money
from tests.waiting import soon

pytestmark = pytest.mark.localnet


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """Providers of different prices and manners; tests choose among them by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path_factory.mktemp("market")))
        second = {"price_per_cpu_second": 0, "cpu_threads": 1}
        specs = [
            ProviderSpec(name="cheap", price_per_second="0.0001", **second),
            ProviderSpec(name="middle", price_per_second="0.0005", price_per_cpu_second="0.0002"),
            ProviderSpec(
                name="dear", price_per_second="0.002", start_price="0.01", price_per_cpu_second="0.001"
            ),
            ProviderSpec(name="quick", price_per_second="0.01", **second),
            ProviderSpec(name="spare", price_per_second="0.02", price_per_cpu_second="0.005", cpu_threads=2),
            ProviderSpec(
                name="greedy",
                price_per_second="0.0005",
                debit_note_interval=1,
                misbehaviours=(Misbehaviour(kind="overcharge", factor=3),),
                **second,
            ),
            ProviderSpec(
                name="flooding",
                price_per_second="0.0005",
                misbehaviours=(Misbehaviour(kind="too-many-debit-notes", interval=0.1),),
                **second,
            ),
        ]
        with LocalNetwork(providers=specs) as network:
            yield network


Begin = Callable[..., Session]

#: What was accepted and reserved at each event, by session.
LOGS: dict[str, list[Money]] = {}


@pytest.fixture
def begin(market: LocalNetwork, data_dir: Path, tmp_path: Path) -> Iterator[Begin]:
    """Begins sessions on the market, and stops them."""
    sessions: list[Session] = []

    def begin(budget: Any, *providers: str, **options: Any) -> Session:
        session = Session(
            budget=budget,
            network=market,
            providers=providers,
            name=f"{tmp_path.name}-{len(sessions)}",
            **options,
        )
        sessions.append(session)
        # what is known at each event is noted in the engine's thread, between that event and the next
        LOGS[session.name] = log = []

        def note(_: Any) -> None:
            log.append(session.money)

        session.add_event_consumer(note)
        return session

    yield begin
    for session in sessions:
        session.stop(wait_for_payments=False)


def never_exceeded(session: Session) -> bool:
    log = LOGS[session.name]
    assert len(log) > 10
    return all(money.accepted + money.reserved <= session.budget for money in log)


@pytest.fixture
def short_first_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agreements need to be covered for less time than a minute, so that tests need not take one."""
    monkeypatch.setattr("golem_nb.session.meter.MINIMUM_RUN", timedelta(seconds=5))


@pytest.mark.usefixtures("short_first_run")
@pytest.mark.parametrize(
    ("provider", "budget"),
    [("quick", "0.2"), ("spare", "0.5")],  # the latter's threads are idle, so that they might cost more
)
def test_work_is_ended_before_the_budget_is_exceeded(
    begin: Begin, alpine: Any, provider: str, budget: str
) -> None:
    session = begin(budget, provider)  # lasts for less than 20 s
    job = session.run("sleep {}", ["0", "0", "200"], payload=alpine, max_workers=1)
    with pytest.raises(LimitReachedError, match=rf"budget of {budget} GLM is used up"):
        job.result(100)
    assert [item.state for item in job.items] == ["done", "done", "cancelled"]
    assert job.progress.seconds > 8
    assert any("of the session's budget" in warning for warning in session.warnings)
    # all of that was spent, so that it is true still
    assert "of the session's budget" in (session.facts().problem or "")
    bill = session.stop()
    assert 0 < bill.accepted <= Decimal(budget)
    assert never_exceeded(session)


def test_a_job_has_a_limit_of_its_own(begin: Begin, alpine: Any) -> None:
    session = begin(5, "quick")
    job = session.run("sleep {}", ["0", "100"], payload=alpine, max_workers=1, max_cost="0.15")
    other = session.run("sleep 12; echo done", payload=alpine)
    with pytest.raises(LimitReachedError, match=r"`max_cost` of 0\.15 GLM"):
        job.result(60)
    assert job.values == ["", None]
    assert job.money.accepted + job.money.reserved <= Decimal("0.15")
    assert any(f"max_cost` of run {job.id}" in warning for warning in session.warnings)
    assert other.result(60) == ["done\n"]


def test_many_workers_do_not_use_up_a_small_limit_before_anything_is_done(
    data_dir: Path, alpine: Any
) -> None:
    """The limit covers twelve seconds of one provider, and the end of five, but nothing before that."""
    specs = [
        ProviderSpec(name=f"equal {number}", price_per_second="0.0001", price_per_cpu_second=0, cpu_threads=1)
        for number in range(5)
    ]
    with (
        LocalNetwork(providers=specs) as network,
        Session(budget=1, network=network, name="a small limit") as session,
    ):
        job = session.run("sleep 1; echo {}", range(3), payload=alpine, max_workers=5, max_cost="0.0015")
        assert job.result(60) == ["0\n", "1\n", "2\n"]
        assert len(session.agreements) == 1
        # one that covers a minute of each has them all
        wide = session.run("sleep 1", range(5), payload=alpine, max_workers=5, max_cost="0.05")
        wide.result(60)
        assert len({item.provider for item in wide.items}) > 1


def test_time_is_limited_for_the_session(begin: Begin, alpine: Any) -> None:
    session = begin(1, "cheap", max_time=8)
    job = session.run("sleep {}", ["0", "100"], payload=alpine, max_workers=1)
    with pytest.raises(LimitReachedError, match=r"`max_time` of 0:00:08 of the session is over"):
        job.result(60)
    assert [item.state for item in job.items] == ["done", "cancelled"]
    assert 7 < job.progress.seconds < 20
    assert any("of `max_time` of the session (0:00:08) is over" in each for each in session.warnings)
    with pytest.raises(LimitReachedError, match=r"run \d+ cannot begin"):
        session.run("true", payload=alpine).result(30)
    assert session.stop().accepted > 0


def test_time_and_tries_of_jobs_are_limited(begin: Begin, alpine: Any) -> None:
    session = begin(1, "cheap", "middle", max_tries=1)
    failing = session.run("exit 1", payload=alpine, max_tries=5)
    assert failing.wait(60)
    assert len(failing[0].tries) == 1
    late = session.run("sleep 100", payload=alpine, timeout=5)
    with pytest.raises(JobTimeoutError):
        late.result(60)
    assert any(f"of the time of run {late.id} (0:00:05) is over" in each for each in session.warnings)


@pytest.mark.parametrize(
    ("limit", "words"),
    [({"max_cost": "0.15"}, "of `max_cost` of run"), ({"timeout": 10}, "of the time of run")],
    ids=["cost", "time"],
)
def test_the_card_warns_of_a_limit_while_it_is_near(
    begin: Begin, alpine: Any, limit: dict[str, Any], words: str
) -> None:
    session = begin(5, "quick")
    job = session.run("sleep 100", payload=alpine, max_workers=1, **limit)
    assert soon(lambda: words in (session.facts().problem or "")), session.facts()
    job.cancel()
    # what was near cannot be reached any more
    assert soon(lambda: session.facts().problem is None), session.facts()
    assert any(words in warning for warning in session.warnings)


def test_no_agreement_is_made_that_cannot_be_paid_for(
    begin: Begin, alpine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golem_nb.session.hunger.MARKET_TIME", 4.0)
    session = begin("0.05", "dear")
    began = time.monotonic()
    job = session.run("true", payload=alpine)
    with pytest.raises(LimitReachedError, match=r"No provider fits.*The cheapest one needs 0\.37.*in 4 s no"):
        job.result(60)
    assert time.monotonic() - began > 4
    assert any("No offer for job" in warning for warning in session.warnings)
    assert "AgreementCreated" not in set(session.events["event"])
    assert session.stop().accepted == 0


def test_a_job_makes_no_agreement_whose_fee_its_limit_does_not_cover(
    begin: Begin, alpine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golem_nb.session.hunger.MARKET_TIME", 4.0)
    session = begin(5, "dear")
    job = session.run("true", payload=alpine, max_cost="0.02")
    with pytest.raises(
        LimitReachedError, match=r"`max_cost` of run \d+: 0\.02.*needs 0\.028.*larger `max_cost`"
    ):
        job.result(60)
    assert job.money.accepted == 0
    enough = session.run("true", payload=alpine, max_cost="0.5")
    assert enough.result(60) == [""]
    assert 0 < session.stop().accepted < Decimal("0.5")


def test_what_does_not_fit_one_job_does_not_end_another(
    begin: Begin, alpine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golem_nb.session.hunger.MARKET_TIME", 3.0)
    session = begin("0.05", "dear")
    huge = vm.repo(image_tag="golem/alpine:latest", min_mem_gib=900)
    unmet = session.run("true", payload=huge)
    with pytest.raises(LimitReachedError):
        session.run("true", payload=alpine).result(60)
    assert not unmet.wait(6)  # nobody has made it an offer, which is not a matter of money
    unmet.cancel()


def test_one_that_fits_is_found_among_those_that_do_not(begin: Begin, alpine: Any) -> None:
    session = begin("0.05", "dear", "cheap")
    job = session.run("echo {}", range(6), payload=alpine)
    job.result(60)
    assert {item.provider for item in job.items} == {"cheap"}


def test_one_that_fits_may_come_late(begin: Begin, alpine: Any, market: LocalNetwork) -> None:
    asyncio.run(market.provider("cheap").vanish())
    try:
        session = begin("0.05", "dear", "cheap")
        job = session.run("echo {}", range(2), payload=alpine)
        assert not job.wait(8)
        assert not job.ended
        assert any("needs 0.37" in warning for warning in session.warnings)
    finally:
        asyncio.run(market.provider("cheap").come_back())
    assert job.result(60) == ["0\n", "1\n"]


def test_one_that_did_not_fit_is_taken_when_the_budget_is_free_again(begin: Begin, alpine: Any) -> None:
    session = begin("0.6", "dear")  # enough for one agreement at a time
    first = session.run("sleep 6", payload=alpine)
    while not first.progress.running:
        time.sleep(0.05)
    second = session.run("echo second", payload=alpine)
    assert second.result(90) == ["second\n"]
    assert first.ended
    assert never_exceeded(session)


def test_as_many_agreements_at_once_as_can_be_paid_for(begin: Begin, alpine: Any) -> None:
    # each one sets 0.006 aside for its first minute
    session = begin("0.014", "cheap")
    job = session.run("sleep 2; echo {}", range(4), payload=alpine, max_workers=4)
    job.result(60)
    assert len(session.agreements) <= 2
    assert never_exceeded(session)


def test_a_provider_that_overcharges_gets_nothing_beyond_the_budget(begin: Begin, alpine: Any) -> None:
    session = begin("0.1", "greedy", "cheap")
    job = session.run("sleep 2; echo {}", range(6), payload=alpine, max_workers=3)
    job.wait(90)
    bill = session.stop()
    assert bill.accepted <= Decimal("0.1")
    assert never_exceeded(session)
    assert "PaymentFailed" in set(session.events["event"])
    # two seconds an activity are within what clocks may differ by
    (greedy,) = (line for line in bill.lines if line.provider == "greedy")
    assert greedy.accepted <= (Decimal(greedy.seconds) + 2 * greedy.agreements) * Decimal("0.000505")


class Waiting(Service):
    """Runs until it is stopped."""

    @staticmethod
    async def get_payload() -> Any:
        from golem_nb import vm

        return await vm.repo(image_tag="golem/alpine:latest")


def test_a_provider_that_floods_debit_notes_gets_nothing_beyond_the_budget(begin: Begin) -> None:
    session = begin("0.1", "flooding")
    cluster = session.cluster(Waiting)
    cluster.wait(30)
    time.sleep(5)
    received = (session.events["event"] == "DebitNoteReceived").sum()
    assert received > 10
    session.stop()
    assert never_exceeded(session)


@pytest.mark.parametrize(
    "providers", [("cheap",), ("cheap", "middle"), ("middle", "dear")], ids=lambda names: "+".join(names)
)
def test_the_cost_of_a_job_lies_within_its_estimate(
    begin: Begin, alpine: Any, providers: tuple[str, ...]
) -> None:
    session = begin(3, *providers)
    estimate = session.estimate(alpine, tasks=6, seconds=2, max_workers=3)
    assert estimate.low <= estimate.median <= estimate.high
    assert estimate.offers == len(providers)
    job = session.run("sleep 2", range(6), payload=alpine, max_workers=3)
    job.result(90)
    bill = session.stop()
    assert estimate.low <= bill.accepted <= estimate.high, (estimate, bill)
