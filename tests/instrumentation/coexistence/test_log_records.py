"""Log records that OpenTelemetry exports carry no content, under `opentelemetry-instrument` too."""

from __future__ import annotations

import datetime as dt
import logging
import logging.handlers
import os
import queue
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord, _internal, get_logger
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from somatrace import bind
from somatrace.context.span_state import SpanState, attach_state
from somatrace.context.tags import Tags
from somatrace.guard import Guard
from somatrace.guard.policy.resolver import PolicyResolver
from somatrace.instrumentation.coexistence import log_records
from tests.support.otlp_server import otlp_server

otel_logging = pytest.importorskip(
    "opentelemetry.instrumentation.logging.handler",
    reason="OpenTelemetry's logging instrumentation is not installed in this environment",
)

SOURCE = """
    import logging
    from somatrace import init_tracing, bind
    log = logging.getLogger("app")
    log.warning("before")  # its OpenTelemetry logger is older than the guard
    init_tracing("svc")

    def failing():
        try:
            raise ValueError("canary-cause")
        except ValueError as error:
            raise RuntimeError("canary-text") from error

    with bind(tenant_id="acme"):
        try:
            failing()
        except RuntimeError as error:
            log.exception("with a stack")
            log.error("formatted: %s", error)
            log.error(error)
            log.error(f"of the cause: {error.__cause__}")
        log.error("later", exc_info=RuntimeError("canary-later"))
        log.warning("a key: %s", "sk-proj-" + "aB3" * 16)
        log.warning("plain words of the program")

    from opentelemetry._logs import get_logger, LogRecord
    get_logger("genai").emit(LogRecord(body={"content": "canary-body"}, attributes={"n": 7}))
    """


@pytest.mark.slow
@pytest.mark.parametrize("content", ["never", None], ids=["never", "default"])
def test_exported_log_records_have_no_texts_of_exceptions(tmp_path: Path, content: str | None) -> None:
    script = tmp_path / "prog.py"
    script.write_text(textwrap.dedent(SOURCE))
    with otlp_server() as server:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, str(script)],
            env={
                **os.environ,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_ENDPOINT": server.url,
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_LOGS_EXPORTER": "otlp",
                "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*",
                "SOMATRACE_TARGET": "none",
                **({"SOMATRACE_CONTENT": content} if content else {}),
            },
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        sent = server.bytes

    assert done.returncode == 0, done.stderr
    assert "/v1/logs" in server.paths
    for kept in (
        b"before",
        b"with a stack",
        b"later",
        b"RuntimeError",
        b"plain words of the program",
        b"[OPENAI",
    ):
        assert kept in sent, kept
    assert b"canary" not in sent
    assert b"aB3aB3" not in sent


# -- in this process, with the SDK's own logger provider ---------------------------------------------------

CANARY = "canary-zebra"
CARD = 4111111111111111
KEY = "sk-proj-" + "aB3" * 16


class Export:
    """A logger of the program, and the records that its logger provider exports behind the guard."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self.provider = LoggerProvider(
            Resource({"service.name": "svc", "process.command_line": f"run --prompt {CANARY}"})
        )
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))
        monkeypatch.setattr(_internal, "_LOGGER_PROVIDER", self.provider)
        until = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
        grant = {"content": "redacted", "until": until.isoformat(), "reason": "test", "terms": ["Bluebird"]}
        self.faults: list[int] = []
        grants = PolicyResolver({"tenants": {"redacted": grant}})
        log_records.install(Guard(lambda: self.faults.append(1), resolve=grants.resolve))
        self.handler = otel_logging.LoggingHandler(logger_provider=self.provider)
        self.log = logging.getLogger("tests.exported")

    @property
    def records(self) -> tuple[Any, ...]:
        return tuple(self._exporter.get_finished_logs())

    @property
    def bodies(self) -> list[Any]:
        return [one.log_record.body for one in self.records]

    @property
    def text(self) -> str:
        """Everything that is exported."""
        return "\n".join(one.to_json() + repr(one.instrumentation_scope) for one in self.records)


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch) -> Iterator[Export]:
    export = Export(monkeypatch)
    export.log.addHandler(export.handler)
    export.log.propagate = False
    yield export
    export.log.removeHandler(export.handler)
    export.log.propagate = True
    assert not export.faults


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # as a program would keep it
        return caught


def in_handler(log: logging.Logger, write: Callable[[logging.Logger, BaseException], object]) -> None:
    error = ValueError(f"{CANARY} of the order", f"{CANARY}-second")
    error.add_note(f"{CANARY}-note")
    try:
        try:
            raise KeyError(f"{CANARY}-cause")
        except KeyError as cause:
            raise error from cause
    except ValueError as caught:
        write(log, caught)


class Wrapper:
    """An object whose text quotes an exception, as that of a failed task does."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"<failed: {self.error}>"


