"""The contract: every behaviour that scripts written for the documented API may rely on, by code.

This file is the one list. A test that proves an item carries its code, ``@pytest.mark.contract("G08")``;
``tests/test_contract.py`` fails when an item has no such test, when a test names a code that is not here, and
when ``docs/contract.md`` is not what ``python -m tests.contract_items`` writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

SECTIONS = {
    "G": "The Golem facade",
    "E": "The engine: negotiation, agreements, money",
    "T": "Tasks and the executor",
    "S": "Services",
    "N": "Networks",
    "P": "Payloads and properties",
    "C": "Work contexts, scripts, commands",
    "M": "Market strategies",
    "V": "Events",
    "L": "Logging and utilities",
    "X": "Proxies",
    "I": "Names that published scripts import",
}

PAGE = Path(__file__).parent.parent / "docs" / "contract.md"


class Item(NamedTuple):
    """One behaviour; ``departure`` says in a line where we differ from what users of the API had before."""

    code: str
    title: str
    departure: str | None = None


ITEMS: tuple[Item, ...] = (
    # --- the facade
    Item("G01", "Golem takes keyword arguments only, and its budget as a float or a Decimal"),
    Item("G02", "A strategy, an event consumer, streamed output, and a configuration or a key can be given"),
    Item(
        "G03",
        "Subnet, driver, network, key and address default to their environment variables",
        "the default network is hoodi; variables are read when the object is made, not at import",
    ),
    Item(
        "G04",
        "The default subnet is `public`; driver and network are put in lower case",
        "the API's text says that there is no default subnet",
    ),
    Item(
        "G05",
        "The default strategy prefers cheap linear offers under caps, and halves the score of providers that "
        "refused an agreement",
    ),
    Item("G06", "The default consumer logs each event and a summary"),
    Item(
        "G07",
        "app_key still works and warns; with no key anywhere the constructor raises MissingConfiguration",
    ),
    Item("G08", "add_event_consumer takes classes and names of events"),
    Item(
        "G09",
        "An unknown event name is a ValueError; consumers run in order, one event at a time, may raise "
        "without "
        "harm, are drained at the stop and live on over a restart",
    ),
    Item(
        "G10", "The documented await of add_event_consumer works", "it returns an awaitable that does nothing"
    ),
    Item("G11", "start twice is harmless, start after stop is a new engine, async with is start and stop"),
    Item(
        "G12",
        "A start that fails cleans up, emits ExecutionInterrupted and ShutdownFinished and raises; an "
        "exception "
        "in the body is reported and never swallowed",
    ),
    Item(
        "G13",
        "payment_driver, payment_network, subnet_tag, strategy and operative can be read; the strategy can "
        "only "
        "be replaced while the engine is not running",
    ),
    Item("G14", "execute_tasks is an async iterator over the completed tasks"),
    Item("G15", "Five workers and fifteen minutes by default; the timeout is also the demand's expiration"),
    Item(
        "G16",
        "A job that runs out of time yields what was finished and ends",
        "it raises JobTimeoutError; before, it just ended",
    ),
    Item("G17", "A job id used twice is a ValueError; generated ids count up"),
    Item(
        "G18", "implicit_init sends deploy and start as a first script of its own; without it the worker does"
    ),
    Item("G19", "Leaving the loop early cancels the computation and ends its agreements as cancelled"),
    Item("G20", "run_service takes the documented parameters and returns a Cluster"),
    Item(
        "G21",
        "Number of instances, parameters and addresses follow the documented precedence",
    ),
    Item(
        "G22",
        "No payload, addresses without a network and too few parameters are ValueErrors",
    ),
    Item("G23", "A service expires after three hours unless told otherwise"),
    Item("G24", "create_network makes a VPN owned by the daemon's identity"),
    Item(
        "G25",
        "NoPaymentAccountError names driver and network",
        "it is really raised, before anything is reserved, and names the accounts that there are",
    ),
    # --- the engine
    Item(
        "E01",
        "A start reserves one allocation of the whole budget on the platform of driver, network and token, "
        "and "
        "the stop releases it",
        "the allocation ends soon after the work would, and is extended while the engine lives",
    ),
    Item("E02", "A job's demand holds activity, subnet, payment, strategy and payload, in that order"),
    Item("E03", "An expired subscription is made again; other errors of the market end the job"),
    Item(
        "E04",
        "Proposals that score too low, cannot be scored or share no platform are refused with the reason",
    ),
    Item(
        "E05",
        "A first proposal is countered with the chosen platform, a draft is kept, one per provider",
        "kept offers are scored again at each choice, so a strategy that has learned is heard",
    ),
    Item("E06", "Payment platforms are read from the provider's property names"),
    Item(
        "E07", "The best offer is tried first, ties at random; an agreement not approved in time recycles it"
    ),
    Item(
        "E08", "An agreement is reused only if both sides do many activities and its last worker ended well"
    ),
    Item("E09", "Every agreement that we end carries the exact message and code of its reason"),
    Item(
        "E10",
        "An agreement for a single activity ends with that activity",
        "it is terminated; before, it was only forgotten",
    ),
    Item(
        "E11",
        "An agreement ended by the provider is not used any more",
        "agreement events are watched and acted on at once",
    ),
    Item("E12", "An invoice is accepted once, when its work is over and the strategy accepts its amount"),
    Item("E13", "Debit notes are fetched and accepted while the strategy accepts what is due"),
    Item(
        "E14",
        "A provider that sends debit notes faster than agreed, beyond the grace time, loses the agreement",
    ),
    Item("E15", "An activity that cannot be created is reported and its agreement is not reused"),
    Item("E16", "Accepting and reading payments is repeated five times, on errors that pass"),
    Item(
        "E17", "A batch that the provider ended raises BatchError with the reason; a busy bus is asked again"
    ),
    Item("E18", "The stop ends jobs, waits for owed invoices with a limit, then releases the allocation"),
    Item("E19", "Work goes on over a short loss of the connection to the daemon"),
    # --- tasks
    Item("T01", "Task has its data, running_time, accept_result and reject_result"),
    Item("T02", "Task has a counted id, a result and a readable form"),
    Item("T03", "Only a running task can be accepted or rejected; a rejected one can be tried again"),
    Item(
        "T04",
        "A failed worker gives its tasks back, and none goes to the same activity twice",
        "after five tries it is given up, and the job raises with every cause; before, it was retried for "
        "ever, each time paid",
    ),
    Item("T05", "A worker yields scripts and gets an awaitable of their results"),
    Item(
        "T06",
        "Workers start up to max_workers while tasks are unassigned",
        "at once, not on a two-second tick",
    ),
    Item("T07", "NoProposalsConfirmed every twenty seconds in which nothing was confirmed"),
    Item("T08", "A worker that leaves its tasks early is finished and its agreement is not reused"),
    Item("T09", "A worker's exception ends in WorkerFinished and a warning, not in the caller"),
    Item("T10", "A failed batch is thrown into the worker at its yield, and the worker may go on"),
    Item("T11", "Tasks come from any iterable or async iterable, read only as they are needed"),
    # --- services
    Item("S01", "Service has the documented properties, handlers, messages and health check"),
    Item("S02", "Service has provider_id, cluster, exc_info, deploy arguments and serialize"),
    Item("S03", "The default handlers deploy and start, wait, and terminate"),
    Item("S04", "Signals carry a message and what they answer, in two queues"),
    Item(
        "S05",
        "A handler that is not an async generator is a TypeError in that instance",
        "or of run_service, where the class shows it; it is not tried on another provider",
    ),
    Item(
        "S06",
        "The life cycle has the documented transitions",
        "an exception in run() ends the instance as terminated, with the exception on it",
    ),
    Item("S07", "suspended and unresponsive exist beside the documented states"),
    Item("S08", "An instance takes an agreement, runs, and restarts on its restart condition"),
    Item(
        "S09",
        "Each instance has an agreement of its own",
        "which ends with the true reason; before, always as cancelled",
    ),
    Item(
        "S10",
        "Health is checked at intervals, and an instance that fails it three times ends",
    ),
    Item("S11", "A failed batch is thrown into the handler at its yield"),
    Item(
        "S12",
        "stop signals, terminate also ends the runner, suspend keeps the activity alive",
    ),
    Item("S13", "Cluster has the documented properties and methods"),
    Item("S14", "Fewer than one instance is logged as a warning; instances is a copy"),
    Item("S15", "A service whose payload is not the cluster's is a ValueError"),
    Item("S16", "With a network each instance is a node from before its start to its end"),
    Item(
        "S17",
        "ServiceState takes model, state_field and start_value; states compare and name themselves",
        "the old library's identifier and printed form are gone; suspended is final",
    ),
    # --- networks
    Item("N01", "Network and Node have the documented constructors, properties and methods"),
    Item(
        "N02",
        "Addresses are dealt in order; a bad, foreign, taken or missing one is a NetworkError",
    ),
    Item(
        "N03",
        "A network is removed at the end of async with, and refuses use in a wrong state",
    ),
    Item(
        "N04",
        "A node's deploy arguments describe its network",
        "the gateway is among them",
    ),
    Item("N05", "A node tells the websocket address of each of its ports"),
    # --- payloads
    Item("P01", "Payload classes with prop and constraint build the documented demand, to the letter"),
    Item("P02", "Constraints are joined as documented: lists, one, none and the negation"),
    Item("P03", "Times, enumerations and missing values become what the daemon expects"),
    Item("P04", "Package is abstract and resolves to an address"),
    Item("P05", "vm.manifest takes the documented parameters, signed or unsigned"),
    Item("P06", "vm.repo takes the documented keyword arguments"),
    Item("P07", "Images are found by tag, hash or address; a wrong combination is a PackageException"),
    Item("P08", "Capabilities and minimal sizes become constraints in the known order"),
    Item("P09", "A manifest can be built for an image and the addresses that it may reach"),
    # --- scripts
    Item("C01", "WorkContext has the documented properties and methods, and emits custom events"),
    Item("C02", "Usage is by counter, and the cost is the agreed price of that usage"),
    Item("C03", "Script has every documented command, each an awaitable of its CommandExecuted"),
    Item("C04", "run takes env", "it works: the command is started through /usr/bin/env"),
    Item(
        "C05",
        "Output is streamed by default; other captures are possible",
        "a stream with a limit sends the limit",
    ),
    Item(
        "C06",
        "A script past its deadline raises BatchTimeoutError, a failed command CommandExecutionError",
        "awaiting a failed or never started command raises too; before, it hung",
    ),
    Item("C07", "Uploads are published before a script is sent, downloads delivered after it ended"),
    Item("C08", "A script that does not wait for results lets the next be sent first"),
    Item("C09", "results exist after a script ended; streamed output comes as events of its own"),
    Item(
        "C10",
        "Files, bytes and JSON go both ways",
        "over the daemon's own service bus: no gftp program, no variables for it",
    ),
    Item("C11", "download_file writes a new file and replaces an old one"),
    # --- strategies
    Item("M01", "MarketStrategy has the documented methods and accepts what is billed by default"),
    Item("M02", "Scores, ranges and grace time have their known values"),
    Item("M03", "Mid-agreement payments are agreed when the provider offers them and the job is long enough"),
    Item("M04", "A wrapping strategy forwards all that it does not define"),
    Item("M05", "LeastExpensiveLinearPayuMS scores by cost and refuses what is over its caps or not linear"),
    Item("M06", "DummyMS warns that it is old and scores neutral or refuses"),
    Item("M07", "DecreaseScoreForUnconfirmedAgreement lowers positive scores of providers that refused us"),
    Item("M08", "PropValueRange contains and clamps; an empty range cannot clamp"),
    Item("M09", "ProviderFilter asks a function about each provider", "it awaits whatever can be awaited"),
    # --- events
    Item("V01", "Every event class has the documented place in the tree and constructor"),
    Item(
        "V02",
        "Events have a timestamp",
        "it is when the event happened, in UTC; before, all had the time of the import",
    ),
    Item("V03", "Events print their fields, and their exception if any"),
    Item("V04", "Events have short properties for ids, provider, task, amount and result"),
    Item("V05", "The events of a task job come in the known order"),
    Item("V06", "The events of a service come in the known order"),
    Item("V07", "Own event classes can be emitted and consumed"),
    # --- logging and utilities
    Item("L01", "enable_default_logger takes the documented parameters: INFO to stderr, DEBUG to a file"),
    Item("L02", "The log's format, file and notices are the known ones", "a second call doubles no lines"),
    Item("L03", "SummaryLogger, log_summary, log_event and log_event_repr can be chained as consumers"),
    Item("L04", "The summary's sentences are the known ones"),
    Item("L05", "windows_event_loop_fix, get_version and __version__ exist"),
    Item("L06", "BatchTimeoutError, BatchError and CommandExecutionError are in rest.activity"),
    # --- proxies
    Item(
        "X01",
        "LocalHttpProxy spreads requests over the running instances",
        "on 127.0.0.1 unless told otherwise; bodies are streamed, chunked bodies and websockets pass",
    ),
    Item("X02", "HttpProxyService answers a request through the VPN"),
    Item("X03", "SocketProxy gives each port of each instance a local port"),
    # --- names
    Item("I01", "The names of the top module, ctx and config"),
    Item("I02", "The names of log"),
    Item("I03", "The names of props and its modules; prices are read from offers"),
    Item("I04", "The names of payload and its modules"),
    Item("I05", "The names of strategy"),
    Item("I06", "The names of rest and its modules; a script that only scans the market works"),
    Item("I07", "The names of script, executor, engine and contrib"),
)


def page() -> str:
    """Return the text of docs/contract.md."""
    lines = [
        "# The contract",
        "",
        "What scripts written for the documented API may rely on. Each item has tests that carry its code:",
        "`grep -rn '\"G08\"' tests/` finds them. Where we differ from what its users had before, the item "
        "says so,",
        "and [departures](departures.md) says why and what to do.",
        "",
        "Generated by `python -m tests.contract_items` from `tests/contract_items.py`: change that file, "
        "not this.",
    ]
    for letter, title in SECTIONS.items():
        lines += ["", f"## {title}", "", "| code | what holds |", "|---|---|"]
        for item in ITEMS:
            if item.code.startswith(letter):
                departure = f" **Departure:** {item.departure}." if item.departure else ""
                lines.append(f"| {item.code} | {item.title}.{departure} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
