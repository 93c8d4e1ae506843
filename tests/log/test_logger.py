from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from golem_nb.log import enable_default_logger, get_logger, pluralize, str_capped

LOGGER = logging.getLogger("golem_nb")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before, level = LOGGER.handlers[:], LOGGER.level
    yield
    for handler in LOGGER.handlers:
        if handler not in before:
            handler.close()
    LOGGER.handlers[:] = before
    LOGGER.setLevel(level)
    for api in ("activity", "market", "payment", "net"):
        logging.getLogger(f"golem_nb.rest.{api}").setLevel(logging.NOTSET)


@pytest.mark.contract("L01", "L02")
def test_stderr_gets_info_with_time_to_milliseconds(capsys: pytest.CaptureFixture[str]) -> None:
    enable_default_logger()
    LOGGER.debug("not this")
    LOGGER.info("but this")
    stderr = capsys.readouterr().err
    assert re.fullmatch(
        r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4} INFO golem_nb\] but this\n", stderr
    )


@pytest.mark.contract("L02")
def test_second_call_doubles_no_line_and_takes_the_new_format(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "golem.log"
    enable_default_logger(log_file=str(file))
    LOGGER.info("from the first run of the cell")
    enable_default_logger("%(message)s", log_file=str(file))
    LOGGER.info("from the second")
    stderr = capsys.readouterr().err
    assert stderr.endswith("\nfrom the second\n")
    assert stderr.count("from the second") == 1
    written = file.read_text(encoding="utf-8")
    assert written.count("from the second") == 1
    assert "from the first run of the cell" in written


@pytest.mark.contract("L02")
def test_log_file_gets_debug_and_is_announced(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "golem.log"
    file.write_text("from last week")
    enable_default_logger(log_file=str(file))
    LOGGER.debug("détail")
    written = file.read_text(encoding="utf-8")
    stderr = capsys.readouterr().err
    assert "DEBUG golem_nb] détail" in written
    assert "last week" not in written
    assert f"Using log file `{file}`; in case of errors look for additional information there" in stderr


@pytest.mark.contract("L01")
def test_debug_flags_let_requests_into_the_file_only(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "golem.log"
    enable_default_logger(log_file=str(file), debug_market_api=True)
    logging.getLogger("golem_nb.rest.market").debug("GET /demands")
    logging.getLogger("golem_nb.rest.payment").debug("GET /invoices")
    written = file.read_text()
    assert "GET /demands" in written
    assert "GET /invoices" not in written
    assert "GET /demands" not in capsys.readouterr().err


def test_log_file_in_a_missing_folder_is_an_error_that_names_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        enable_default_logger(log_file=str(tmp_path / "nowhere" / "golem.log"))


def test_terminal_sequences_are_written_as_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    enable_default_logger("%(message)s")
    LOGGER.info("provider %s", "\x1b[2J\x07\u202eevil\x9b")
    assert capsys.readouterr().err == "provider \\x1b[2J\\x07\\u202eevil\\x9b\n"


@pytest.mark.contract("L03")
def test_job_id_stands_before_the_message(caplog: pytest.LogCaptureFixture) -> None:
    logger = get_logger("golem_nb.somewhere")
    with caplog.at_level(logging.INFO):
        logger.info("started")
        logger.info("started", job_id="7")
        logger.info("%d%% of %s", 50, "it", job_id="100%s\n")
        logger.warning("50%", job_id="100%")
    assert [record.getMessage() for record in caplog.records] == [
        "started",
        "[Job 7] started",
        "[Job 100%s\\n] 50% of it",
        "[Job 100%] 50%",
    ]
    assert {record.filename for record in caplog.records} == {"test_logger.py"}


@pytest.mark.contract("L03")
def test_exceptions_are_logged_with_their_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        get_logger("golem_nb.somewhere").exception("failed", job_id="1")
    assert "ValueError: wrong" in caplog.text


@pytest.mark.contract("L03")
def test_pluralize_and_str_capped() -> None:
    assert [pluralize(n, "task") for n in (0, 1, 2)] == ["0 tasks", "1 task", "2 tasks"]
    assert pluralize(2, "activity", "activities") == "2 activities"
    assert str_capped([1, 2], 10) == "[1, 2]"
    assert str_capped("x" * 201, 200) == "x" * 197 + "..."
    assert str_capped("abc", 2) == ".."