IN_HANDLER: dict[str, Callable[[logging.Logger, BaseException], object]] = {
    "repr": lambda log, e: log.error("failed with %r", e),
    "slice": lambda log, e: log.error("failed with %s", str(e)[:20]),
    "slice in an f-string": lambda log, e: log.error(f"failed with {str(e)[2:18]}"),  # noqa: G004
    "concatenated": lambda log, e: log.error("failed: " + str(e)[:16]),  # noqa: G003
    "upper case": lambda log, e: log.error("failed %s", str(e).upper()[:16]),
    "args": lambda log, e: log.error("failed with %s", e.args),
    "one of the args": lambda log, e: log.error("failed with %s", e.args[1]),
    "notes": lambda log, e: log.error("failed with %s", e.__notes__),
    "cause": lambda log, e: log.error("failed with %s", e.__cause__),
    "args of the cause": lambda log, e: log.error("failed with %s", e.__cause__.args[0]),  # type: ignore[union-attr]
    "named argument": lambda log, e: log.error("failed with %(why)s", {"why": str(e)}),
    "extra": lambda log, e: log.error("failed", extra={"why": str(e)[:20], "error_class": str(e)}),
    "key of an extra": lambda log, e: log.error("failed", extra={str(e)[:12]: 1}),
    "the exception as extra": lambda log, e: log.error("failed", extra={"error": e, "errors": [e]}),
    "message": lambda log, e: log.error(e),
    "mapping as message": lambda log, e: log.error({"why": str(e)}),
    "stack in the message": lambda log, e: log.error("failed\n" + traceback.format_exc()),  # noqa: G003
}
LATER: dict[str, Callable[[logging.Logger], object]] = {
    "an argument": lambda log: log.error("failed with %s", raised(ValueError(CANARY))),
    "in a list": lambda log: log.error("failed with %s", [1, raised(ValueError(CANARY))]),
    "in a mapping": lambda log: log.error("failed with %s", {"a": (raised(ValueError(CANARY)),)}),
    "in an object": lambda log: log.error("failed with %s", Wrapper(raised(ValueError(CANARY)))),
    "a member of a group": lambda log: log.error(
        "%s", ExceptionGroup("two", [ValueError(CANARY)]).exceptions[0]
    ),
    "a group": lambda log: log.error("failed", exc_info=ExceptionGroup(CANARY, [ValueError(CANARY)])),
    "an f-string with exc_info": lambda log: log.error(
        f"failed with {CANARY[:9]}",  # noqa: G004
        exc_info=ValueError(CANARY),
    ),
    "extra with a message": lambda log: log.error(f"of {CANARY}", extra={"e": ValueError(CANARY)}),  # noqa: G004
}


@pytest.mark.parametrize("way", IN_HANDLER)
def test_a_line_of_an_exception_handler_quotes_no_part_of_the_exception(export: Export, way: str) -> None:
    in_handler(export.log, IN_HANDLER[way])

    assert len(export.records) == 1
    assert "canary" not in export.text.lower()


@pytest.mark.parametrize("way", LATER)
def test_a_line_with_an_exception_among_its_values_quotes_no_part_of_it(export: Export, way: str) -> None:
    LATER[way](export.log)

    assert len(export.records) == 1
    assert "canary" not in export.text


def test_a_line_about_an_exception_keeps_its_template_numbers_and_place(export: Export) -> None:
    in_handler(export.log, lambda log, e: log.error("order %d failed with %s", 42, e, exc_info=e))

    record = export.records[0].log_record
    assert record.body == "order 42 failed with <ValueError>"
    assert record.severity_text == "ERROR"
    assert record.attributes["exception.type"] == "ValueError"
    assert "test_log_records:in_handler" in record.attributes["exception.stacktrace"]
    assert "caused by KeyError" in record.attributes["exception.stacktrace"]
    assert "canary" not in export.text


def test_plain_lines_leave_redacted(export: Export) -> None:
    name = "ada"
    export.log.warning("plain words for %s and %s", name, ["one", 2, None])
    export.log.warning(f"a key of {name}: {KEY}")  # noqa: G004

    assert export.bodies == ["plain words for ada and ['one', 2, None]", "a key of ada: [OPENAI_KEY]"]


def test_a_line_handed_to_another_thread_leaves_without_its_text(export: Export) -> None:
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    first = logging.getLogger("tests.handed.over")
    first.propagate = False
    first.handlers = [logging.handlers.QueueHandler(lines)]
    in_handler(first, lambda log, e: log.error("failed with %s", e, exc_info=e))
    listener = logging.handlers.QueueListener(lines, export.handler)
    listener.start()
    listener.stop()

    assert export.records[0].log_record.severity_text == "ERROR"
    assert "canary" not in export.text


