"""The provider agent and its exe-units, between real daemons."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import time
from collections.abc import AsyncGenerator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from golem_nb import Golem, Task, WorkContext, vm
from golem_nb.localnet import LocalNetwork, ProviderSpec
from golem_nb.localnet.provider.pricing import LinearPricing
from golem_nb.rest.activity import Activity, BatchError
from golem_nb.rest.errors import ApiError, RequestTimeoutError
from golem_nb.rest.gsb import GsbRequest, GsbService

pytestmark = pytest.mark.localnet

ACCEPT = "golem.com.payment.debit-notes.accept-timeout?"
INTERVAL = "golem.com.scheme.payu.debit-note.interval-sec?"
PAYMENT = "golem.com.scheme.payu.payment-timeout-sec?"


async def _events(activity: Activity, batch: str, count: int) -> list:
    found = []
    async for event in activity.events(batch):
        found.append(event)
        if event.kind == "finished" and event.index == count - 1:
            break
        if event.kind == "finished" and event.return_code:
            break
    return found


async def test_offer_and_negotiable_properties(requestor) -> None:
    draft = await requestor.negotiate(**{ACCEPT: 60, INTERVAL: 30})
    assert draft is not None
    first = requestor.offers[0].props
    assert first["golem.com.pricing.model.linear.coeffs"] == [0.0003, 0.0007, 0.001]
    assert first["golem.com.usage.vector"] == ["golem.usage.duration_sec", "golem.usage.cpu_sec"]
    assert first["golem.inf.mem.gib"] == 0.5
    assert first[PAYMENT] == 120
    # what the demand names is taken over, what it does not name is no part of the answer
    assert draft.props[ACCEPT] == 60
    assert draft.props[INTERVAL] == 30
    assert PAYMENT not in draft.props


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({ACCEPT: 4}, "not in acceptable range of [5; 240]"),
        ({INTERVAL: 1}, "not in acceptable range of [2; 86400]"),
        ({PAYMENT: 100000}, "not in acceptable range"),
        ({"seconds": 30}, "less than 1 min from now"),
    ],
)
async def test_demands_beyond_the_limits_are_refused_with_a_reason(requestor, wanted, reason) -> None:
    assert await requestor.negotiate(**wanted) is None
    assert reason in str(requestor.rejections[0].reason)


async def test_states_and_their_messages(requestor, sh) -> None:
    agreement = await requestor.agreement()
    activity = await requestor.activities.new_activity(agreement.id)
    result = (await requestor.run(activity, sh("true")))[0]
    assert result.message == "Activity is initialized - deploy() command is expected now"
    await requestor.run(activity, {"deploy": {}})
    assert (await activity.state()).current == "Deployed"
    result = (await requestor.run(activity, sh("true")))[0]
    assert result.message == "Activity is deployed - start() command is expected now"
    result = (await requestor.run(activity, {"deploy": {}}))[0]
    assert result.message == "This command is not allowed when activity is in the Deployed state"
    await requestor.run(activity, {"start": {"args": []}})
    assert (await activity.state()).current == "Ready"
    first = await requestor.run(activity, sh("echo 1 > /golem/work/x; sleep 100 & echo $!"))
    assert first[0].success
    await requestor.run(activity, {"terminate": {}})
    assert (await activity.state()).current == "Initialized"
    results = await requestor.run(
        activity, {"deploy": {}}, {"start": {}}, sh("ls /golem/work; ls /proc | grep -c '^[0-9]'")
    )
    assert results[-1].stdout == "4\n"  # a fresh sandbox: no file, no process of before
    await activity.destroy()
    assert (await activity.state()).current == "Terminated"
    await requestor.end(agreement)


async def test_results_with_and_without_an_index(requestor, sh) -> None:
    agreement, activity = await requestor.ready()
    batch = await activity.send([sh("echo one"), sh("echo two"), sh("exit 3"), sh("echo four")])
    await asyncio.sleep(0.3)
    everything = await activity.results(batch, timeout=1)
    assert [r.stdout for r in everything] == ["one\n", "two\n", ""]
    assert [r.success for r in everything] == [True, True, False]
    assert everything[2].message == "ExeScript command exited with code 3"
    assert [r.is_batch_finished for r in everything] == [False, False, True]
    second = await activity.results(batch, command_index=1, timeout=1)
    assert [r.stdout for r in second] == [None, "two\n"]
    assert second[-1].is_batch_finished
    unknown = (await requestor.run(activity, {"run": {"entry_point": "/bin/nothing", "args": []}}))[0]
    assert unknown.message == "Runtime error: No such file or directory: /bin/nothing"
    await requestor.end(agreement)


async def test_a_poll_ends_when_the_result_is_there(requestor, sh) -> None:
    agreement, activity = await requestor.ready()
    batch = await activity.send([sh("sleep 0.5; echo done")])
    started = time.monotonic()
    result = (await activity.results(batch, command_index=0, timeout=20))[0]
    assert result.stdout == "done\n"
    assert 0.3 < time.monotonic() - started < 2
    assert await activity.results(await activity.send([sh("sleep 5")]), command_index=0, timeout=0.3) == []
    await requestor.end(agreement)


async def test_captures(requestor, sh) -> None:
    agreement, activity = await requestor.ready()

    async def stdout(script: str, **mode: object) -> str | bytes | None:
        return (await requestor.run(activity, sh(script, atEnd=mode)))[0].stdout

    digits = "printf 0123456789"
    assert await stdout(digits, head=3) == "012"
    assert await stdout(digits, tail=3) == "789"
    assert await stdout(digits, headTail=4) == "0189"
    assert await stdout(digits, format="str") == "0123456789"
    assert await stdout(r"printf '\377\000'", format="bin") == b"\xff\x00"
    assert await stdout(r"printf 'a\377b'") == "a�b"
    command = {"run": {"entry_point": "/bin/echo", "args": ["unseen"]}}
    assert (await requestor.run(activity, command))[0].stdout is None
    large = (await requestor.run(activity, sh("head -c 9000000 /dev/zero | tr '\\0' x")))[0]
    assert large.success
    assert large.stdout == "x" * (4 << 20)
    assert "longer than the 4194304 bytes" in (large.message or "")
    await requestor.end(agreement)


async def test_streamed_output_comes_at_once_and_late_subscribers_get_it_all(requestor, sh) -> None:
    agreement, activity = await requestor.ready()
    batch = await activity.send([sh("echo a; sleep 0.4; echo b >&2", stream={}), sh("exit 5", stream={})])
    moments = {}
    kinds = []
    async for event in activity.events(batch):
        kinds.append((event.index, event.kind))
        moments[event.kind] = time.monotonic()
        if event.kind == "finished" and event.return_code:
            assert event.return_code == 5
            assert event.message == "ExeScript command exited with code 5"
            break
    assert kinds == [
        (0, "started"), (0, "stdout"), (0, "stderr"), (0, "finished"), (1, "started"), (1, "finished"),
    ]  # fmt: skip
    assert moments["stderr"] - moments["stdout"] > 0.25
    assert [(e.index, e.kind) for e in await _events(activity, batch, 2)] == kinds
    limited = await _events(activity, await activity.send([sh("printf 12345", stream={"limit": 3})]), 1)
    assert [e.output for e in limited if e.kind == "stdout"] == ["123"]
    await requestor.end(agreement)


async def test_environment_volumes_and_hosts_of_deploy(requestor, sh) -> None:
    agreement = await requestor.agreement()
    activity = await requestor.activities.new_activity(agreement.id)
    deploy = {
        "env": {"COLOUR": "blue"},
        "volumes": ["/data/in"],
        "hosts": {"db": "10.0.0.7"},
        "hostname": "me",
    }
    script = "echo $COLOUR; touch /data/in/x && echo ok; grep db /etc/hosts; hostname"
    results = await requestor.run(activity, {"deploy": deploy}, {"start": {}}, sh(script))
    assert results[-1].stdout == "blue\nok\n10.0.0.7 db\nme\n", results
    await activity.destroy()
    second = await requestor.activities.new_activity(agreement.id)
    refused = (await requestor.run(second, {"deploy": {"volumes": ["/usr"]}}))[0]
    assert refused.message == "Local service error: /usr cannot be a volume"
    await requestor.end(agreement)


async def test_a_registered_folder_with_a_program_in_its_golem(
    requestor, solo_network: LocalNetwork, rootfs: Path
) -> None:
    sha3 = await solo_network.add_image("me/service:latest", rootfs)
    package = f"hash:sha3:{sha3}:{solo_network.registry_url}/image"
    agreement = await requestor.agreement(**{"golem.srv.comp.task_package": package})
    activity = await requestor.activities.new_activity(agreement.id)
    run = {"entry_point": "/golem/run/service_ctl", "args": ["--start"], "capture": {"stdout": {"atEnd": {}}}}
    deploy = {"volumes": ["/golem/state"]}
    results = await requestor.run(activity, {"deploy": deploy}, {"start": {}}, {"run": run})
    assert results[-1].stdout == "service --start\n", results
    mounted = [volume["path"] for volume in json.loads(results[0].stdout)["vols"]]
    assert mounted == ["/golem/input", "/golem/output", "/golem/work", "/golem/resource", "/golem/state"]
    assert (await requestor.upload(activity, b"data", "/golem/state/file")).success
    refused = await requestor.upload(activity, b"data", "/golem/run/file")
    assert "Read-only file system" in (refused.message or "")
    await requestor.end(agreement)


async def test_a_package_that_does_not_exist_fails_to_deploy(requestor) -> None:
    package = "hash:sha3:" + "ab" * 28 + ":http://example.invalid/image"
    agreement = await requestor.agreement(**{"golem.srv.comp.task_package": package})
    activity = await requestor.activities.new_activity(agreement.id)
    result = (await requestor.run(activity, {"deploy": {}}))[0]
    assert not result.success
    assert "knows no image " + "ab" * 28 in (result.message or "")
    assert "register it" in (result.message or "")
    await requestor.end(agreement)


async def test_transfers_are_complete_in_both_directions(requestor, sh, tmp_path: Path) -> None:
    agreement, activity = await requestor.ready()
    for size in (0, 1, 60 * 1024, 3_000_001):
        data = os.urandom(size)
        result = await requestor.upload(activity, data, "/golem/input/sub/file")
        assert result.success, result
        listed = (await requestor.run(activity, sh("stat -c '%s %U' /golem/input/sub/file")))[0]
        assert listed.stdout == f"{size} root\n"
        target = tmp_path / f"back-{size}"
        destination = await requestor.storage.new_destination(target)
        command = {"transfer": {"from": "container:/golem/input/sub/file", "to": destination.upload_url}}
        result = (await requestor.run(activity, command))[0]
        assert result.success, result
        await destination.wait(5)
        await destination.release()
        assert target.read_bytes() == data
    await requestor.end(agreement)


@pytest.mark.parametrize("inward", [True, False], ids=["to the provider", "from it"])
async def test_many_chunks_are_in_flight(requestor, sh, inward: bool) -> None:
    # a requestor that answers only when eight chunks are waiting: with fewer in flight nothing would move
    agreement, activity = await requestor.ready()
    await requestor.run(activity, sh("head -c 8000000 /dev/zero > /golem/output/x"))
    name = f"held-{inward}"
    components = ["GetMetadata", "GetChunk"] if inward else ["UploadChunk", "UploadFinished"]
    remote, path = f"gftp://{requestor.node_id}/{name}", "container:/golem/output/x"
    pair = {"from": remote, "to": path} if inward else {"from": path, "to": remote}
    most = 0

    async def serve(service: GsbService) -> None:
        nonlocal most
        waiting: list[GsbRequest] = []
        async for request in service.requests():
            if request.component == "GetMetadata":
                await service.reply(request, {"fileSize": 8 * (63 << 10)})
            elif request.component == "UploadFinished":
                await service.reply(request, None)
            else:
                waiting.append(request)
                most = max(most, len(waiting))
                if most < 8:
                    continue
                for held in waiting:
                    asked = held.payload
                    await service.reply(
                        held,
                        {"offset": asked["offset"], "content": bytes(asked["size"])} if inward else None,
                    )
                waiting.clear()

    async with requestor.gsb.bind(f"/public/gftp/{name}", components) as service:
        serving = asyncio.create_task(serve(service))
        (result,) = await requestor.run(activity, {"transfer": pair}, wait=15) or [None]
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    assert most >= 8
    assert result is not None
    assert result.success, result
    await requestor.end(agreement)


async def test_progress_of_a_transfer(requestor) -> None:
    agreement, activity = await requestor.ready()
    source = await requestor.storage.upload_bytes(os.urandom(1 << 20))
    progress = {"updateInterval": None, "updateStep": 300_000}
    command = {
        "transfer": {"from": source.download_url, "to": "container:/golem/input/x", "progress": progress}
    }
    events = await _events(activity, await activity.send([command]), 1)
    reports = [e.progress for e in events if e.kind == "progress"]
    assert len(reports) >= 3
    assert reports[-1]["progress"] == [1 << 20, 1 << 20]
    assert reports[-1]["unit"] == "Bytes"
    assert reports[-1]["step"] == [0, 1]
    await source.release()
    await requestor.end(agreement)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("container:/golem/none", None, "No such file or directory: /golem/none"),
        ("container:/dev/zero", None, "Not a regular file: /dev/zero"),
        ("container:relative", None, "not an absolute path"),
        ("gftp://0x0/x", "container:/golem/input/x", "not an address of gftp"),
        ("ftp://127.0.0.1/x", "container:/golem/input/x", "unsupported protocol: ftp"),
        ("http://192.0.2.1/x", "container:/golem/input/x", "is not on this machine"),
        ("http://127.0.0.1:1/x", "container:/golem/input/x", "Transfer error"),
        ("container:/golem/a", "container:/golem/b", "unsupported pair"),
    ],
)
async def test_transfers_that_cannot_work_say_why(requestor, source, target, message) -> None:
    agreement, activity = await requestor.ready()
    destination = None
    if target is None:
        destination = await requestor.storage.new_destination()
        target = destination.upload_url
    result = (await requestor.run(activity, {"transfer": {"from": source, "to": target}}))[0]
    assert not result.success
    assert message in (result.message or "")
    if destination is not None:
        await destination.release()
    await requestor.end(agreement)


async def test_download_from_a_web_server_of_this_machine(requestor, sh) -> None:
    async def content(_: web.Request) -> web.Response:
        return web.Response(body=b"from the web")

    async def away(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://192.0.2.1/secret")

    app = web.Application()
    app.add_routes([web.get("/file", content), web.get("/away", away)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    agreement, activity = await requestor.ready()

    def transfer(path: str) -> dict:
        return {"transfer": {"from": base + path, "to": "container:/golem/input/web"}}

    try:
        results = await requestor.run(activity, transfer("/file"), sh("cat /golem/input/web"))
        assert results[-1].stdout == "from the web"
        assert "HTTP 404" in ((await requestor.run(activity, transfer("/none")))[0].message or "")
        assert "not on this machine" in ((await requestor.run(activity, transfer("/away")))[0].message or "")
    finally:
        await runner.cleanup()
    await requestor.end(agreement)


async def test_too_much_memory_ends_the_activity_with_a_reason(requestor, sh) -> None:
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no python3 in /usr/bin")
    agreement, activity = await requestor.ready()
    hungry = "exec /usr/bin/python3 -c 'import time; x = bytearray(300 << 20); time.sleep(60)'"
    await activity.send([sh(f"({hungry}) & {hungry}")])
    state = await requestor.gone(activity, wait=15)
    assert "GiB of memory, 0.50 GiB are offered" in (state.error_message or "")
    await requestor.end(agreement)


async def test_an_activity_lives_as_long_as_its_provider_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def worker(context: WorkContext, tasks: Any) -> AsyncGenerator[Any, Any]:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/sleep", "1000")
            try:
                yield script
            except BatchError as error:
                task.accept_result(str(error))
                return

    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path))
    async with LocalNetwork([ProviderSpec(name="brief", max_activity_seconds=1.5)]) as network:
        payload = vm.repo(image_tag="golem/alpine:latest", repository_url=network.registry_url)
        async with Golem(budget=1, api_config=network.api_config) as golem:
            said = [
                task.result
                async for task in golem.execute_tasks(worker, [Task("x")], payload, max_workers=1, timeout=40)
            ]
    assert len(said) == 1
    assert "it has lived for the allowed 1.5 s" in said[0]


async def test_several_activities_of_one_agreement_and_an_exact_invoice(requestor, sh) -> None:
    agreement = await requestor.agreement()
    activities = await asyncio.gather(*(requestor.activities.new_activity(agreement.id) for _ in range(3)))
    for activity in activities:
        await requestor.run(
            activity, {"deploy": {}}, {"start": {}}, sh("i=0; while [ $i -lt 99999 ]; do i=$((i+1)); done")
        )
    with pytest.raises(RequestTimeoutError):  # there is room for three
        await requestor.activities.new_activity(agreement.id, timeout=2)
    usages = [await activity.usage() for activity in activities]
    assert all(usage.current_usage[1] > 0.02 for usage in usages)
    await asyncio.gather(*(activity.destroy() for activity in activities))
    invoice = await requestor.end(agreement)
    assert invoice is not None
    notes = await requestor.debit_notes(agreement)
    last = {note.activity_id: note for note in sorted(notes, key=lambda note: note.total_amount_due)}
    pricing = LinearPricing((Decimal("0.0003"), Decimal("0.0007")), Decimal("0.001"))
    assert set(last) == {activity.id for activity in activities}
    for note in last.values():
        assert note.total_amount_due == pricing.cost(note.usage_counter_vector)
    assert invoice.amount == sum(note.total_amount_due for note in last.values())
    assert set(invoice.activity_ids) == set(last)


async def test_debit_notes_at_the_agreed_interval_and_payable_in_mid_agreement(requestor) -> None:
    agreement, activity = await requestor.ready(**{INTERVAL: 2, PAYMENT: 5, ACCEPT: 30})
    deadline = time.monotonic() + 14
    notes = []
    while time.monotonic() < deadline:
        notes = await requestor.debit_notes(agreement)
        for note in notes:
            if note.status == "RECEIVED":
                await note.accept(note.total_amount_due, requestor.allocation)
        if any(note.payment_due_date for note in notes) and len(notes) >= 4:
            break
        await asyncio.sleep(0.3)
    due = [note for note in notes if note.payment_due_date]
    assert due
    assert due[0].payment_due_date - due[0].timestamp < dt.timedelta(seconds=7)
    assert len(notes) >= 4
    assert (await activity.state()).current == "Ready"
    await requestor.end(agreement)


async def test_debit_notes_that_are_not_accepted_end_the_agreement(requestor) -> None:
    agreement, activity = await requestor.ready(**{INTERVAL: 2, ACCEPT: 5})
    event = await requestor.terminated(agreement)
    assert event.terminator == "Provider"
    assert event.reason["golem.provider.code"] == "DebitNotesDeadline"
    await requestor.gone(activity)
    assert await requestor.invoice(agreement) is not None


async def test_ending_an_agreement_and_accepting_its_invoice_several_times_at_once(requestor) -> None:
    """The daemon fails all of such requests but one, and so where the provider ends it at that moment."""
    agreement, _activity = await requestor.ready()
    await asyncio.gather(*(agreement.terminate({"message": "done"}) for _ in range(4)))
    assert (await agreement.refresh()).state == "Terminated"
    invoice = await requestor.invoice(agreement)
    assert invoice is not None
    # as two programs would that recover the same session, or one whose first request was slow
    await asyncio.gather(*(invoice.accept(invoice.amount, requestor.allocation) for _ in range(4)))
    assert (await requestor.payment.invoice(invoice.invoice_id)).status == "ACCEPTED"


async def test_an_agreement_that_expires_is_ended(requestor) -> None:
    agreement, activity = await requestor.ready(seconds=63)
    # the clock cannot be turned: the demand's expiration is the shortest that is accepted
    end = time.monotonic() + 70
    while time.monotonic() < end:
        await agreement.refresh()
        if agreement.details.state == "Terminated":
            break
        await asyncio.sleep(1)
    reason = (await agreement.termination_reason()).reason
    assert reason["golem.provider.code"] == "Expired"
    assert reason["message"].startswith("Agreement expired @ ")
    await requestor.gone(activity)


async def test_a_batch_of_an_unknown_activity_or_command(requestor) -> None:
    agreement, activity = await requestor.ready()
    with pytest.raises(ApiError):
        await activity.results("0" * 32, timeout=1)
    assert await activity.results(await activity.send([]), timeout=1) == []
    result = (await requestor.run(activity, {"run": {"entry_point": "/bin/true", "args": []}}))[0]
    assert result.success
    await requestor.end(agreement)
