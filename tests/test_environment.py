"""environment.yml asks for what pyproject.toml asks for, under the names of conda-forge."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent

#: names on conda-forge that differ from those on PyPI
CONDA_NAMES = {"python-flatbuffers": "flatbuffers"}


def required() -> dict[str, SpecifierSet]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    found = {"python": SpecifierSet(project["requires-python"])}
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        if name != "golem-nb":  # an extra that includes another
            found[name] = requirement.specifier
    return found


def offered() -> dict[str, SpecifierSet]:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    conda = [entry for entry in entries if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in entries if isinstance(entry, dict)]
    found = {}
    for requirement in map(Requirement, [*conda, *pip]):
        name = canonicalize_name(requirement.name)
        found[CONDA_NAMES.get(name, name)] = requirement.specifier
    del found["pip"]
    return found


def test_environment_yml_is_pyproject_toml() -> None:
    assert offered() == required()


def test_only_conda_forge_is_used() -> None:
    assert yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["channels"] == ["conda-forge"]
