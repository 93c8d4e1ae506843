from __future__ import annotations

import asyncio
import base64
import inspect
import json
import socket
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from golem_nb.payload import Package, PackageException, vm
from golem_nb.props.builder import DemandBuilder

SHA3 = "d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376"
OTHER = "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae"
TAG = "golem/alpine:latest"
MANIFEST = base64.b64encode(json.dumps({"version": "0.1.0", "payload": []}).encode()).decode()


@pytest.mark.contract("P05", "P06")
def test_signatures() -> None:
    def written(function: Any) -> str:
        parameters = inspect.signature(function).parameters.values()
        return ", ".join(
            ["*"] * (parameters and next(iter(parameters)).kind is inspect.Parameter.KEYWORD_ONLY)
            + [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
        )

    assert written(vm.repo) == (
        "*, image_hash=None, image_tag=None, image_url=None, image_use_https=False,"
        " repository_url='https://registry.golem.network', dev_mode=False, min_mem_gib=0.5,"
        " min_storage_gib=2.0, min_cpu_threads=1, capabilities=None"
    )
    assert written(vm.manifest) == (
        "manifest, manifest_sig=None, manifest_sig_algorithm=None, manifest_cert=None, min_mem_gib=0.5,"
        " min_storage_gib=2.0, min_cpu_threads=1, capabilities=None"
    )


@pytest.mark.contract("P08", "I04")
def test_constants() -> None:
    assert (vm.VM_CAPS_VPN, vm.VM_CAPS_MANIFEST_SUPPORT) == ("vpn", "manifest-support")
    assert vm.DEFAULT_REPOSITORY_URL == "https://registry.golem.network"


@pytest.mark.contract("P06", "P07", "P08")
async def test_image_by_tag(registry: Any) -> None:
    package = await vm.repo(image_tag=TAG, repository_url=registry.url)
    assert isinstance(package, Package)
    assert registry.asked == [("GET", "/v1/image/info", {"tag": TAG, "count": "true"})]
    url = f"hash:sha3:{SHA3}:http://images.example.org/alpine.gvmi"
    assert await package.resolve_url() == url
    builder = DemandBuilder()
    await builder.decorate(package)
    assert builder.properties == {
        "golem.srv.comp.task_package": url,
        "golem.srv.comp.vm.package_format": "gvmkit-squash",
    }
    assert builder.constraints == (
        "(&(golem.inf.mem.gib>=0.5)\n\t(golem.inf.storage.gib>=2.0)\n\t(golem.inf.cpu.threads>=1)"
        "\n\t(golem.runtime.name=vm))"
    )
    assert package == await vm.repo(image_tag=TAG, repository_url=registry.url)


@pytest.mark.contract("P07", "P08")
async def test_image_by_hash_with_everything(registry: Any) -> None:
    package = await vm.repo(
        image_hash=SHA3,
        image_use_https=True,
        dev_mode=True,
        repository_url=f"{registry.url}/",
        min_mem_gib=4,
        min_storage_gib=10,
        min_cpu_threads=8,
        capabilities=["vpn", "inet"],
    )
    assert registry.asked == [("GET", "/v1/image/info", {"hash": SHA3, "dev": "true"})]
    builder = DemandBuilder()
    await builder.decorate(package)
    assert builder.properties["golem.srv.comp.task_package"].endswith(
        ":https://images.example.org/alpine.gvmi"
    )
    assert builder.constraints == (
        "(&(golem.inf.mem.gib>=4)\n\t(golem.inf.storage.gib>=10)\n\t(golem.inf.cpu.threads>=8)"
        "\n\t(&(golem.runtime.capabilities=vpn)\n\t(golem.runtime.capabilities=inet))\n\t(golem.runtime.name=vm))"
    )


@pytest.mark.contract("P07")
async def test_image_by_url_is_looked_at_but_not_fetched(registry: Any) -> None:
    package = await vm.repo(image_hash=OTHER, image_url=f"{registry.url}/my.gvmi")
    assert registry.asked == [("HEAD", "/my.gvmi", {})]
    assert await package.resolve_url() == f"hash:sha3:{OTHER}:{registry.url}/my.gvmi"
    registry.answer = lambda request: web.Response(status=404)
    with pytest.raises(PackageException, match=r"Failed to resolve image URL: 404 Not Found .*my\.gvmi"):
        await vm.repo(image_hash=OTHER, image_url=f"{registry.url}/my.gvmi")


@pytest.mark.contract("P07")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "Which image"),
        ({"image_hash": SHA3, "image_tag": TAG}, "not both"),
        (
            {"image_url": "http://example.org/x", "image_tag": TAG},
            "image_tag can only be used with a registry",
        ),
        ({"image_url": "http://example.org/x"}, "needs the image_hash"),
        ({"image_hash": "abc"}, "56 hexadecimal digits"),
        ({"image_hash": SHA3 + "\n"}, "56 hexadecimal digits"),
        ({"image_hash": 5}, "56 hexadecimal digits"),
        ({"image_tag": ""}, "image_tag must be"),
        ({"image_tag": "two words"}, "image_tag must be"),
        ({"image_tag": ["golem/alpine"]}, "image_tag must be"),
        ({"image_hash": SHA3, "image_url": "ftp://example.org/x"}, "http or https URL"),
        ({"image_hash": SHA3, "image_url": "/tmp/image.gvmi"}, "http or https URL"),
        ({"image_hash": SHA3, "image_url": "http://exa mple.org/"}, "http or https URL"),
        ({"image_hash": SHA3, "image_url": "http://[::1"}, "http or https URL"),
        ({"image_hash": SHA3, "image_url": "http://host:99999/"}, "http or https URL"),
        ({"image_tag": TAG, "repository_url": "registry.golem.network"}, "repository_url must be"),
        ({"image_tag": TAG, "min_mem_gib": -1}, "min_mem_gib"),
        ({"image_tag": TAG, "min_storage_gib": float("nan")}, "min_storage_gib"),
        ({"image_tag": TAG, "min_cpu_threads": "4"}, "min_cpu_threads"),
        ({"image_tag": TAG, "min_cpu_threads": True}, "min_cpu_threads"),
        ({"image_tag": TAG, "capabilities": "vpn"}, r"\['vpn'\]"),
        ({"image_tag": TAG, "capabilities": ["a)b"]}, "capabilities"),
    ],
)
def test_arguments_are_checked_by_the_call_itself(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(PackageException, match=text):
        vm.repo(**arguments)


async def test_requirements_are_any_kind_of_number(registry: Any) -> None:
    package = await vm.repo(
        image_tag=TAG,
        repository_url=registry.url,
        min_mem_gib=Decimal("1.5"),  # type: ignore[arg-type]
        min_storage_gib=np.float64(2.5),
        min_cpu_threads=np.int64(3),  # type: ignore[arg-type]
    )
    builder = DemandBuilder()
    await builder.decorate(package)
    for wanted in ("(golem.inf.mem.gib>=1.5)", "(golem.inf.storage.gib>=2.5)", "(golem.inf.cpu.threads>=3)"):
        assert wanted in builder.constraints


async def test_registry_may_be_named_by_the_environment(
    registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLEM_REGISTRY_URL", registry.url)
    await vm.repo(image_tag=TAG)
    assert len(registry.asked) == 1
    monkeypatch.setenv("GOLEM_REGISTRY_URL", "http://127.0.0.1:1")
    await vm.repo(image_tag=TAG, repository_url=registry.url)
    assert len(registry.asked) == 2
    with pytest.raises(PackageException, match=r"127\.0\.0\.1:1"):
        await vm.repo(image_tag=TAG)
    monkeypatch.setenv("GOLEM_REGISTRY_URL", "nonsense")
    with pytest.raises(PackageException, match="GOLEM_REGISTRY_URL must be an http or https URL"):
        vm.repo(image_tag=TAG)
    # Given explicitly, even the default registry wins over the variable.
    vm.repo(image_tag=TAG, repository_url=vm.DEFAULT_REPOSITORY_URL)


@pytest.mark.contract("P07")
async def test_unknown_image_is_named_with_the_registry(registry: Any) -> None:
    registry.answer = lambda request: web.Response(status=404, text="Image not found")
    for arguments, named in (({"image_tag": "no/such:tag"}, "no/such:tag"), ({"image_hash": OTHER}, OTHER)):
        with pytest.raises(PackageException) as caught:
            await vm.repo(**arguments, repository_url=registry.url)
        assert named in str(caught.value)
        assert registry.url in str(caught.value)


@pytest.mark.contract("P07")
async def test_registry_in_trouble(registry: Any) -> None:
    registry.answer = lambda request: web.Response(status=503)
    with pytest.raises(PackageException, match="Failed to resolve image URL: 503 Service Unavailable"):
        await vm.repo(image_tag=TAG, repository_url=registry.url)


async def test_unreachable_registry_is_an_error_with_a_remedy() -> None:
    with socket.socket() as reserved:
        # Bound but not listening: connections are refused.
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        with pytest.raises(PackageException) as caught:
            await vm.repo(image_tag=TAG, repository_url=url)
    message = str(caught.value)
    assert message.startswith(f"Cannot reach the image registry {url}")
    assert "GOLEM_REGISTRY_URL" in message
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "is not JSON"),
        (b"<html>", "is not JSON"),
        (b"[" * 100_000, "too long|is not JSON"),
        (b"[" * 60_000, "is not JSON"),
        (b"x" * 70_000, "too long"),
        (b"[]", "not a JSON object"),
        (b"{}", "56 hexadecimal digits"),
        (json.dumps({"sha3": SHA3}).encode(), "http must be"),
        (json.dumps({"sha3": SHA3, "http": "file:///etc/shadow"}).encode(), "http must be"),
        (json.dumps({"sha3": SHA3, "http": "http://x/\n"}).encode(), "http must be"),
        (json.dumps({"sha3": "x:y", "http": "http://x/"}).encode(), "56 hexadecimal digits"),
        (json.dumps({"sha3": 5, "http": "http://x/"}).encode(), "56 hexadecimal digits"),
    ],
)
async def test_hostile_answer_is_an_error(registry: Any, body: bytes, text: str) -> None:
    registry.answer = lambda request: web.Response(body=body, content_type="application/json")
    with pytest.raises(PackageException, match=text) as caught:
        await vm.repo(image_tag=TAG, repository_url=registry.url)
    assert registry.url in str(caught.value)
    assert len(str(caught.value)) < 600


