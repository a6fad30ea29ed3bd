"""`event`, `content`, `usage`, `fail`: exported data and the records listeners receive."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace.status import StatusCode

from somatrace import bind, content, event, fail, span, usage
from somatrace.testing import assert_no_content, capture


def test_an_event_is_added_to_the_current_span_with_its_fields() -> None:
    with capture() as seen, span("stage"):
        event("tool.invoked", name="search", attempts=2, ok=True)
    (happened,) = seen.named("stage").events
    assert happened.name == "tool.invoked"
    assert dict(happened.attributes) == {"name": "search", "attempts": 2, "ok": True}


def test_text_in_library_events_does_not_leave() -> None:
    with capture() as seen, trace.get_tracer("lib").start_as_current_span("call") as call:
        call.add_event(
            "gen_ai.content.prompt", {"gen_ai.prompt": "canary-prompt", "tokens": 4, "note": "canary-note"}
        )
    (happened,) = seen.named("call").events
    assert dict(happened.attributes) == {"tokens": 4}
    assert_no_content(seen, "canary-prompt", "canary-note")


def test_without_a_span_annotations_do_nothing() -> None:
    with capture() as seen:
        event("lonely")
        usage(model="m")
        fail("x")
        content(input="y")
    assert seen.spans == []


def test_usage_records_model_and_tokens_by_convention_and_omits_unknown_values() -> None:
    with capture() as seen, span("call", kind="llm"):
        usage(model="m-1", input_tokens=10, output_tokens=2, cache_read_tokens=4, cost=0.25)
    attributes = seen.named("call").attributes
    assert attributes["gen_ai.request.model"] == "m-1"
    assert attributes["gen_ai.usage.input_tokens"] == 10
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 4
    assert attributes["gen_ai.usage.cost.amount"] == 0.25
    assert json.loads(attributes["langfuse.observation.cost_details"]) == {"total": 0.25}
    assert json.loads(attributes["langfuse.observation.usage_details"]) == {
        "input": 6,
        "input_cached_tokens": 4,
        "output": 2,
    }
    assert "gen_ai.usage.reasoning.output_tokens" not in attributes


@pytest.mark.parametrize(
    "value",
    [Decimal("1e100000"), Fraction(10**5000), 10**5000, float("inf"), True, "many", -1],
    ids=lambda value: type(value).__name__,
)
def test_usage_omits_a_number_that_is_no_count_with_one_debug_line(
    value: Any, caplog: pytest.LogCaptureFixture, no_misuses: None
) -> None:
    with caplog.at_level("DEBUG", "somatrace"), capture() as seen, span("call", kind="llm"):
        usage(input_tokens=value, output_tokens=3)
    attributes = seen.named("call").attributes
    assert "gen_ai.usage.input_tokens" not in attributes
    assert attributes["gen_ai.usage.output_tokens"] == 3
    lines = [record.getMessage() for record in caplog.records if "is ignored" in record.getMessage()]
    assert lines == [
        f"usage: input_tokens: a value of type {type(value).__name__} is ignored: pass a number of 0 or more"
    ]


def test_fail_exports_the_code_but_not_the_message() -> None:
    with capture() as seen, span("lookup"):
        fail("order_not_found", "no order canary-7781", retryable=False)
    lookup = seen.named("lookup")
    assert lookup.status.status_code is StatusCode.ERROR
    assert lookup.status.description == "order_not_found"
    assert lookup.attributes["error.code"] == "order_not_found"
    assert lookup.attributes["error.retryable"] is False
    assert_no_content(seen, "canary-7781")


def test_an_exception_after_fail_does_not_replace_its_code() -> None:
    with capture() as seen, pytest.raises(LookupError), span("lookup"):
        fail("order_not_found")
        raise LookupError
    assert seen.named("lookup").attributes["error.type"] == "order_not_found"


def test_content_is_off_by_default_and_its_length_is_noted() -> None:
    with capture() as seen, span("call", kind="llm"):
        content(input={"prompt": "canary-in"}, output="canary-out")
    attributes = seen.named("call").attributes
    noted = {item["key"]: item["length"] for item in json.loads(attributes["somatrace.guard.removed"])}
    assert noted["langfuse.observation.output"] == len("canary-out")
    assert "langfuse.observation.input" in noted
    assert_no_content(seen, "canary-in", "canary-out")


def test_content_of_any_shape_never_breaks_the_program() -> None:
    loop: list[object] = []
    loop.append(loop)
    with capture() as seen, span("call"):
        content(input=loop, output={1: object(), "b": b"bytes"})
    assert seen.named("call").end_time is not None


def test_listeners_receive_records_in_order_with_tags_and_without_content() -> None:
    with capture() as seen, bind(tenant_id="acme"), span("flow", kind="workflow") as flow:
        flow.set_attribute("gen_ai.input.messages", "canary-prompt")
        event("stage.plan.started", n=1)
    assert [(record.phase, record.name) for record in seen.records] == [
        ("started", "flow"),
        ("event", "stage.plan.started"),
        ("ended", "flow"),
    ]
    ended = seen.records[-1]
    assert (ended.kind, ended.span_name, ended.status) == ("workflow", "flow", "unset")
    assert ended.tags["tenant_id"] == "acme"
    assert ended.duration_ns is not None
    assert ended.duration_ns > 0
    assert "canary-prompt" not in repr(seen.records)


def test_listeners_receive_every_event_even_beyond_the_span_limit() -> None:
    with capture() as seen, span("busy"):
        for number in range(300):
            event("tick", number=number)
    told = [record.attributes["number"] for record in seen.records if record.phase == "event"]
    assert told == list(range(300))
    assert len(seen.named("busy").events) == 128


def test_a_failing_listener_affects_neither_the_program_nor_other_listeners() -> None:
    from somatrace import tracing

    def broken(record: object) -> None:
        raise RuntimeError

    with capture() as seen:
        pipeline = tracing.installed().pipeline
        pipeline.listen(broken)
        with span("work"):
            pass
        pipeline.flush(60)
        pipeline.unlisten(broken)
    assert [record.phase for record in seen.records] == ["started", "ended"]
