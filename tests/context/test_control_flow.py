"""Which exceptions are control flow."""

from __future__ import annotations

import asyncio
import concurrent.futures
import unittest
from typing import Any

import anyio
import celery.exceptions
import click
import greenlet
import pytest
import tenacity
import websockets.exceptions
from langgraph import errors

from somatrace.context.control_flow import outcome_of

CONTROL_FLOW: list[tuple[BaseException, str]] = [
    (asyncio.CancelledError(), "cancelled"),
    (concurrent.futures.CancelledError(), "cancelled"),
    (greenlet.GreenletExit(), "cancelled"),
    (GeneratorExit(), "abandoned"),
    (KeyboardInterrupt(), "interrupted"),
    (SystemExit(), "exited"),
    (SystemExit(0), "exited"),
    (click.exceptions.Exit(0), "exited"),
    (StopIteration(1), "exhausted"),
    (StopAsyncIteration(), "exhausted"),
    (anyio.EndOfStream(), "exhausted"),
    (websockets.exceptions.ConnectionClosedOK(None, None), "exhausted"),
    (errors.GraphBubbleUp(), "interrupted"),
    (errors.GraphInterrupt(()), "interrupted"),
    (errors.ParentCommand(None), "redirected"),  # type: ignore[arg-type]
    (celery.exceptions.Ignore(), "skipped"),
    (celery.exceptions.Reject(), "rejected"),
    (celery.exceptions.Retry(), "retried"),
    (tenacity.TryAgain(), "retried"),
    (unittest.SkipTest(), "skipped"),
]
FAILURES: list[BaseException] = [
    ValueError("no"),
    TimeoutError(),
    KeyError(),
    SystemExit(3),
    SystemExit("no such file"),
    click.exceptions.Exit(2),
    errors.GraphRecursionError("too deep"),
    errors.EmptyInputError(),
    celery.exceptions.TimeLimitExceeded(),
]


@pytest.mark.parametrize(("error", "outcome"), CONTROL_FLOW, ids=lambda value: repr(value)[:40])
def test_control_flow_has_an_outcome(error: BaseException, outcome: str) -> None:
    assert outcome_of(error) == outcome


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_a_failure_has_none(error: BaseException) -> None:
    assert outcome_of(error) == ""


def test_no_exception_has_none() -> None:
    assert outcome_of(None) == ""


def test_a_subclass_is_control_flow_too() -> None:
    class Paused(errors.GraphInterrupt):
        pass

    assert outcome_of(Paused()) == "interrupted"


def test_a_class_that_only_has_the_short_name_is_a_failure() -> None:
    failure: Any = type("GraphInterrupt", (Exception,), {})

    assert outcome_of(failure()) == ""


def test_a_group_of_control_flow_is_control_flow() -> None:
    group = BaseExceptionGroup("g", [ExceptionGroup("h", [StopIteration()]), asyncio.CancelledError()])

    assert outcome_of(group) in ("cancelled", "exhausted")


def test_a_group_with_one_failure_is_a_failure() -> None:
    assert outcome_of(BaseExceptionGroup("g", [asyncio.CancelledError(), ValueError("no")])) == ""
