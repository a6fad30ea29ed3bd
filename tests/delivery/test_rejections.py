"""A rejection loses nothing: a bad span is set aside if it is known to be one, everything else is kept."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somatrace.delivery.answer_text import answer_text, names_spans
from somatrace.delivery.outbox import MAX_REJECTIONS, Outbox
from tests.delivery.support import (
    batch,
    dead_in,
    dead_letters_in,
    deliver,
    journal_in,
    names,
    outbox_to,
    target,
)
from tests.support.otlp_server import OtlpServer, Reply, otlp_server
from tests.support.programs import otlp_env, run_program

LANGFUSE = (
    b'{"error":"Invalid OTLP trace export: 1 of 3 span(s) cannot be processed (traceId:absent). '
    b'traceId and spanId are required on every span."}'
)


@pytest.fixture
def server():
    with otlp_server() as running:
        yield running


def rejecting(server: OtlpServer, *bad: str, status: int = 400, body: bytes = b"") -> Callable[[int], Reply]:
    """Rejects requests with one of these spans."""
    return lambda number: Reply(status, body) if set(bad) & set(names(server.raw[number])) else Reply()


def outbox_in(directory: Path, server: OtlpServer, **more: object):
    return outbox_to(
        target(server.traces_url),
        journal=journal_in(directory),
        dead_letters=dead_letters_in(directory),
        **more,
    )


def try_again(outbox: Outbox) -> float | None:
    """Send now, whatever the wait after a failure is."""
    outbox._next = outbox._not_before = 0.0
    return outbox.send()


def arrived(server: OtlpServer) -> list[str]:
    return sorted(span.name for span in server.spans)


def left_on_disk(directory: Path) -> list[str]:
    """The names of the spans that the next process would find."""
    journal, found = journal_in(directory), []
    while entries := journal.take_over():
        found += [name for entry in entries for name in names(journal.read(entry)[0])]
    journal.close()
    return sorted(found)


@pytest.mark.parametrize("status", [400, 422, 413])
def test_a_target_that_rejects_everything_loses_nothing(
    tmp_path: Path, server: OtlpServer, status: int
) -> None:
    server.reply = lambda _: Reply(status)
    outbox, ledger = outbox_in(tmp_path, server)
    wanted = sorted(f"span {number}" for number in range(200))
    for start in range(0, 200, 8):
        outbox.queue.add(batch(*wanted[start : start + 8]), 8)

    for _ in range(20):
        try_again(outbox)
    requests, problems = server.requests, outbox.problems
    server.reply = lambda _: Reply()
    try_again(outbox)

    assert str(status) in problems[0]
    assert requests <= MAX_REJECTIONS + 21
    assert arrived(server) == wanted
    assert (ledger.delivered, dict(ledger.lost), outbox.problems) == (200, {}, ())
    assert not dead_in(tmp_path)


def test_what_everything_rejected_keeps_survives_the_process(tmp_path: Path, server: OtlpServer) -> None:
    server.reply = lambda _: Reply(400)
    outbox, _ = outbox_in(tmp_path, server)
    outbox.queue.add(batch(*"abcdefgh"), 8)
    for _ in range(5):
        try_again(outbox)
    outbox.queue.leave(1.0)

    assert left_on_disk(tmp_path) == list("abcdefgh")


def test_only_one_request_is_tried_after_each_wait_once_everything_is_rejected(
    tmp_path: Path, server: OtlpServer
) -> None:
    server.reply = lambda _: Reply(400)
    outbox, _ = outbox_in(tmp_path, server)
    for _ in range(50):
        outbox.queue.add(batch(*["a"] * 64), 64)
    outbox.send()

    requests = []
    for _ in range(5):
        before = server.requests
        wait = try_again(outbox)
        requests.append(server.requests - before)

    assert requests == [1] * 5
    assert wait is not None
    assert wait > 1


def test_a_configuration_fault_is_one_log_line_with_the_setting_and_a_problem(
    tmp_path: Path, server: OtlpServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.reply = lambda _: Reply(400, b"canary of the target")
    outbox, ledger = outbox_in(tmp_path, server, advice="; check SOMATRACE_ENDPOINT")
    outbox.queue.add(batch("a"), 1)

    with caplog.at_level(logging.INFO, logger="somatrace"):
        for _ in range(3):
            try_again(outbox)

    [record] = caplog.records
    assert "400" in record.getMessage()
    assert "check SOMATRACE_ENDPOINT" in record.getMessage()
    assert outbox.problems == (f"target: {ledger.last_error}",)
    assert "check SOMATRACE_ENDPOINT" in ledger.last_error
    assert "canary" not in caplog.text + ledger.last_error


@pytest.mark.parametrize("position", [0, 1, 31, 63])
def test_one_bad_span_of_a_batch_is_set_aside_and_the_others_arrive(
    tmp_path: Path, server: OtlpServer, position: int
) -> None:
    server.reply = rejecting(server, "bad")
    outbox, ledger = outbox_in(tmp_path, server)
    good = [f"span {number:02}" for number in range(63)]
    outbox.queue.add(batch(*good[:position], "bad", *good[position:]), 64)

    deliver(outbox)

    assert arrived(server) == good
    assert dead_in(tmp_path) == ["bad"]
    assert (ledger.delivered, dict(ledger.lost)) == (63, {"dead_letter": 1})
    assert not left_on_disk(tmp_path)


def test_a_batch_of_one_bad_span_is_kept_until_another_batch_is_accepted(
    tmp_path: Path, server: OtlpServer
) -> None:
    server.reply = rejecting(server, "bad")
    outbox, ledger = outbox_in(tmp_path, server)
    outbox.queue.add(batch("bad"), 1)

    for _ in range(5):
        try_again(outbox)
    assert (dict(ledger.lost), dead_in(tmp_path), outbox.away) == ({}, [], True)
    outbox.queue.add(batch("good"), 1)
    outbox.send()  # at once: what was not rejected does not wait for what was

    assert arrived(server) == ["good"]
    assert dead_in(tmp_path) == ["bad"]
    assert (ledger.delivered, dict(ledger.lost), outbox.away) == (1, {"dead_letter": 1}, False)


@pytest.mark.parametrize("bad", [range(50), range(200), range(0, 200, 2)], ids=["50 in a row", "all", "half"])
def test_many_bad_spans_neither_keep_others_waiting_nor_fill_the_log(
    tmp_path: Path, server: OtlpServer, caplog: pytest.LogCaptureFixture, bad: range
) -> None:
    wanted = [f"span {number:03}" for number in range(200)]
    poisoned = [wanted[number] for number in bad]
    server.reply = rejecting(server, *poisoned)
    outbox, ledger = outbox_in(tmp_path, server)
    outbox.queue.add(batch(*wanted), 200)

    with caplog.at_level(logging.INFO, logger="somatrace"):
        outbox.send()  # nothing may have been accepted: that looks like a fault of the configuration
        outbox.queue.add(batch("first"), 1)
        try_again(outbox)
        for number in range(40):
            outbox.queue.add(batch(f"later {number}"), 1)
            outbox.send()  # without a wait
            assert server.named(f"later {number}")

    assert sorted(dead_in(tmp_path)) == poisoned
    assert ledger.delivered == 200 - len(bad) + 41
    assert len(caplog.records) <= 2


@pytest.mark.parametrize("by", ["number", "trace id", "span id"])
def test_a_span_that_the_answer_names_is_set_aside_at_once(
    tmp_path: Path, server: OtlpServer, by: str
) -> None:
    body = batch("bad")
    (span,) = spans_in(body)
    answer = {
        "number": LANGFUSE,
        "trace id": span.trace_id.hex().encode(),
        "span id": span.span_id.hex().encode(),
    }
    server.reply = lambda _: Reply(400, b"cannot store " + answer[by])
    outbox, ledger = outbox_in(tmp_path, server)
    outbox.queue.add(body, 1)

    outbox.send()

    assert dead_in(tmp_path) == ["bad"]
    assert (server.requests, dict(ledger.lost), outbox.away) == (1, {"dead_letter": 1}, False)


def test_a_target_that_fails_for_one_span_only_has_it_set_aside(tmp_path: Path, server: OtlpServer) -> None:
    server.reply = rejecting(server, "poison", status=500)
    outbox, ledger = outbox_in(tmp_path, server)
    outbox.queue.add(batch("x", "poison", "y"), 3)
    for number in range(400):
        outbox.queue.add(batch(f"span {number}"), 1)
        try_again(outbox)

    assert {"x", "y"} < set(arrived(server))
    assert dead_in(tmp_path) == ["poison"]
    assert dict(ledger.lost) == {"dead_letter": 1}


def test_a_span_that_is_too_large_alone_is_set_aside(tmp_path: Path, server: OtlpServer) -> None:
    server.reply = lambda number: Reply(413 if len(server.raw[number]) > 5000 else 200)
    outbox, ledger = outbox_in(tmp_path, server)
    outbox.queue.add(batch("a", "x" * 9000, "b"), 3)

    deliver(outbox)

    assert arrived(server) == ["a", "b"]
    assert dead_in(tmp_path) == ["x" * 5000]  # shown to a limit
    assert dict(ledger.lost) == {"dead_letter": 1}


def test_a_fault_that_begins_while_a_bad_span_is_isolated_loses_nothing(
    tmp_path: Path, server: OtlpServer
) -> None:
    server.reply = lambda number: Reply(400 if number != 3 else 200)
    outbox, ledger = outbox_in(tmp_path, server)
    wanted = [f"span {number:02}" for number in range(64)]
    outbox.queue.add(batch(*wanted), 64)

    for _ in range(10):
        try_again(outbox)
    server.reply = lambda _: Reply()
    try_again(outbox)

    assert sorted([*arrived(server), *dead_in(tmp_path)]) == wanted
    assert len(dead_in(tmp_path)) < MAX_REJECTIONS
    assert outbox.queue.empty
    assert ledger.lost.keys() <= {"dead_letter"}


def test_without_files_a_bad_span_is_lost_and_a_configuration_fault_loses_nothing(server: OtlpServer) -> None:
    server.reply = lambda _: Reply(400)
    outbox, ledger = outbox_to(target(server.traces_url))
    outbox.queue.add(batch("a", "bad", "b"), 3)
    for _ in range(5):
        try_again(outbox)
    kept = dict(ledger.lost)
    server.reply = rejecting(server, "bad")

    deliver(outbox)

    assert kept == {}
    assert arrived(server) == ["a", "b"]
    assert dict(ledger.lost) == {"rejected": 1}


def test_a_bad_span_is_lost_if_it_cannot_be_written_down(tmp_path: Path, server: OtlpServer) -> None:
    (tmp_path / "dead").write_text("in the way")
    server.reply = rejecting(server, "bad")
    outbox, ledger = outbox_in(tmp_path, server)
    outbox.queue.add(batch("a", "bad"), 2)

    deliver(outbox)

    assert arrived(server) == ["a"]
    assert dict(ledger.lost) == {"rejected": 1}


@settings(max_examples=60, deadline=None)
@given(
    number_of_spans=st.integers(1, 24),
    bad=st.sets(st.integers(0, 23), max_size=4),
    killed_after=st.integers(0, 40),
)
def test_a_process_that_is_killed_while_it_isolates_loses_nothing_and_the_next_one_finishes(
    tmp_path_factory: pytest.TempPathFactory, number_of_spans: int, bad: set[int], killed_after: int
) -> None:
    directory = tmp_path_factory.mktemp("data")
    poisoned = {f"span {number:02}" for number in bad}
    wanted = [f"span {number:02}" for number in range(number_of_spans)]
    with otlp_server() as server:
        server.reply = rejecting(server, *poisoned)
        first, _ = outbox_in(directory, server)
        first.queue.add(batch(*wanted), number_of_spans)
        stops = iter(range(killed_after))
        first.send(stopping=lambda: next(stops, None) is None)
        first.queue.leave(1.0)  # what the kernel does to the locks of a process that is killed

        later, _ = outbox_in(directory, server)
        for _ in range(6):
            later.queue.add(batch("later"), 1)
            try_again(later)

        assert sorted([*arrived(server), *dead_in(directory)]) == sorted([*["later"] * 6, *wanted])
        assert set(dead_in(directory)) == poisoned & set(wanted)
        assert later.queue.empty


def test_a_bad_span_that_an_earlier_process_had_found_is_not_asked_about_again(
    tmp_path: Path, server: OtlpServer
) -> None:
    server.reply = rejecting(server, "bad")
    first, _ = outbox_in(tmp_path, server)
    first.queue.add(batch("bad", "good"), 2)
    first.send(stopping=lambda: len(server.spans) > 0)  # ends before the bad one is sent once more
    first.queue.leave(1.0)
    before = server.requests

    later, ledger = outbox_in(tmp_path, server)
    while server.requests == before or not later.queue.empty:
        try_again(later)

    assert server.requests == before + 1
    assert dead_in(tmp_path) == ["bad"]
    assert (dict(ledger.lost), later.away) == ({"dead_letter": 1}, False)


def test_what_an_answer_says_is_kept_as_one_bounded_printable_line() -> None:
    assert answer_text(b"a\r\n\x1b[2Jb\xff" + b"c" * 9999) == "a [2Jb " + "c" * 493


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff\xfe",
        b"400 The plain HTTP request was sent to HTTPS port",
        b"request id 4bf92f3577b34da6a3ce929d0e0e4736",
        b'{"error":"Failed to parse OTel Protobuf Trace"}',
        b"0 of 3 spans",
    ],
)
def test_other_answers_name_no_span(answer: bytes) -> None:
    assert not names_spans(answer, batch("a", "b", "c"))


def spans_in(body: bytes):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(body)
    return request.resource_spans[0].scope_spans[0].spans


SERVICE = """
    import time
    from somatrace import flush, init_tracing, span, status
    init_tracing("svc")
    for number in range(16):
        with span("bad" if number == 5 else f"span {number:02}", kind="workflow", tenant_id="acme"):
            pass
    flush(60)
