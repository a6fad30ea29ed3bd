"""Log lines of somatrace never make a handler with a closed stream print an error."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from somatrace.runtime.open_handlers import skip_closed_handlers

log = logging.getLogger("somatrace")


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch):
    """The streams of two handlers of the root logger, and what is printed as an error."""
    skip_closed_handlers()
    opened = io.StringIO(), io.StringIO()
    errors = io.StringIO()
    handlers = [logging.StreamHandler(stream) for stream in opened]
    for handler in handlers:
        logging.getLogger().addHandler(handler)
    monkeypatch.setattr(sys, "stderr", errors)
    yield (*opened, errors)
    for handler in handlers:
        logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize("name", ["somatrace", "somatrace.audit"])
def test_a_closed_handler_is_skipped_and_the_others_get_the_line(streams, name):
    closed, opened, errors = streams
    closed.close()
    logging.getLogger(name).warning("a line")
    assert opened.getvalue() == "a line\n"
    assert errors.getvalue() == ""


def test_levels_and_filters_of_the_remaining_handlers_apply(streams):
    closed, opened, _ = streams
    closed.close()
    handler = next(one for one in logging.getLogger().handlers if getattr(one, "stream", None) is opened)
    handler.setLevel(logging.ERROR)
    handler.addFilter(lambda record: "unwanted" not in record.getMessage())
    log.warning("too low")
    log.error("unwanted")
    log.error("a line")
    assert opened.getvalue() == "a line\n"


def test_handlers_get_each_line_once_while_all_are_open(streams):
    first, second, _ = streams
    log.warning("a line")
    assert first.getvalue() == second.getvalue() == "a line\n"


def test_wrappers_around_the_class_of_loggers_still_see_each_line(streams, monkeypatch: pytest.MonkeyPatch):
    seen = []
    call = logging.Logger.callHandlers

    def wrapped(logger: logging.Logger, record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        call(logger, record)

    monkeypatch.setattr(logging.Logger, "callHandlers", wrapped)
    log.warning("a line")
    assert seen == ["a line"]


@pytest.mark.slow
@pytest.mark.parametrize("capture", ["fd", "sys"])
def test_nothing_is_printed_after_a_test_run_whose_streams_are_closed(tmp_path: Path, capture: str):
    (tmp_path / "test_service.py").write_text(
        """
import logging
from somatrace import Config, init_tracing, span

def test_work():
    logging.getLogger().addHandler(logging.StreamHandler())
    url = "http://127.0.0.1:9/v1/traces"
    config = Config(target="otlp", endpoint=url, flush_interval=60, max_retries=0, debug=True)
    init_tracing("test", config=config)
    with span("work"): pass
"""
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            f"--capture={capture}",
            "-p",
            "no:cacheprovider",
            str(tmp_path),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert done.stderr == ""
    assert "1 passed" in done.stdout.splitlines()[-1]
