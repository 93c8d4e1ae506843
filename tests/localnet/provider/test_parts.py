"""The agent's parts that need no daemon: captures, batches, prices, offers, images, the process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golem_nb.localnet.provider.batch import Batch
from golem_nb.localnet.provider.capture import Capture
from golem_nb.localnet.provider.images import Images
from golem_nb.localnet.provider.offer import Offer
from golem_nb.localnet.provider.pricing import LinearPricing
from golem_nb.localnet.provider.sandbox.layout import ImageError
from golem_nb.localnet.spec import Image, ImageKind, ProviderSpec


@given(
    st.binary(max_size=200),
    st.integers(0, 60),
    st.integers(1, 17),
    st.sampled_from(["head", "tail", "headTail"]),
)
def test_captured_parts(data: bytes, size: int, step: int, part: str) -> None:
    capture = Capture({"atEnd": {part: size, "format": "bin"}}, print)
    for i in range(0, len(data), step):
        capture.feed(data[i : i + step])
    head = {"head": size, "tail": 0, "headTail": size - size // 2}[part]
    rest = data[head:]
    tail = min(size - head, len(rest))
    assert bytes(capture.result()) == data[:head] + (rest[-tail:] if tail else b"")
    assert not capture.cut


@given(st.text(max_size=60), st.integers(1, 5))
def test_streamed_text_is_never_cut_inside_a_character(text: str, step: int) -> None:
    got: list[str] = []
    capture = Capture({"stream": {}}, got.append)
    data = text.encode()
    for i in range(0, len(data), step):
        capture.feed(data[i : i + step])
    assert capture.result() == text
    assert "".join(got) == text


def test_binary_stream_and_no_capture() -> None:
    got: list = []
    capture = Capture({"stream": {"format": "bin", "limit": 3}}, got.append)
    capture.feed(b"\x00\xff")
    capture.feed(b"\x01\x02")
    capture.result()
    assert got == [[0, 255], [1]]
    nothing = Capture(None, got.append)
    nothing.feed(b"x")
    assert nothing.result() is None


async def test_a_batch_forgets_old_output_but_not_its_end() -> None:
    batch = Batch("b", [{"run": {}}])
    for _ in range(100):
        batch.event(0, {"stdout": "x" * 100_000}, 100_000)
    batch.event(0, {"finished": {"return_code": 0}})
    batch.close()
    kinds = [next(iter(event["kind"])) async for event in batch.stream()]
    assert 30 <= kinds.count("stdout") <= 42
    assert kinds[-1] == "finished"


async def test_waiting_for_a_result_has_a_limit() -> None:
    batch = Batch("b", [{"run": {}}, {"run": {}}])
    assert not await batch.wait(1, 0.05)
    asyncio.get_running_loop().call_later(0.05, batch.add, {"isBatchFinished": False})
    assert await batch.wait(1, 5)
    asyncio.get_running_loop().call_later(0.05, batch.close)
    assert await batch.wait(2, 5)


@given(
    st.decimals(0, 10, places=18),
    st.decimals(0, 10, places=18),
    st.decimals(0, 10, places=18),
    st.floats(0, 1e7).map(lambda x: round(x, 6)),
    st.floats(0, 1e7).map(lambda x: round(x, 6)),
)
def test_prices_are_exact(
    start: Decimal, second: Decimal, cpu: Decimal, duration: float, work: float
) -> None:
    cost = LinearPricing((second, cpu), start).cost([duration, work])
    exact = (
        int(start.scaleb(18)) * 10**6
        + int(second.scaleb(18)) * round(duration * 10**6)
        + int(cpu.scaleb(18)) * round(work * 10**6)
    )
    assert int(cost.scaleb(18)) == exact // 10**6


def _offer(**fields: object) -> Offer:
    return Offer(ProviderSpec(name="p", **fields), "0xme", "local", ("erc20-hoodi-tglm",), vpn=False)


def test_an_offer_without_vpn_does_not_offer_it() -> None:
    assert "vpn" not in _offer().properties()["golem.runtime.capabilities"]
    with_vpn = Offer(ProviderSpec(name="p"), "0xme", "local", (), vpn=True)
    assert "vpn" in with_vpn.properties()["golem.runtime.capabilities"]


def test_an_accept_timeout_beyond_ours_is_refused() -> None:
    offer = _offer(debit_note_accept_timeout=60)
    answer = offer.answer({"golem.com.payment.debit-notes.accept-timeout?": 61})
    assert answer == "DebitNote acceptance deadline should be less than 60s."
    assert isinstance(offer.answer({"golem.com.payment.debit-notes.accept-timeout?": "soon"}), str)


async def test_images_by_hash_manifest_and_none() -> None:
    images = Images([Image(sha3="ab", kind=ImageKind.PYTHON)])
    found = await images.find({"golem.srv.comp.task_package": "hash:sha3:AB:http://x/y"})
    assert found.kind is ImageKind.PYTHON
    manifest = "eyJwYXlsb2FkIjpbeyJoYXNoIjoic2hhMzphYiIsInVybHMiOlsiaHR0cDovL3giXX1dfQ=="
    assert (await images.find({"golem.srv.comp.payload": manifest})).kind is ImageKind.PYTHON
    assert (await images.find({})).kind is ImageKind.USERLAND
    for demand, text in (
        ({"golem.srv.comp.task_package": "something"}, "Invalid package"),
        ({"golem.srv.comp.payload": "!!"}, "Invalid manifest"),
        ({"golem.srv.comp.task_package": "hash:sha3:cd:http://127.0.0.1:1/x"}, "cannot be fetched"),
        ({"golem.srv.comp.task_package": "hash:sha3:cd:http://example.invalid/x"}, "fetches none from"),
    ):
        with pytest.raises(ImageError, match=text):
            await images.find(demand)


def _agent(*lines: str, wait: float = 20) -> tuple[int, list[dict]]:
    done = subprocess.run(
        [sys.executable, "-m", "golem_nb.localnet.provider"],
        input="".join(f"{line}\n" for line in lines).encode(),
        capture_output=True,
        timeout=wait,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_agent_ends_when_its_input_ends() -> None:
    assert _agent() == (0, [])


def test_a_broken_configuration_is_one_clear_event() -> None:
    code, said = _agent("{}")
    assert code == 1
    assert said[0]["event"] == "failed"
    assert "folder" in said[0]["error"]


def test_no_daemon_is_one_clear_event(tmp_path) -> None:
    configuration = {
        "folder": str(tmp_path),
        "api_url": "http://127.0.0.1:1",
        "bus": str(tmp_path / "none.sock"),
        "subnet": "x",
        "payment_platforms": [],
        "providers": [{"spec": {"name": "p"}, "node_id": "0x" + "0" * 40, "app_key": "secret-key"}],
    }
    started = time.monotonic()
    command = [sys.executable, "-m", "golem_nb.localnet.provider"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write(json.dumps(configuration).encode() + b"\n")
        agent.stdin.flush()  # and stays open: its end would be the end of the agent
        said = [json.loads(line) for line in agent.stdout]
    assert agent.returncode == 1
    assert said[-1]["event"] == "failed"
    assert "is the daemon running" in said[-1]["error"]
    assert "secret-key" not in json.dumps(said)
    assert time.monotonic() - started < 10
