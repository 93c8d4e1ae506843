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


#: golem_nb itself, for pip
ITSELF = "-e ."


def entries() -> tuple[list[str], list[str]]:
    """What conda installs, and what pip does."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    (pip,) = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    return [entry for entry in listed if isinstance(entry, str)], pip


def offered() -> dict[str, SpecifierSet]:
    conda, pip = entries()
    found = {}
    for requirement in map(Requirement, [*conda, *(entry for entry in pip if entry != ITSELF)]):
        name = canonicalize_name(requirement.name)
        found[CONDA_NAMES.get(name, name)] = requirement.specifier
    del found["pip"]
    return found


def test_environment_yml_is_pyproject_toml() -> None:
    assert offered() == required()


def test_golem_nb_itself_is_installed() -> None:
    assert ITSELF in entries()[1]


def test_only_conda_forge_is_used() -> None:
    assert yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["channels"] == ["conda-forge"]
