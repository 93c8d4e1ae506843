from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from golem_nb.payload import PackageException, vm
from golem_nb.payload.manifest import (
    CompManifest,
    CompManifestNet,
    CompManifestNetInet,
    CompManifestNetInetOut,
    CompManifestScript,
    Manifest,
    ManifestMetadata,
    ManifestPayload,
)

SHA3 = "d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376"


@pytest.fixture(autouse=True)
def _named(registry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLEM_REGISTRY_URL", registry.url)


@pytest.mark.contract("P09", "I04")
async def test_generated_manifest(registry: Any) -> None:
    before = datetime.now(UTC)
    manifest = await Manifest.generate(
        image_hash=SHA3,
        outbound_urls=["https://api.example.org", "http://example.org:8080/x", "https://other.example.org"],
        **{"metadata.name": "prices", "metadata.authors": ["me"], "comp_manifest.script.match": "strict"},
    )
    data = json.loads(manifest.to_json())
    assert data == manifest.to_dict()
    created = datetime.fromisoformat(data.pop("createdAt"))
    expires = datetime.fromisoformat(data.pop("expiresAt"))
    assert before <= created <= datetime.now(UTC)
    assert expires - created > timedelta(days=365)
    assert data == {
        "version": "0.1.0",
        "metadata": {"name": "prices", "version": "0.1.0", "authors": ["me"]},
        "payload": [
            {
                "platform": {"arch": "x86_64", "os": "linux"},
                "hash": f"sha3:{SHA3}",
                "urls": ["http://images.example.org/alpine.gvmi"],
            }
        ],
        "compManifest": {
            "version": "0.1.0",
            "script": {"commands": ["run .*"], "match": "strict"},
            "net": {
                "inet": {
                    "out": {
                        "protocols": ["http", "https"],
                        "urls": [
                            "https://api.example.org",
                            "http://example.org:8080/x",
                            "https://other.example.org",
                        ],
                    }
                }
            },
        },
    }
    assert registry.asked == [("GET", "/v1/image/info", {"hash": SHA3, "count": "true"})]


@pytest.mark.contract("P05", "P09")
async def test_manifest_goes_into_a_payload() -> None:
    manifest = await Manifest.generate(image_hash=SHA3)
    encoded = manifest.to_base64()
    assert json.loads(base64.b64decode(encoded)) == manifest.to_dict()
    assert "net" not in manifest.to_dict()["compManifest"]
    assert "metadata" not in manifest.to_dict()
    await vm.manifest(encoded, capabilities=["manifest-support"])


@pytest.mark.contract("I04")
def test_manifest_made_by_hand() -> None:
    created = datetime(2030, 1, 1, tzinfo=UTC)
    manifest = Manifest(
        payload=[ManifestPayload(hash="sha3:0", urls=["http://x/y"])],
        metadata=ManifestMetadata(name="n", homepage="http://h"),
        comp_manifest=CompManifest(
            script=CompManifestScript(commands=["run /bin/date"], match="strict"),
            net=CompManifestNet(CompManifestNetInet(CompManifestNetInetOut(["https"], ["https://u"]))),
        ),
        created_at=created,
        expires_at=created + timedelta(days=1),
    )
    data = manifest.to_dict()
    assert (data["createdAt"], data["expiresAt"]) == (
        "2030-01-01T00:00:00+00:00",
        "2030-01-02T00:00:00+00:00",
    )
    assert data["compManifest"]["net"] == {"inet": {"out": {"protocols": ["https"], "urls": ["https://u"]}}}
    assert data["metadata"]["homepage"] == "http://h"


@pytest.mark.parametrize(
    "path", ["nonsense", "metadata.nonsense", "metadata.name.deeper", "payload.0.hash", ""]
)
async def test_part_that_does_not_exist_is_an_error(path: str) -> None:
    with pytest.raises(TypeError, match="no part"):
        await Manifest.generate(**{path: 1})


async def test_unknown_image_and_bad_url_are_errors(registry: Any) -> None:
    with pytest.raises(PackageException, match="outbound_urls"):
        await Manifest.generate(outbound_urls=["example.org"])
    with pytest.raises(PackageException, match="56 hexadecimal digits"):
        await ManifestPayload.from_hash("abc")
    registry.answer = lambda request: web.Response(status=404)
    with pytest.raises(PackageException, match=SHA3):
        await Manifest.generate(image_hash=SHA3)
