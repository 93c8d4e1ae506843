from __future__ import annotations

from typing import Any

import pytest

from golem_nb.script.capture import CaptureContext

pytestmark = pytest.mark.contract("C05")


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({}, {"atEnd": {}}),
        ({"mode": "all"}, {"atEnd": {}}),
        ({"mode": "all", "fmt": "bin"}, {"atEnd": {"format": "bin"}}),
        ({"mode": "head", "limit": 10}, {"atEnd": {"head": 10}}),
        ({"mode": "tail", "limit": 0}, {"atEnd": {"tail": 0}}),
        ({"mode": "headTail", "limit": 10, "fmt": "str"}, {"atEnd": {"headTail": 10, "format": "str"}}),
        ({"mode": "stream"}, {"stream": {}}),
        ({"mode": "stream", "limit": 10, "fmt": "str"}, {"stream": {"limit": 10, "format": "str"}}),
    ],
)
def test_what_is_sent(arguments: dict[str, Any], sent: dict[str, Any]) -> None:
    capture = CaptureContext.build(**arguments)
    assert capture.to_dict() == sent
    assert capture.is_streaming() == ("stream" in sent)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mode": "middle"}, "'middle'.*use None, 'all'"),
        ({"mode": "stream", "fmt": "hex"}, "'hex'.*'str', 'bin'"),
        ({"mode": "head"}, "'head' needs a limit"),
        ({"mode": "headTail", "limit": -1}, "limit -1.*number of bytes"),
        ({"mode": "tail", "limit": True}, "limit True"),
        ({"mode": "tail", "limit": 1.5}, "limit 1.5"),
        ({"mode": "all", "limit": 10}, "limit=10 has no meaning.*'head'"),
        ({"limit": 10}, "limit=10 has no meaning"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(RuntimeError, match=said):
        CaptureContext.build(**arguments)
