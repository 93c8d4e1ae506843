"""Descriptions of providers, their misbehaviours and images."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from golem_nb.localnet.spec import Image, InvalidSpecError, Misbehaviour, MisbehaviourKind, ProviderSpec


def test_a_spec_survives_json() -> None:
    spec = ProviderSpec(
        name="a",
        mem_gib=1.5,
        start_price="0.1",
        price_per_second=Decimal("0.000000000000000001"),
        misbehaviours=["vanish", Misbehaviour(kind="overcharge", factor="2.5", times=3)],
    )
    assert ProviderSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec.price_per_second == Decimal("1E-18")
    assert spec.misbehaviours[0].after == 0


def test_a_float_price_is_the_number_that_was_written() -> None:
    assert ProviderSpec(name="a", start_price=0.1).start_price == Decimal("0.1")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": ""}, "needs a name"),
        ({"mem_gib": 0}, "mem_gib of provider 'p' must be a positive number"),
        ({"cpu_threads": True}, "cpu_threads"),
        ({"storage_gib": "much"}, "storage_gib"),
        ({"start_price": -1}, "must not be negative"),
        ({"start_price": "free"}, "must be a number"),
        ({"price_per_second": float("nan")}, "finite"),
        ({"max_activity_seconds": 0}, "max_activity_seconds"),
        ({"misbehaviours": ["steal"]}, "unknown misbehaviour 'steal'; there are: corrupt-checksum"),
    ],
)
def test_impossible_specs_name_the_field(fields: dict, text: str) -> None:
    with pytest.raises(InvalidSpecError, match=text):
        ProviderSpec(**{"name": "p", **fields})


def test_unknown_fields_of_json_are_named() -> None:
    with pytest.raises(InvalidSpecError, match=r"unknown field.* of ProviderSpec: 'memory'"):
        ProviderSpec.from_json({"name": "p", "memory": 1})
    with pytest.raises(InvalidSpecError, match="cannot be made of"):
        ProviderSpec.from_json({})


@pytest.mark.parametrize("kind", MisbehaviourKind)
def test_every_misbehaviour_has_defaults_and_survives_json(kind: MisbehaviourKind) -> None:
    misbehaviour = Misbehaviour(kind=kind)
    assert Misbehaviour.from_json(json.loads(json.dumps(misbehaviour.to_json()))) == misbehaviour


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"kind": "vanish", "factor": 2}, "vanish has no parameter 'factor'"),
        ({"kind": "vanish", "after": -1}, "after of the misbehaviour vanish must be positive"),
        ({"kind": "too-many-debit-notes", "interval": 0}, "interval"),
        ({"kind": "no-invoice", "times": 0}, "times"),
    ],
)
def test_parameters_that_make_no_sense(fields: dict, text: str) -> None:
    with pytest.raises(InvalidSpecError, match=text):
        Misbehaviour(**fields)


def test_images(tmp_path: Path) -> None:
    image = Image(sha3="ab", kind="rootfs", rootfs=tmp_path, tag="me/mine:latest")
    assert Image.from_json(json.loads(json.dumps(image.to_json()))) == image
    for fields, text in (
        ({"sha3": "XY"}, "lower-case hexadecimal"),
        ({"sha3": "ab", "kind": "iso"}, "unknown kind of image 'iso'"),
        ({"sha3": "ab", "kind": "rootfs"}, "absolute path"),
        ({"sha3": "ab", "kind": "rootfs", "rootfs": tmp_path / "none"}, "there is no folder"),
    ):
        with pytest.raises(InvalidSpecError, match=text):
            Image(**fields)
