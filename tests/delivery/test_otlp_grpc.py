"""OTLP over gRPC, against a real grpcio server."""

from __future__ import annotations

import threading
import time
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from somatrace.config import Target
from somatrace.delivery.otlp_grpc import GrpcTransport
from tests.delivery.support import batch, dead_in, dead_letters_in, deliver, journal_in, names, outbox_to
from tests.support.ports import refusing_port
from tests.support.programs import run_program

grpc = pytest.importorskip("grpc", reason="the extra grpc")


class Service(grpc.GenericRpcHandler):
    """Accepts spans; `fail` may abort a call, numbered from 0."""

    def __init__(self, fail) -> None:
        self.spans: list[str] = []
        self.metadata: list[dict[str, str]] = []
        self.answer = b""
        self._fail = fail

    def service(self, call):
        if call.method != "/opentelemetry.proto.collector.trace.v1.TraceService/Export":
            return None
        return grpc.unary_unary_rpc_method_handler(self._export)

    def _export(self, body: bytes, context) -> bytes:
        number = len(self.metadata)
        self.metadata.append(dict(context.invocation_metadata()))
        self._fail(number, body, context)
        self.spans += names(body)
        return self.answer


@contextmanager
def grpc_server(fail=lambda number, body, context: None, credentials=None, options=(), port=0):
    service = Service(fail)
    server = grpc.server(futures.ThreadPoolExecutor(4), (service,), options=options)
    address = f"127.0.0.1:{port}"
    port = (
        server.add_secure_port(address, credentials)
        if credentials is not None
        else server.add_insecure_port(address)
    )
    server.start()
    try:
        yield service, port
    finally:
        server.stop(0).wait(60)


@contextmanager
def transport_to(port: int, **more):
    settings = {"insecure": True, "compression": "none", **more}
    transport = GrpcTransport(Target("otlp", f"127.0.0.1:{port}", "grpc", **settings))
    try:
        yield transport
    finally:
        transport.close()


def aborting(code: str, times: int = 1, details: str = "canary words"):
    def fail(number, body, context) -> None:
        if number < times:
            context.abort(getattr(grpc.StatusCode, code), details)

    return fail


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_spans_arrive_with_the_headers_of_the_target(compression):
    with (
        grpc_server() as (service, port),
        transport_to(port, compression=compression, headers={"X-Key": "value"}) as transport,
    ):
        answers = [transport.send(batch("a", "b"), 60) for _ in range(2)]

    assert [answer.outcome for answer in answers] == ["accepted", "accepted"]
    assert service.spans == ["a", "b"] * 2
    assert service.metadata[0]["x-key"] == "value"


def test_partially_rejected_spans_are_counted():
    with grpc_server() as (service, port), transport_to(port) as transport:
        partial = ExportTraceServiceResponse()
        partial.partial_success.rejected_spans = 1
        service.answer = partial.SerializeToString()
        answer = transport.send(batch("a", "b"), 60)

    assert (answer.outcome, answer.rejected) == ("accepted", 1)


@pytest.mark.parametrize(
    "code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "DEADLINE_EXCEEDED", "CANCELLED"]
)
def test_a_temporary_failure_is_retried_until_the_batch_arrives(code):
    with grpc_server(aborting(code, 2)) as (service, port), transport_to(port) as transport:
        outbox, ledger = outbox_to(transport)
        outbox.queue.add(batch("a"), 1)
        deliver(outbox)

    assert service.spans == ["a"]
    assert ledger.delivered == 1
    assert code in ledger.last_error
    assert "canary" not in ledger.last_error


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND"])
def test_a_configuration_error_is_reported_and_not_retried_at_once(code):
    with grpc_server(aborting(code, 99)) as (service, port), transport_to(port) as transport:
        outbox, ledger = outbox_to(transport)
        outbox.queue.add(batch("a"), 1)
        wait = outbox.send()

    assert (wait or 0) > 1
    assert code in ledger.last_error
    assert len(service.metadata) == 1


