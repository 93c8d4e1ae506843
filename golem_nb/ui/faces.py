"""The faces that need no browser half: a themed snapshot with its time, and one line of text.

Both are made from facts alone; the line depends on nothing but them, so that it can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import accumulate
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from golem_nb.log import pluralize
from golem_nb.ui.markup import bar, box, e, facts, render, table
from golem_nb.ui.sources import ClusterFacts, JobFacts, SessionFacts
from golem_nb.ui.text import amount, clean, clock, lines, seconds

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "cluster_html",
    "cluster_text",
    "dashboard_html",
    "dashboard_text",
    "job_bar",
    "job_html",
    "job_text",
    "market_html",
    "market_text",
    "session_html",
    "session_text",
    "terminal_html",
    "terminal_text",
]

_GREEN, _RED, _BLUE, _AMBER = "#2da44e", "#cf222e", "#2f81f7", "#bf8700"

#: Rows of the tables in a snapshot.
MOST_ROWS = 50

#: Outputs of instances in a snapshot.
MOST_OUTPUTS = 10


def _as_of(now: datetime | None) -> str:
    return f"As of {clock(now or datetime.now(UTC))}"


def _note(text: str) -> Element:
    return e(
        "div", "margin-top:8px;font-size:12px;color:color-mix(in srgb,currentColor 75%,transparent)", text
    )


def session_text(session: SessionFacts) -> str:
    """Return a session as one line.

    Examples
    --------
    >>> from decimal import Decimal
    >>> session_text(SessionFacts("default", "ready", "local", "public", "http://127.0.0.1:7465", Decimal(1)))
    'Session default, ready on local: 0 of 1.0000 GLM spent, 0 reserved, nothing is running'
    """
    spent = session.settled + session.accepted
    running = ", ".join(clean(thing.name, 40) for thing in session.running) or "nothing"
    verb = "are" if len(session.running) > 1 else "is"
    return (
        f"Session {clean(session.name, 60)}, {session.state} on {clean(session.network, 40)}: "
        f"{amount(spent)} of {amount(session.budget)} {clean(session.currency, 12)} spent, "
        f"{amount(session.reserved)} reserved, {running} {verb} running"
    )


def session_html(session: SessionFacts, now: datetime | None = None) -> str:
    """Return a session as a snapshot."""
    whole = session.budget or 1
    spent = (
        f"{amount(session.settled + session.accepted)} of {amount(session.budget)} {session.currency} spent"
    )
    over = session.state in ("stopped", "failed")
    per_hour = "not known" if session.per_hour is None else f"{amount(session.per_hour)} {session.currency}"
    node = box(
        f"Golem session {clean(session.name, 60)} · {session.state}",
        bar(
            [
                (float(session.settled / whole), _GREEN),
                (float(session.accepted / whole), _BLUE),
                (float(session.reserved / whole), _AMBER),
            ],
            spent,
        ),
        facts(
            [
                ("Where", f"{clean(session.network, 40)}, subnet {clean(session.subnet, 40)}"),
                ("Daemon", clean(session.daemon, 80)),
                ("Who", clean(session.node_id or "not known yet", 60)),
                ("Pays", clean(session.account or "not known yet", 120)),
                ("Balance", f"{amount(session.balance)} {session.currency}"),
                ("Budget", spent),
                ("Settled", amount(session.settled)),
                ("Accepted", amount(session.accepted)),
                ("Reserved", amount(session.reserved)),
                ("Free", amount(session.free)),
                ("An hour now", per_hour),
            ]
        ),
        table(
            ["Running", "What"],
            [(clean(x.name, 60), clean(x.text, 120)) for x in session.running[:MOST_ROWS]],
        )
        if session.running
        else None,
        *(e("div", "margin-top:6px", "⚠ ", clean(text, 300)) for text in _warnings(session)),
        _note(f"{_as_of(now)}." + ("" if over else " session.stop() ends everything and pays.")),
    )
    return render(node)


def _warnings(session: SessionFacts) -> Iterable[str]:
    if session.problem:
        yield session.problem
    yield from session.left[:10]


def job_text(job: JobFacts) -> str:
    """Return a batch as one line.

    Examples
    --------
    >>> job_text(JobFacts("job-3", "running", total=50, done=32, failed=1, running=4))
    'job-3 running: 32 of 50 done, 4 running, 1 failed, 0 GLM'
    """
    of = "" if job.total is None else f" of {job.total}"
    parts = [f"{job.done}{of} done"]
    if job.running:
        parts.append(f"{job.running} running")
    if job.failed:
        parts.append(f"{job.failed} failed")
    if job.retries:
        parts.append(pluralize(job.retries, "retry", "retries"))
    return f"{clean(job.name, 60)} {job.state}: {', '.join(parts)}, {amount(job.cost)} GLM"


def job_bar(job: JobFacts, *, columns: int = 80, unicode: bool = True) -> str:
    """Return a batch as a bar of characters and a few words, in one line of a terminal.

    Parameters
    ----------
    job
        How far it is.
    columns
        Most characters.
    unicode
        Whether the terminal knows more than ASCII.

    Examples
    --------
    >>> facts = JobFacts("job-3", "running", total=8, done=4, failed=1, running=2)
    >>> job_bar(facts, columns=72)
    'job-3 ████████████xxx▒▒▒▒▒▒···  50 %  4 of 8 done, 2 running, 1 failed'
    >>> job_bar(facts, columns=40, unicode=False)
    'job-3 #####x==..  50 %  4 of 8 done, 2 r'
    """
    parts = [f"{job.done} done" if job.total is None else f"{job.done} of {job.total} done"]
    parts += [
        f"{number} {word}" for number, word in ((job.running, "running"), (job.failed, "failed")) if number
    ]
    if job.cost:
        parts.append(f"{amount(job.cost)} GLM")
    if job.seconds_left is not None and job.state == "running":
        parts.append(f"about {seconds(job.seconds_left)} left")
    words = ", ".join(parts)
    name = clean(job.name, 24)
    if job.total:
        width = 24 if columns >= 60 else 10
        at = [
            min(width, width * number // job.total)
            for number in accumulate((job.done, job.failed, job.running))
        ]
        full, bad, live, free = "█x▒·" if unicode else "#x=."
        drawn = full * at[0] + bad * (at[1] - at[0]) + live * (at[2] - at[1]) + free * (width - at[2])
        words = f"{drawn} {100 * job.done // job.total:3} %  {words}"
    return f"{name} {words}"[:columns]


def job_html(
    job: JobFacts, lanes: Iterable[tuple[str, str, int, int, str]] = (), now: datetime | None = None
) -> str:
    """Return a batch as a snapshot.

    Parameters
    ----------
    job
        How far it is.
    lanes
        For each provider its name, state, items done and failed, and amount.
    now
        The time of the snapshot.
    """
    total = max(job.total or job.done + job.failed + job.running, 1)
    taken = None
    if job.started is not None:
        taken = ((job.ended or now or datetime.now(UTC)) - job.started).total_seconds()
    rows = [
        (clean(name, 60), state, str(done), str(failed), cost) for name, state, done, failed, cost in lanes
    ][:MOST_ROWS]
    errors = [
        e(
            "div",
            "margin-top:6px",
            e(
                "b",
                "",
                clean(f"{error.item or 'job'} {'on ' + error.provider if error.provider else ''}", 120),
            ),
            _pre(error.text),
        )
        for error in list(job.errors)[-10:]
    ]
    return render(
        box(
            f"{clean(job.name, 60)} · {job.state}{' · ' + clean(job.what, 120) if job.what else ''}",
            bar(
                [(job.done / total, _GREEN), (job.failed / total, _RED), (job.running / total, _BLUE)],
                job_text(job),
            ),
            facts(
                [
                    ("Done", str(job.done) if job.total is None else f"{job.done} of {job.total}"),
                    ("Failed", str(job.failed)),
                    ("Retries", str(job.retries)),
                    ("Cost", f"{amount(job.cost)} GLM"),
                    ("Time", seconds(taken)),
                ]
            ),
            _pre(job.outcome) if job.outcome else None,
            table(["Provider", "State", "Done", "Failed", "GLM"], rows) if rows else None,
            *errors,
            _note(_as_of(now) + "."),
        )
    )


def _pre(text: str) -> Element:
    node = e(
        "pre", "margin:2px 0 0;white-space:pre-wrap;overflow-wrap:anywhere;color:inherit;background:none"
    )
    node.text = lines(text, 2000)
    return node


def cluster_text(cluster: ClusterFacts) -> str:
    """Return a cluster as one line.

    Examples
    --------
    >>> cluster_text(ClusterFacts("cluster-1", "running", "WebService", wanted=2))
    'cluster-1 of WebService running: 0 of 2 instances running, 0 GLM'
    """
    running = sum(instance.state == "running" for instance in cluster.instances)
    return (
        f"{clean(cluster.name, 60)} of {clean(cluster.service, 60)} {cluster.state}: "
        f"{running} of {pluralize(cluster.wanted, 'instance')} running, {amount(cluster.cost)} GLM"
    )


def cluster_html(
    cluster: ClusterFacts, outputs: Mapping[str, str] | None = None, now: datetime | None = None
) -> str:
    """Return a cluster as a snapshot.

    Parameters
    ----------
    cluster
        Its instances.
    outputs
        The end of what instances have written, by their ids.
    now
        The time of the snapshot.
    """
    names = cluster.names
    written = [
        e(
            "div",
            "margin-top:6px",
            e("b", "", f"Output of the instance on {clean(names[item.id], 80)}"),
            _pre(text),
        )
        for item in cluster.instances[:MOST_ROWS]
        if (text := (outputs or {}).get(item.id))
    ]
    rows = [
        (
            item.state,
            clean(names[item.id], 80),
            clean(item.address or "–", 60),
            "–" if item.per_hour_now is None else amount(item.per_hour_now),
            clean(item.error or item.message or "", 200),
        )
        for item in cluster.instances[:MOST_ROWS]
    ]
    return render(
        box(
            f"{clean(cluster.name, 60)} · {clean(cluster.service, 60)} · {cluster.state}",
            facts(
                [
                    (
                        "Instances",
                        f"{sum(i.state == 'running' for i in cluster.instances)} of {cluster.wanted} running",
                    ),
                    ("Cost", f"{amount(cluster.cost)} GLM"),
                    ("Expires", "–" if cluster.expires is None else clock(cluster.expires)),
                ]
            ),
            table(["State", "Provider", "Address", "GLM an hour", "Message"], rows),
            *written[-MOST_OUTPUTS:],
            _note(_as_of(now) + "."),
        )
    )


def dashboard_text(session: SessionFacts, offers: int, tasks: Mapping[str, int]) -> str:
    """Return a dashboard as one line."""
    states = ", ".join(f"{number} {state}" for state, number in tasks.items() if number) or "none"
    return f"Dashboard of session {clean(session.name, 60)}: {pluralize(offers, 'offer')}, tasks: {states}"


def dashboard_html(
    session: SessionFacts,
    offers: int,
    tasks: Mapping[str, int],
    costs: Mapping[str, float],
    now: datetime | None = None,
) -> str:
    """Return a dashboard as a snapshot: the numbers, without the figure.

    Parameters
    ----------
    session
        Whose it is.
    offers
        How many offers were seen.
    tasks
        Tasks by state.
    costs
        GLM by provider.
    now
        The time of the snapshot.
    """
    dearest = sorted(costs.items(), key=lambda item: -item[1])[:MOST_ROWS]
    return render(
        box(
            f"Dashboard of session {clean(session.name, 60)}",
            facts(
                [
                    ("Offers seen", str(offers)),
                    *((f"Tasks {state}", str(number)) for state, number in tasks.items()),
                    (
                        "Spent",
                        f"{amount(session.settled + session.accepted)} of {amount(session.budget)} GLM",
                    ),
                ]
            ),
            table(["Provider", "GLM"], [(clean(name, 60), amount(cost)) for name, cost in dearest])
            if dearest
            else None,
            _note(f"{_as_of(now)}. The figure is there while the kernel is; dashboard.figure keeps one."),
        )
    )


def market_text(name: str, offers: int) -> str:
    """Return a look at the market as one line.

    Examples
    --------
    >>> market_text("default", 1)
    'Market of session default: 1 offer'
    """
    return f"Market of session {clean(name, 60)}: {pluralize(offers, 'offer')}"


def market_html(name: str, offers: int, selection: pd.DataFrame, now: datetime | None = None) -> str:
    """Return a look at the market as a snapshot: the cheapest offers of a selection.

    Parameters
    ----------
    name
        Of the session.
    offers
        How many offers were seen.
    selection
        Those that are selected, as `golem_nb.frames.OfferTable` gives them.
    now
        The time of the snapshot.
    """
    cheapest = selection.sort_values("price_full_hour").head(MOST_ROWS)
    columns = ["provider", "threads", "memory", "storage", "price_full_hour", "runtime"]
    rows = [
        (clean(provider, 60), str(threads), f"{memory:g}", f"{storage:g}", amount(price), clean(runtime, 40))
        for provider, threads, memory, storage, price, runtime in zip(
            *(cheapest[column] for column in columns), strict=True
        )
    ]
    return render(
        box(
            f"Market of session {clean(name, 60)}",
            facts([("Offers seen", str(offers)), ("Selected", str(len(selection)))]),
            table(
                ["Provider", "Threads", "Memory, GiB", "Storage, GiB", "GLM an hour, busy", "Runtime"], rows
            ),
            _note(f"{_as_of(now)}, the cheapest {len(rows)} of the selection."),
        )
    )


def terminal_text(title: str) -> str:
    """Return a terminal as one line."""
    return f"Terminal on {clean(title, 120)}"


def terminal_html(title: str, output: str, now: datetime | None = None) -> str:
    """Return a terminal as a snapshot: the end of its output as text.

    Parameters
    ----------
    title
        Where it is.
    output
        What was written.
    now
        The time of the snapshot.
    """
    return render(box(terminal_text(title), _pre(output), _note(_as_of(now) + ".")))