def test_event_records_keep_their_names_and_numbers_only(export: Export) -> None:
    message = f'[{{"role": "user", "content": "{CANARY}"}}]'
    logger = get_logger("opentelemetry.instrumentation.openai_v2", logger_provider=export.provider)
    bodies: list[Any] = [CANARY, {"content": CANARY, CANARY: 1}, [CANARY], CANARY.encode(), (CANARY,)]
    for body in bodies:
        logger.emit(
            LogRecord(
                event_name="gen_ai.client.inference.operation.details",
                body=body,
                attributes={
                    "gen_ai.input.messages": message,
                    "gen_ai.output.messages": [{"parts": [CANARY]}],
                    "gen_ai.request.model": "gpt-4o-mini",
                    "gen_ai.usage.input_tokens": 12,
                    CANARY + " as a key": 1,
                    "card": CARD,
                    "vector": [0.25, 0.5],
                },
            )
        )

    record = export.records[0].log_record
    assert record.event_name == "gen_ai.client.inference.operation.details"
    assert record.attributes["gen_ai.request.model"] == "gpt-4o-mini"
    assert record.attributes["gen_ai.usage.input_tokens"] == 12
    assert "canary" not in export.text
    assert str(CARD) not in export.text
    assert "0.25" not in export.text


def test_every_other_text_of_a_record_is_checked_too(export: Export) -> None:
    logger = get_logger(
        f"{CANARY} asked for this",
        f"{CANARY} said",
        schema_url=f"https://{CANARY}.example.com",
        attributes={"note": CANARY},
        logger_provider=export.provider,
    )
    logger.emit(LogRecord(severity_text=f"{CANARY} text", event_name=f"{CANARY} is what she wrote to me"))
    logger.emit(LogRecord(exception=raised(ValueError(CANARY))))

    assert len(export.records) == 2
    assert "canary" not in export.text
    assert export.records[1].log_record.attributes["exception.type"] == "ValueError"


def test_the_emitted_record_itself_stays_as_it_was(export: Export) -> None:
    record = LogRecord(body=CANARY, attributes={"note": CANARY})
    get_logger("genai", logger_provider=export.provider).emit(record)

    assert record.body == CANARY
    assert (record.attributes or {})["note"] == CANARY


def test_with_content_values_pass_the_guard_of_spans(export: Export) -> None:
    extra = {"password": "correct horse", "card": CARD, "who": "ada", "project": "Bluebird"}
    with bind(tenant_id="redacted"):
        export.log.error("for %s, card %d, of Bluebird", "ada", CARD, extra=extra)
        get_logger("genai", logger_provider=export.provider).emit(
            LogRecord(body={"password": "correct horse", "text": ["Bluebird", 1, f"key {KEY}"], "card": CARD})
        )

    first, second = (one.log_record for one in export.records)
    assert first.body == "for ada, card [CARD], of [TERM]"
    assert first.attributes["password"] == "[PASSWORD]"
    assert first.attributes["card"] == "[CARD]"
    assert first.attributes["who"] == "ada"
    assert first.attributes["project"] == "[TERM]"
    assert second.body == {
        "password": "[PASSWORD]",
        "text": ("[TERM]", 1, "key [OPENAI_KEY]"),
        "card": "[CARD]",
    }


def test_a_record_of_another_tenants_span_follows_the_stricter_policy(export: Export) -> None:
    theirs = TracerProvider().get_tracer("tests").start_span("theirs")
    attach_state(theirs, SpanState(Tags({"tenant_id": "closed"}), None))
    logger = get_logger("genai", logger_provider=export.provider)
    with bind(tenant_id="redacted"):
        logger.emit(LogRecord(context=trace.set_span_in_context(theirs), body=CANARY))

    assert len(export.records) == 1
    assert "canary" not in export.text


def another_tenants(error: BaseException) -> BaseException:
    try:
        with bind(tenant_id="closed"):
            raise error
    except BaseException as caught:  # as a program would keep it
        return caught


FOREIGN: dict[str, Callable[[logging.Logger, BaseException], object]] = {
    "logged": lambda log, e: log.error("failed", exc_info=e),
    "an argument": lambda log, e: log.error("failed with %s", e),
    "in a list": lambda log, e: log.error("failed with %s", [e]),
    "an extra": lambda log, e: log.error("failed", extra={"error": e}),
    "its cause": lambda log, e: log.error("failed with %s", raised_from(e)),
}


def raised_from(cause: BaseException) -> BaseException:
    try:
        raise RuntimeError(str(cause)) from cause
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("way", FOREIGN)
def test_an_opted_in_tenants_line_does_not_quote_another_tenants_exception(export: Export, way: str) -> None:
    error = another_tenants(ValueError(CANARY))

    with bind(tenant_id="redacted"):
        FOREIGN[way](export.log, error)
        export.log.error("own: %s", raised(ValueError("of zebras")))

    assert len(export.records) == 2
    assert "canary" not in export.text
    assert "own: of zebras" in export.text


def test_a_line_written_while_another_tenants_exception_is_handled_does_not_quote_it(export: Export) -> None:
    with bind(tenant_id="redacted"):
        try:
            with bind(tenant_id="closed"):
                raise ValueError(CANARY)
        except ValueError as error:
            export.log.error(f"failed with {str(error)[:12]}")  # noqa: G004

    assert len(export.records) == 1
    assert "canary" not in export.text