def test_halving_finds_the_one_bad_span():
    def fail(number, body, context) -> None:
        if "bad" in names(body):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")

    with grpc_server(fail) as (service, port), transport_to(port) as transport:
        outbox, ledger = outbox_to(transport)
        outbox.queue.add(batch("a", "bad", "b", "c"), 4)
        deliver(outbox)

    assert sorted(service.spans) == ["a", "b", "c"]
    assert dict(ledger.lost) == {"rejected": 1}


def test_a_target_that_rejects_everything_loses_nothing():
    is_wrong = [True]

    def fail(number, body, context) -> None:
        if is_wrong[0]:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "canary")

    with grpc_server(fail) as (service, port), transport_to(port) as transport:
        outbox, ledger = outbox_to(transport)
        outbox.queue.add(batch("a", "b", "c", "d"), 4)
        for _ in range(30):
            outbox.send(hurry=True)
        problem, lost = ledger.last_error, dict(ledger.lost)
        is_wrong[0] = False
        outbox.send(hurry=True)

    assert lost == {}
    assert "INVALID_ARGUMENT" in problem
    assert "canary" not in problem
    assert sorted(service.spans) == ["a", "b", "c", "d"]


def test_a_span_that_the_details_name_is_set_aside_at_once(tmp_path):
    body = batch("bad")
    request = ExportTraceServiceRequest.FromString(body)
    named = request.resource_spans[0].scope_spans[0].spans[0].trace_id.hex()

    def fail(number, body, context) -> None:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"cannot store {named}")

    with grpc_server(fail) as (_, port), transport_to(port) as transport:
        outbox, ledger = outbox_to(
            transport, journal=journal_in(tmp_path), dead_letters=dead_letters_in(tmp_path)
        )
        outbox.queue.add(body, 1)
        outbox.send()

    assert dict(ledger.lost) == {"dead_letter": 1}
    assert dead_in(tmp_path) == ["bad"]


def test_a_batch_over_the_server_limit_is_split():
    options = [("grpc.max_receive_message_length", 1000)]
    with grpc_server(options=options) as (service, port), transport_to(port) as transport:
        outbox, ledger = outbox_to(transport)
        outbox.queue.add(batch(*["a"] * 100), 100)
        deliver(outbox)

    assert len(service.spans) == ledger.delivered == 100


def test_an_unanswered_call_times_out_as_ambiguous():
    release = threading.Event()
    with (
        grpc_server(lambda number, body, context: release.wait(60)) as (_, port),
        transport_to(port) as transport,
    ):
        started = time.monotonic()
        answer = transport.send(batch("a"), 0.3)
        took = time.monotonic() - started
        release.set()

    assert (answer.outcome, answer.ambiguous) == ("retry", True)
    assert took < 30  # the server takes 60


def test_a_refused_connection_is_not_ambiguous():
    with refusing_port() as port, transport_to(port) as transport:
        answer = transport.send(batch("a"), 60)

    assert (answer.outcome, answer.ambiguous) == ("retry", False)


def test_an_interrupted_send_returns_and_the_next_works():
    asked, release = threading.Event(), threading.Event()

    def fail(number, body, context) -> None:
        if number == 0:
            asked.set()
            release.wait(60)

    with grpc_server(fail) as (_, port), transport_to(port) as transport:
        answers = []
        sending = threading.Thread(target=lambda: answers.append(transport.send(batch("a"), 120)))
        sending.start()
        assert asked.wait(60)
        transport.interrupt()
        sending.join(60)
        assert not sending.is_alive()
        release.set()
        again = transport.send(batch("b"), 60)

    assert answers[0].outcome == "retry"
    assert again.outcome == "accepted"


