"""Writes tests/data/reference_examples/: the code blocks of the API reference, with our package's name.

``python tests/examples/extract.py REFERENCE PACKAGE`` copies each block as it stands; only the package's
name is replaced, and that not in the address of a repository. What a block needs to run, and each change made
to it, is in tests/examples/test_examples.py. Run it again only when the reference changes.
"""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

DATA = Path(__file__).parent.parent / "data" / "reference_examples"
OURS = "golem_nb"

#: name, beginning of the first line and of the last line of each block, in the order of the reference;
#: lines as the last one that stand in the block before it are counted by a fourth value
BLOCKS: list[tuple[str, str, str] | tuple[str, str, str, int]] = [
    (
        "consumer_of_all_events",
        'def event_consumer(event: "PACKAGE.events.Event")',
        "golem.add_event_consumer(",
    ),
    ("consumer_of_one_class", "def event_consumer(event: ", "golem.add_event_consumer("),
    ("golem_as_context", "async with Golem(...) as golem:", "    # ... work with golem"),
    ("golem_start_stop", "golem = Golem(...)", "    await golem.stop()"),
    ("execute_tasks", "async def worker(context: WorkContext", "        print(completed.result.stdout)"),
    ("run_service", "DATE_OUTPUT_PATH = ", "            await asyncio.sleep(REFRESH_INTERVAL_SEC)", 2),
    ("service_start", "async def start(self):", "    yield s"),
    ("service_run", "async def run(self):", '        print(f"stats: '),
    ("service_shutdown", "async def shutdown(self):", "    yield script"),
    ("payload", "import asyncio", "asyncio.run(main())"),
    ("payload_output", "{'properties': ", "{'properties': "),
    ("vm_manifest", "package = await vm.manifest(", ")"),
    ("vm_manifest_signed", "package = await vm.manifest(", ")"),
    ("vm_repo_hash", "package = await vm.repo(", ")"),
    ("vm_repo_url", "package = await vm.repo(", ")"),
    ("vm_repo_constraints", "package = await vm.repo(", ")"),
    ("custom_event_class", "from PACKAGE.events import ActivityEvent", "    activity_score: float"),
    ("custom_event_emitted", "async def worker(ctx: WorkContext, tasks):", "    ctx.emit("),
    ("custom_event_consumed", "def event_consumer(event):", "golem.add_event_consumer("),
    ("summary_logger", "detailed_logger = ", "golem = Golem(..."),
    ("http_proxy", "class HttpService(HttpProxyService):", "cluster.stop()"),
    ("socket_proxy", "class SomeService(SocketProxyService):", "cluster.stop()"),
    ("socket_proxy_from_handler", "class SomeOtherService(SocketProxyService):", "cluster.stop()"),
    ("provider_filter_block", "bad_providers = [", "strategy = ProviderFilter("),
    ("provider_filter_database", "#   create an async database connection", "strategy = ProviderFilter("),
    ("provider_filter_events", "from PACKAGE import events", "#   scored, this should improve"),
]


def main(reference: str, package: str) -> None:
    lines = Path(reference).read_text("utf-8").splitlines()
    DATA.mkdir(parents=True, exist_ok=True)
    position = 0
    for number, (name, first, last, *count) in enumerate(BLOCKS, 1):
        first = first.replace("PACKAGE", package)
        start = next(i for i in range(position, len(lines)) if lines[i].startswith(first))
        ends = (i for i in range(start, len(lines)) if lines[i].startswith(last))
        end = next(itertools.islice(ends, (count or [1])[0] - 1, None))
        text = "\n".join(lines[start : end + 1]) + "\n"
        text = re.sub(rf"(?<!golemfactory/)\b{package}\b", OURS, text)
        (DATA / f"{number:02}_{name}.py.txt").write_text(text, encoding="utf-8")
        position = end + 1


if __name__ == "__main__":
    main(*sys.argv[1:])
