"""Log lines and output of telemetry libraries quote neither calls nor headers."""

from __future__ import annotations

import pytest

from tests.support.programs import run_program

PRELUDE = """
    import logging, sys
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(name)s|%(levelname)s|%(message)s")
    logging.getLogger("somatrace").setLevel(logging.ERROR)
    import somatrace
    somatrace.init_tracing("logs")
    """
SILENT = {"SOMATRACE_TARGET": "none"}


def logged(program: str) -> str:
    return run_program(PRELUDE + program, SILENT).stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers",
    [
        {"tracestate": "a=canary-1,canary-2"},
        {"baggage": "canary-1"},
        {"baggage": "canary-1=%zz canary-2, =canary"},
        {"baggage": "k=" + "canary" * 2000},
    ],
    ids=lambda headers: str(headers)[:40],
)
def test_propagators_do_not_quote_the_headers_of_callers(headers):
    errors = logged(
        f"""
    from opentelemetry import propagate
    headers = {headers!r}
    headers["traceparent"] = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    W3CBaggagePropagator().extract(headers)
    TraceContextTextMapPropagator().extract(headers)
    """
    )

    assert "opentelemetry" in errors
    assert "canary" not in errors


@pytest.mark.slow
def test_streamed_answers_of_bedrock_are_not_in_the_log():
    errors = logged(
        """
    import json
    from opentelemetry.instrumentation.bedrock.streaming_wrapper import StreamingWrapper
    events = [
        {"outputText": "canary-1", "index": 0},
        {"contentBlockDelta": {"delta": {"text": "canary-2"}}},
        {"contentBlockDelta": {"delta": {"text": "canary-3"}}},
        {"contentBlockDelta": "canary-4"},
    ]
    class Stream(list): ...
    list(StreamingWrapper(Stream([{"chunk": {"bytes": json.dumps(event).encode()}} for event in events])))
    """
    )

    assert "Accumulating body: [dict, withheld]" in errors
    assert "failed to trace in _process_event" in errors
    assert "canary" not in errors


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["opentelemetry.instrumentation.mine", "openinference.instrumentation.mine", "traceloop.sdk"]
)
def test_only_literals_numbers_and_types_of_an_instrumentors_record_stay(name):
    errors = logged(
        f"""
    log = logging.getLogger({name!r})
    prompt = "canary"
    log.info("a literal")
    log.info("%d tokens of %s by %s", 7, prompt, ValueError(prompt))
    log.info("body %s", {{prompt: prompt}})
    log.info("named %(part)s", {{"part": prompt}})
    log.info(f"joined {{prompt}}")
    log.info(prompt + "!")
    log.info({{"prompt": prompt + "."}})
    log.error("with an error", exc_info=ValueError(prompt))
    """
    )

    assert [line.split("|")[2] for line in errors.splitlines() if line.startswith(name)] == [
        "a literal",
        "7 tokens of [str, withheld] by ValueError",
        "body [dict, withheld]",
        "named [str, withheld]",
        *["a message, withheld because it may quote content"] * 3,
        "with an error",
    ]
    assert "Traceback" not in errors


@pytest.mark.slow
def test_other_loggers_and_the_programs_record_factory_stay():
    errors = logged(
        """
    inner = logging.getLogRecordFactory()
    def factory(*args, **kwargs):
        record = inner(*args, **kwargs)
        record.msg = "mine: " + str(record.msg)
        return record
    logging.setLogRecordFactory(factory)
    logging.getLogger("app").warning("hello %s", "world")
    logging.getLogger("opentelemetry.instrumentation.mine").warning("hello %s", "canary")
    """
    )

    assert "app|WARNING|mine: hello world" in errors
    assert "mine: hello [str, withheld]" in errors


@pytest.mark.slow
def test_instrumentors_do_not_print_the_events_they_cannot_place():
    done = run_program(
        PRELUDE
        + """
    import types
    from somatrace.instrumentation.llm.log_filter import silence_prints
    module = types.ModuleType("instrumentor.events")
    exec("def handle(event):\\n    print(f'No span found for event {event}')", vars(module))
    sys.modules["instrumentor.events"] = module
    silence_prints("instrumentor")
    module.handle("canary")
    print("of the program")
    """,
        SILENT,
    )

    assert done.stdout == "of the program\n"
