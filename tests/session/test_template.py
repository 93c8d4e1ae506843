"""Commands with places for items."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golem_nb.session.commands import CommandWork
from golem_nb.session.errors import ItemError
from golem_nb.session.template import Template, TemplateError


@pytest.mark.parametrize(
    ("text", "item", "filled"),
    [
        ("echo {}", "a", "echo a"),
        ("echo {}", 7, "echo 7"),
        ("echo {} {}", "a", "echo a a"),
        ("echo {} {}", ("a", "b"), "echo a b"),
        ("echo {1} {0}", ("a", "b"), "echo b a"),
        ("echo {0}", "a", "echo a"),
        ("echo {index}", "a", "echo 3"),
        ("echo {frame} {scene}", {"frame": 1, "scene": "my moon"}, "echo 1 'my moon'"),
        ("echo {index}", {"index": "mine"}, "echo mine"),
        ("wc /golem/input/{}", Path("some/where/my file.txt"), "wc /golem/input/'my file.txt'"),
        ("echo ${HOME} {}", "a", "echo ${HOME} a"),
        ("awk '{print $1}' {}", "a", "awk '{print $1}' a"),
        ("find -exec rm {{}} \\; {}", "a", "find -exec rm {} \\; a"),
        ("echo hello", "a", "echo hello"),
    ],
)
def test_places_are_filled(text: str, item: object, filled: str) -> None:
    assert Template(text).fill(item, 3) == filled


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])))
def test_an_item_cannot_become_a_command(item: str) -> None:
    assert shlex.split(Template("echo {}").fill(item, 0)) == ["echo", item]


def test_a_hostile_item_is_printed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    item = f"'; touch {victim}; $(touch {victim}) `touch {victim}` \n"
    command = Template("printf %s {}").fill(item, 0)
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == item
    assert not victim.exists()


@pytest.mark.parametrize(
    ("text", "item", "advice"),
    [
        ("echo {frmae}", {"frame": 1}, r"did you mean \{frame\}"),
        ("echo {x}", {"frame": 1}, "it has 'frame'"),
        ("echo {3}", ("a", "b"), "has 2 elements"),
        ("echo {name}", "a", r"single value, whose place is \{\}"),
        ("echo {}", {"frame": 1}, "no obvious form"),
        ("echo {}", b"a", "no obvious form"),
        ("echo {}", None, "give `data` with a value"),
        ("echo {a}", {"a": None}, r"write \{\{a\}\} for plain braces"),
    ],
)
def test_what_does_not_fit_is_said_with_a_remedy(text: str, item: object, advice: str) -> None:
    with pytest.raises(TemplateError, match=advice):
        Template(text).fill(item, 3)


def test_files_that_are_missing_are_found_before_anything_is_spent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        CommandWork("cat {}").check([tmp_path / "missing"])
    with pytest.raises(FileNotFoundError, match="folder"):
        CommandWork("cat {}").check([tmp_path])
    with pytest.raises(FileNotFoundError, match="model"):
        CommandWork("cat {}", inputs={tmp_path / "model": "/golem/work/model"}).check(["a"])


def test_two_items_cannot_be_fetched_to_one_place(tmp_path: Path) -> None:
    work = CommandWork("x {}", outputs={"/golem/output/a": tmp_path / "a"})
    work.check(["only one"])
    with pytest.raises(ItemError, match=r"\{index\}"):
        work.check(["a", "b"])


@pytest.mark.parametrize(
    ("command", "inputs"),
    [
        ("cat {} {}", {}),  # the item's own
        ("cat {0}", {"b/same": "/golem/input/same"}),  # one of all items
        ("cat", {"a/same": "/golem/work/x", "b/same": "/golem/work/x"}),  # two of all items
        ("cat {0}", {"b/{index}": "/golem/input/same"}),  # another one of the item
    ],
)
def test_two_files_are_never_sent_to_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, inputs: dict[str | Path, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/same", "b/same", "b/0"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    work = CommandWork(command, inputs)
    item = (Path("a/same"), Path("b/same")) if not inputs else (Path("a/same"),)
    with pytest.raises(ItemError, match="would both be sent to /golem/"):
        work.check([item])


def test_files_of_one_name_may_belong_to_different_items(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same").write_text(folder)
    CommandWork("cat {}").check([tmp_path / "a" / "same", tmp_path / "b" / "same"])
    CommandWork("cat {} {}").check([(tmp_path / "a" / "same", tmp_path / "a" / "same")])


@pytest.mark.parametrize("item", ["a\0b", "\ud800"])
def test_what_no_command_can_have_is_found_before_anything_is_spent(item: str) -> None:
    with pytest.raises(ItemError, match="item 1 cannot be sent"):
        CommandWork("echo {}").check(["a", item])
    with pytest.raises(ItemError, match="item 0 cannot be sent"):
        CommandWork("echo", outputs={"/golem/output/{}": "out"}).check([item])


def test_folders_of_results_are_made(tmp_path: Path) -> None:
    CommandWork("x {}", outputs={"/golem/output/{}": tmp_path / "new" / "{}"}).check(["a", "b"])
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize("arguments", [{"inputs": {"a": 1}}, {"outputs": {1: "a"}}, {"inputs": {1: "a"}}])
def test_paths_are_texts(arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        CommandWork("x", **arguments)  # type: ignore[arg-type]