"""
NEXT_START = """
    import time
    from somatrace import flush, init_tracing, span, status
    init_tracing("svc")
    until = time.monotonic() + 60
    while (not status().lost or status().queued_spans) and time.monotonic() < until:
        with span("later", kind="workflow", tenant_id="acme"):
            pass
        flush(60)
        time.sleep(0.02)
    print(dict(status().lost))
"""


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [1, 3, 5, 6])
def test_what_kill_leaves_of_a_batch_with_a_bad_span_is_sorted_out_by_the_next_start(
    tmp_path: Path, server: OtlpServer, killed_at: int
) -> None:
    env = {**os.environ, **otlp_env(server.url)}
    usual = rejecting(server, "bad")
    command = [sys.executable, "-c", textwrap.dedent(SERVICE)]

    def reply(number: int) -> Reply:
        if number == killed_at:
            process.kill()
            process.wait()
            return Reply(hang_up=True)
        return usual(number)

    ready = threading.Event()
    server.reply = lambda number: ready.wait(60) and reply(number)
    with subprocess.Popen(command, env=env) as process:
        ready.set()
        process.wait(120)
    server.reply = usual

    done = run_program(NEXT_START, env)

    assert done.stdout == "{'dead_letter': 1}\n"
    assert {f"span {number:02}" for number in range(16) if number != 5} == set(arrived(server)) - {"later"}
    assert dead_in(Path(env["SOMATRACE_DATA_DIR"])) == ["bad"]


KEEPING = """
    import logging, time
    from somatrace import flush, init_tracing, span, status
    logging.basicConfig(level=logging.INFO)
    init_tracing("svc")
    for number in range(16):
        with span(f"span {number:02}", kind="workflow", tenant_id="acme"):
            pass
    until = time.monotonic() + 60
    while status().available and time.monotonic() < until:
        flush(0.2)
    for _ in range(5):
        flush(0.2)
    print("\\n".join(status().problems))
    print(dict(status().lost), status().on_disk)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "more"),
    [
        ("LANGFUSE_BASE_URL", {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-1"}),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", {}),
    ],
)
def test_a_service_says_once_which_variable_to_check_and_keeps_its_spans(
    server: OtlpServer, variable: str, more: dict[str, str]
) -> None:
    server.reply = lambda _: Reply(400, b"canary of the target")

    done = run_program(KEEPING, {**more, variable: server.url})

    problem, counts = done.stdout.splitlines()
    [warning] = [line for line in done.stderr.splitlines() if "does not accept" in line]
    for text in (problem, warning):
        assert "400" in text
        assert f"check that {variable} is its address" in text
    assert counts == "{} 16"
    assert "canary" not in done.stdout + done.stderr
