"""Log lines are written once, and again only for something new."""

from __future__ import annotations

import logging

import pytest

from somatrace.runtime.log_once import CurrentProblem, LogOnce


@pytest.mark.parametrize(
    ("each_change", "logged"),
    [(True, ["a", "b", "a"]), (False, ["a", "a"])],
    ids=["each change", "its begin"],
)
def test_a_problem_is_logged_when_it_begins_and_again_after_it_has_ended(caplog, each_change, logged):
    problem = CurrentProblem(each_change=each_change)

    for line in ("", "a", "a", "b", "", "a"):
        problem.set(line)

    assert caplog.messages == logged
    assert problem.line == "a"


def test_a_log_record_that_cannot_be_made_raises_nothing():
    def broken(record: logging.LogRecord) -> bool:
        raise RuntimeError("a filter of the program")

    log = logging.getLogger("somatrace")
    log.addFilter(broken)
    try:
        LogOnce().warning("key", "once")
        CurrentProblem(each_change=True).set("a problem")
    finally:
        log.removeFilter(broken)


def test_warnings_are_logged_once_per_key_and_up_to_the_limit(caplog):
    warnings = LogOnce(limit=2)

    for key in ("x", "x", "y", "z"):
        warnings.warning(key, "about %s", key)

    assert caplog.messages == ["about x", "about y"]