async def test_image_with_another_hash_is_not_taken(registry: Any) -> None:
    with pytest.raises(PackageException, match=f"{OTHER}.*{SHA3}"):
        await vm.repo(image_hash=OTHER, repository_url=registry.url)


@pytest.mark.contract("P06")
async def test_request_is_looked_up_once_and_may_be_awaited_again(registry: Any) -> None:
    request = vm.repo(image_tag=TAG, repository_url=registry.url)
    assert registry.asked == []
    first, second = await asyncio.gather(_await(request), _await(request))
    assert first is second is await request
    assert len(registry.asked) == 1


async def _await(request: Any) -> Any:
    return await request


async def test_failure_is_not_kept(registry: Any) -> None:
    good = registry.answer
    registry.answer = lambda request: web.Response(status=500)
    request = vm.repo(image_tag=TAG, repository_url=registry.url)
    with pytest.raises(PackageException):
        await request
    registry.answer = good
    assert isinstance(await request, Package)


async def test_cancelled_look_up_does_not_harm_the_others(registry: Any) -> None:
    registry.gate.clear()
    request = vm.repo(image_tag=TAG, repository_url=registry.url)
    first = asyncio.create_task(_await(request))
    second = asyncio.create_task(_await(request))
    while not registry.asked:
        await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    registry.gate.set()
    assert isinstance(await second, Package)


