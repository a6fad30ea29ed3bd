"""Wrong calls of the API change nothing and are listed in `status().problems`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from somatrace import content, event, fail, span, usage
from somatrace.runtime.misuse import misuses
from somatrace.testing import capture
from tests.support.programs import run_program

pytestmark = pytest.mark.usefixtures("no_misuses")

IN_A_SPAN: list[tuple[Callable[[], Any], str]] = [
    (lambda: event(3), "event: name is a int: pass a short string"),  # type: ignore[arg-type]
    (lambda: fail(ValueError("x")), "fail: code is a ValueError: pass a short string"),  # type: ignore[arg-type]
    (lambda: usage(model=3), "usage: model is a int: pass a short string"),  # type: ignore[arg-type]
    (
        lambda: usage(input_tokens="many"),  # type: ignore[arg-type]
        "usage: input_tokens: a value of type str is ignored: pass a number of 0 or more",
    ),
    (
        lambda: usage(output_tokens=-1),
        "usage: output_tokens: a value of type int is ignored: pass a number of 0 or more",
    ),
    (
        lambda: usage(input_tokens="3"),  # type: ignore[arg-type]
        "usage: input_tokens: text is read as a number: pass the number itself",
    ),
    (
        lambda: usage(cost="much"),  # type: ignore[arg-type]
        "usage: cost: a value of type str is ignored: pass a number",
    ),
]


@pytest.mark.parametrize(("call", "line"), IN_A_SPAN)
def test_a_wrong_value_is_noted_once(
    call: Callable[[], Any], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "somatrace"), capture(), span("work"):
        call()
        call()

    assert misuses() == (line,)
    assert [record.getMessage() for record in caplog.records if record.getMessage() == line] == [line]


def test_an_unknown_kind_is_noted_with_the_known_ones() -> None:
    with capture() as seen, span("plan", kind="workflw"):  # type: ignore[arg-type]
        pass

    assert seen.named("plan").attributes["langfuse.observation.type"] == "span"
    [line] = misuses()
    assert line.startswith("span: unknown kind, step is used instead: use one of workflow, ")


@pytest.mark.parametrize(
    "call", [lambda: event("x"), lambda: content(input="x"), lambda: usage(model="m"), lambda: fail("x")]
)
def test_an_annotation_outside_of_any_span_is_noted(call: Callable[[], Any]) -> None:
    with capture():
        call()

    [line] = misuses()
    assert line.endswith("called outside of any span, ignored: call it inside `span`")


def test_annotations_without_tracing_and_in_spans_that_are_not_sampled_are_no_misuse() -> None:
    done = run_program(
        """
        from somatrace import Config, event, init_tracing, span, status
        from somatrace.runtime.misuse import misuses

        with span("before"):
            event("x")
        init_tracing("service", config=Config(sample_rate=0.0))
        with span("dropped"):
            event("x")
        assert misuses() == status().problems == (), (misuses(), status().problems)
        """,
        {"SOMATRACE_TARGET": "none"},
    )
    assert done.returncode == 0, done.stderr


def test_wrong_calls_are_in_the_status() -> None:
    done = run_program(
        """
        from somatrace import init_tracing, span, status, usage

        init_tracing("service")
        with span("call", kind="lm"):
            usage(input_tokens="SECRET-TEXT")
        kind, tokens = status().problems
        assert kind.startswith("span: unknown kind") and tokens.startswith("usage: "), status().problems
        assert "SECRET-TEXT" not in tokens
        """,
        {"SOMATRACE_TARGET": "none"},
    )
    assert done.returncode == 0, done.stderr


def test_the_list_is_bounded() -> None:
    with capture(), span("work"):
        for number in range(100):
            kind = type(f"Kind{number}", (), {})
            usage(input_tokens=kind())

    assert len(misuses()) == 20