def test_tls_with_a_client_certificate_replaced_while_running(tmp_path):
    authority = trustme.CA()
    ca, certificate, key = tmp_path / "ca.pem", tmp_path / "client.pem", tmp_path / "client.key"
    authority.cert_pem.write_to_path(ca)
    seen = []

    def fail(number, body, context) -> None:
        seen.append(context.auth_context()["x509_subject_alternative_name"][0])

    def issue(name: str, certificates: trustme.CA = authority) -> None:
        issued = certificates.issue_cert(name)
        issued.private_key_pem.write_to_path(key)
        issued.cert_chain_pems[0].write_to_path(certificate)

    issued = authority.issue_cert("127.0.0.1")
    credentials = grpc.ssl_server_credentials(
        [(issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())],
        authority.cert_pem.bytes(),
        require_client_auth=True,
    )
    issue("first.example")
    files = {"certificate": str(ca), "client_certificate": str(certificate), "client_key": str(key)}
    with (
        grpc_server(fail, credentials) as (service, port),
        transport_to(port, insecure=False, **files) as transport,
    ):
        first = transport.send(batch("a"), 60)
        issue("second.example")
        second = transport.send(batch("b"), 60)

    assert [first.outcome, second.outcome] == ["accepted", "accepted"]
    assert service.spans == ["a", "b"]
    assert seen == [b"first.example", b"second.example"]


def test_an_unreadable_certificate_is_reported():
    with transport_to(9, insecure=False, certificate="/nowhere/ca.pem") as transport:
        answer = transport.send(batch("a"), 1)

    assert answer.outcome == "misconfigured"
    assert "certificate" in answer.message


PROGRAM = """
import os, sys, time
from somatrace import flush, init_tracing, span, status
from somatrace.delivery import otlp_grpc
from somatrace.runtime import fork
otlp_grpc._END_TIMEOUT = fork._KERNEL_LIMIT = 60.0  # of a busy machine's fork
init_tracing("grpc")
"""


def env(port: int) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }


def test_a_fork_after_use_does_not_hang_and_each_process_sends_its_own():
    with grpc_server() as (service, port):
        done = run_program(
            PROGRAM
            + """
for _ in range(3):
    with span("parent"): pass
    assert flush(60), status()
    pid = os.fork()
    if pid == 0:
        with span("child"): pass
        os._exit(0 if flush(60) else 1)
    assert os.waitpid(pid, 0)[1] == 0
with span("parent"): pass
assert flush(60), status()
""",
            env(port),
            timeout=180,
        )

    assert sorted(service.spans) == ["child"] * 3 + ["parent"] * 4
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux lists the names of threads")
def test_forks_wait_until_grpc_has_ended():
    """gRPC ends after its channel: a child forked in between could wait forever for a lock."""
    seen = """
import os
from pathlib import Path
def look():
    print(*[task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()], sep=",")
os.register_at_fork(before=look)  # older than ours, so it runs after ours
"""
    with grpc_server() as (_, port):
        done = run_program(
            seen
            + PROGRAM
            + """
for _ in range(10):
    with span("parent"): pass
    assert flush(60), status()
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
""",
            env(port),
            timeout=180,
        )

    lines = done.stdout.split()
    assert len(lines) == 10
    assert len(set(lines)) == 1, lines
    assert "," not in lines[0]


def test_the_exit_is_bounded_when_the_server_hangs():
    release = threading.Event()
    with grpc_server(lambda number, body, context: release.wait(60)) as (_, port):
        done = run_program(PROGRAM + "with span('one'): pass\nprint(time.monotonic())\n", env(port))
        took = time.monotonic() - float(done.stdout)
        release.set()

    assert done.stderr.startswith("unsent spans on disk: 1; ")
    assert done.stderr.count("\n") == 1
    assert took < 40  # the server takes 60; of ours is one, the rest a busy machine may need


def test_an_interruption_while_a_call_is_being_made_ends_it(monkeypatch):
    release = threading.Event()
    with (
        grpc_server(lambda number, body, context: release.wait(60)) as (_, port),
        transport_to(port) as transport,
    ):

        class Channel:
            def unary_unary(self, method):
                call = real.unary_unary(method)

                class Call:
                    def future(self, *args, **kwargs):
                        pending = call.future(*args, **kwargs)
                        transport.interrupt()  # by another thread, before the transport knows the call
                        return pending

                return Call()

            def close(self):
                real.close()

        real = transport._open()
        monkeypatch.setattr(transport, "_open", Channel)
        answer = transport.send(batch("a"), 50)
        release.set()

    assert (answer.outcome, "CANCELLED" in answer.message) == ("retry", True)