def test_request_may_be_awaited_in_several_loops() -> None:
    request = vm.manifest(MANIFEST)
    assert asyncio.run(_await(request)) is asyncio.run(_await(request))


def test_repr_is_the_call() -> None:
    assert repr(vm.repo(image_tag=TAG)) == f"vm.repo(image_tag='{TAG}')"
    assert repr(vm.repo(image_hash=SHA3)) == f"vm.repo(image_hash='{SHA3}')"
    assert repr(vm.repo(image_hash=SHA3, image_url="http://x/y")) == (
        f"vm.repo(image_hash='{SHA3}', image_url='http://x/y')"
    )
    assert repr(vm.manifest(MANIFEST)) == f"vm.manifest(manifest='{MANIFEST[:16]}...')"


@pytest.mark.contract("P05")
async def test_manifest_without_signature() -> None:
    package = await vm.manifest(MANIFEST)
    builder = DemandBuilder()
    await builder.decorate(package)
    assert builder.properties == {
        "golem.srv.comp.payload": MANIFEST,
        "golem.srv.comp.vm.package_format": "gvmkit-squash",
    }
    assert builder.constraints.endswith("(golem.runtime.name=vm))")


@pytest.mark.contract("P05")
async def test_manifest_with_signature() -> None:
    package = await vm.manifest(
        manifest=MANIFEST + "\n",
        manifest_sig="c2ln",
        manifest_sig_algorithm="sha256",
        manifest_cert="Y2VydA==",
        capabilities=["manifest-support", "inet"],
    )
    builder = DemandBuilder()
    await builder.decorate(package)
    assert builder.properties == {
        "golem.srv.comp.payload": MANIFEST + "\n",
        "golem.srv.comp.payload.sig": "c2ln",
        "golem.srv.comp.payload.sig.algorithm": "sha256",
        "golem.srv.comp.payload.cert": "Y2VydA==",
        "golem.srv.comp.vm.package_format": "gvmkit-squash",
    }
    assert "(&(golem.runtime.capabilities=manifest-support)\n\t(golem.runtime.capabilities=inet))" in (
        builder.constraints
    )


@pytest.mark.contract("P05")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"manifest": ""}, "manifest must be base64"),
        ({"manifest": b"e30="}, "manifest must be base64"),
        ({"manifest": '{"version": "0.1.0"}'}, "manifest must be base64"),
        ({"manifest": "zażółć"}, "manifest must be base64"),
        ({"manifest": "bm90IGpzb24="}, "no JSON"),
        ({"manifest": "W10="}, "JSON object"),
        ({"manifest": MANIFEST, "manifest_sig": "c2ln"}, "manifest_sig_algorithm"),
        ({"manifest": MANIFEST, "manifest_sig_algorithm": "sha256"}, "manifest_sig"),
        ({"manifest": MANIFEST, "manifest_cert": "Y2VydA=="}, "manifest_sig"),
        (
            {"manifest": MANIFEST, "manifest_sig": "not base64!", "manifest_sig_algorithm": "sha256"},
            "manifest_sig must be base64",
        ),
        ({"manifest": MANIFEST, "min_mem_gib": None}, "min_mem_gib"),
    ],
)
def test_manifest_arguments_are_checked_by_the_call_itself(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(PackageException, match=text):
        vm.manifest(**arguments)
