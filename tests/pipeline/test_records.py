"""Misbehaving listeners and third-party processors do not affect the program or each other."""

from __future__ import annotations

import logging
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

from somatrace import event, span, tracing
from somatrace.pipeline.sdk_form import is_known
from somatrace.testing import capture
from tests.support.otlp_server import otlp_server
from tests.support.programs import otlp_env, run_program


@pytest.fixture
def server():
    with otlp_server() as running:
        yield running


def test_the_record_of_a_start_has_the_attributes_of_the_start_however_late_it_is_heard() -> None:
    with capture() as seen:
        tracer = trace.get_tracer("app")
        with tracer.start_as_current_span("work", attributes={"rows": 3}) as current:
            current.set_attribute("columns", 4)

    started, ended = (record for record in seen.records if record.phase != "event")
    if is_known():  # the oldest supported SDK makes its own spans, whose attributes are read later
        assert "columns" not in started.attributes
    assert started.attributes["rows"] == 3
    assert ended.attributes["columns"] == 4


def test_the_record_of_an_event_has_the_attributes_of_the_event_and_the_kind_of_its_span() -> None:
    with capture() as seen, span("search", kind="tool", rows=3):
        event("found", matches=2)

    (record,) = (record for record in seen.records if record.phase == "event")
    assert (record.kind, record.name, record.span_name) == ("tool", "found", "search")
    assert dict(record.attributes) == {"matches": 2}


def test_spans_created_by_a_listener_do_not_notify_listeners(server) -> None:
    done = run_program(
        """
        import os, httpx, requests
        from somatrace import *
        heard = []
        def listener(record):
            heard.append((record.phase, record.name))
            url = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
            httpx.get(url, timeout=60)
            requests.get(url)
            with span("of the listener"):
                event("noted")
        init_tracing("listening", listeners=[listener])
        with span("work"):
            event("happened")
        for _ in range(3):
            assert flush(60), status()
        print(heard)
        """,
        otlp_env(server.url),
    )
    assert done.stdout == "[('started', 'work'), ('event', 'happened'), ('ended', 'work')]\n"
    assert sorted(found.name for found in server.spans) == ["of the listener"] * 3 + ["work"]


def test_a_listener_that_exits_its_thread_loses_at_most_its_batch(server) -> None:
    done = run_program(
        """
        import queue, sys, threading
        from somatrace import *
        left = queue.Queue()
        def leave(record):
            if record.name == "last straw":
                left.put(threading.current_thread())
                sys.exit("no more")
        init_tracing("leaving", listeners=[leave])
        with span("last straw"):
            pass
        left.get(timeout=60).join(60)
        with span("after"):
            pass
        assert flush(60), status()
        """,
        otlp_env(server.url),
    )
    assert "after" in {found.name for found in server.spans}
    assert "Traceback" not in done.stderr


def test_a_slow_third_party_processor_is_logged_once(caplog) -> None:
    go_on = threading.Event()

    class Stuck(SpanProcessor):
        def on_end(self, span: object) -> None:
            go_on.wait(60)

    missing = pytest.raises(AssertionError, match="a span processor does not keep up")
    with caplog.at_level(logging.WARNING, "somatrace"), missing, capture() as seen:
        span_processor, stuck = tracing.installed().span_processor, Stuck()
        span_processor.add_span_processor(stuck)
        for _ in range(3000):
            with span("work"):
                pass
        tracing.installed().pipeline._worker.flush(60)
        go_on.set()
        span_processor.remove_span_processor(stuck)
    lines = [record.message for record in caplog.records if record.message.startswith("Stuck")]
    assert lines == ["Stuck: it cannot keep up and does not get every span"]
    assert len(seen.spans) < 3000


def test_changes_by_a_third_party_processor_are_not_sent(server) -> None:
    run_program(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import SpanProcessor
        from somatrace import *
        init_tracing("writing")
        class Writer(SpanProcessor):
            def on_end(self, span):
                span._attributes["input.value"] = "a prompt"
                span._name = "a prompt"
        trace.get_tracer_provider().add_span_processor(Writer())
        for _ in range(50):
            with span("work"):
                pass
        assert flush(60), status()
        """,
        otlp_env(server.url),
    )
    assert {found.name for found in server.spans} == {"work"}
    assert not any("input.value" in found.attributes for found in server.spans)


def test_a_value_that_cannot_be_weighed_loses_no_span(server) -> None:
    run_program(
        """
        from opentelemetry import trace
        from somatrace import *
        init_tracing("weighing")
        class Weightless(str):
            def __len__(self):
                raise ZeroDivisionError
        with span("work"):
            trace.get_current_span()._attributes._dict["app.value"] = Weightless("a")
        assert flush(60), status()
        assert status().created == status().delivered == 1
        """,
        otlp_env(server.url),
    )
    assert [found.name for found in server.spans] == ["work"]
