"""Fate of a batch for each possible answer of an HTTP target, over real sockets."""

from __future__ import annotations

import socket
import struct
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from somatrace.delivery import otlp_http as http_module
from tests.delivery.support import (
    OK,
    answering,
    batch,
    deliver,
    http,
    names,
    outbox_to,
    raw_server,
    read_request,
    target,
)
from tests.support.otlp_server import Reply, otlp_server
from tests.support.ports import refusing_port
from tests.support.programs import run_program
from tests.support.waiting import HANG, wait_until


@pytest.fixture
def server():
    with otlp_server() as running:
        yield running


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_delivers_and_is_never_sent_again(server, status):
    server.reply = lambda _: Reply(status)
    outbox, ledger = outbox_to(target(server.traces_url))
    outbox.queue.add(batch("a", "b"), 2)

    deliver(outbox)

    assert [span.name for span in server.spans] == ["a", "b"]
    assert (ledger.delivered, dict(ledger.lost), server.requests) == (2, {}, 1)


def test_a_langfuse_job_in_the_answer_is_not_read_as_partial_success(server):
    server.reply = lambda _: Reply(200, b'{"id": "1"}', {"Content-Type": "application/json"})
    outbox, ledger = outbox_to(target(server.traces_url))
    outbox.queue.add(batch("a"), 1)

    deliver(outbox)

    assert (ledger.delivered, dict(ledger.lost)) == (1, {})


def test_partially_rejected_spans_are_counted_as_rejected(server):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    headers = {"Content-Type": "application/x-protobuf"}
    server.reply = lambda _: Reply(200, answer.SerializeToString(), headers)
    outbox, ledger = outbox_to(target(server.traces_url))
    outbox.queue.add(batch("a", "b", "c"), 3)

    deliver(outbox)

    assert (ledger.delivered, dict(ledger.lost), server.requests) == (1, {"rejected": 2}, 1)


@pytest.mark.parametrize("rejected", [99, -5])
def test_an_invalid_number_of_rejected_spans_does_not_break_the_count(server, rejected):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    headers = {"Content-Type": "application/x-protobuf"}
    server.reply = lambda _: Reply(200, answer.SerializeToString(), headers)
    outbox, ledger = outbox_to(target(server.traces_url))
    outbox.queue.add(batch("a", "b"), 2)

    deliver(outbox)

    assert ledger.delivered + ledger.lost.total() == 2
    assert ledger.delivered >= 0


@pytest.mark.parametrize("status", [400, 422])
def test_halving_finds_the_one_bad_span_and_the_others_arrive(server, status):
    server.reply = lambda number: Reply(status if "bad" in names(server.raw[number]) else 200)
    outbox, ledger = outbox_to(target(server.traces_url))
    wanted = [f"span {number}" for number in range(64)]
    outbox.queue.add(batch(*wanted[:40], "bad", *wanted[40:]), 65)

    deliver(outbox)

    assert [span.name for span in server.spans] == wanted
    assert (ledger.delivered, dict(ledger.lost)) == (64, {"rejected": 1})
    assert str(status) in ledger.last_error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "settings", "most"),
    [
        ("LANGFUSE_BASE_URL", {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-1"}, 200),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", {}, 512),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "700"}, 700),
    ],
    ids=["langfuse", "otlp", "a number that is set"],
)
def test_a_request_has_at_most_as_many_spans_as_its_target_takes(server, place, settings, most):
    server.reply = lambda number: Reply(503) if number == 0 else Reply()
    run_program(
        """
        from somatrace import flush, init_tracing, span, status
        init_tracing("svc")
        for number in range(3000):
            with span("work", kind="workflow", tenant_id="acme"):
                pass
        assert flush(60), status()
        """,
        {**settings, place: server.url},
    )

    sizes = [len(names(body)) for body in server.raw]
    assert max(sizes) == most
    assert len(server.spans) == 3000


def test_a_413_makes_smaller_batches_and_is_remembered(server):
    server.reply = lambda number: Reply(413 if len(names(server.raw[number])) > 8 else 200)
    outbox, ledger = outbox_to(target(server.traces_url))
    outbox.queue.add(batch(*["a"] * 64), 64)
    deliver(outbox)
    refused_at_first = sum(len(names(body)) > 8 for body in server.raw)

    outbox.queue.add(batch(*["a"] * 64), 64)
    deliver(outbox)

    assert (ledger.delivered, dict(ledger.lost)) == (128, {})
    assert sum(len(names(body)) > 8 for body in server.raw) == refused_at_first


def test_a_413_sent_before_the_body_was_read_is_noticed():
    def hasty(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):  # as nginx does: a lingering close
            pass

    with raw_server(hasty) as port:
        transport = http(target(f"http://127.0.0.1:{port}/v1/traces", compression="none"))
        answer = transport.send(b"x" * 20_000_000, 5)

    assert answer.outcome == "too_large"


def test_a_single_oversized_span_is_counted_as_too_large_once_others_are_accepted(server):
    server.reply = lambda number: Reply(413 if "large" in names(server.raw[number]) else 200)
    outbox, ledger = outbox_to(target(server.traces_url))
    outbox.queue.add(batch("large"), 1)
    outbox.queue.add(batch("small"), 1)

    deliver(outbox)

    assert dict(ledger.lost) == {"too_large": 1}


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "public and secret key"),
        (403, "not allowed to write"),
        (404, "/api/public/otel/v1/traces"),
        (405, "/v1/traces"),
        (407, "proxy"),
        (415, "compression"),
        (301, "redirects"),
        (303, "redirects"),
        (308, "redirects"),
        (418, "418"),
    ],
)
def test_a_configuration_error_is_explained_and_the_spans_wait(server, status, says):
    server.reply = lambda _: Reply(status, b"words of the target", {"Location": "http://192.0.2.1/"})
    outbox, ledger = outbox_to(target(server.traces_url))
    outbox.queue.add(batch("a"), 1)

    wait = outbox.send()

    assert says in ledger.last_error
    assert "words of the target" not in ledger.last_error
    assert not outbox.queue.empty
    assert wait is not None
    assert wait > 1
    assert server.requests == 1


def test_a_rejected_key_is_reread_and_the_batch_arrives_with_the_new_one(server):
    def reply(number: int) -> Reply:
        return Reply(200 if server.headers[number]["authorization"] == "new" else 401)

    server.reply = reply
    fresh = [http(target(server.traces_url, headers={"Authorization": "new"}))]
    outbox, ledger = outbox_to(
        target(server.traces_url, headers={"Authorization": "old"}),
        renew=lambda: fresh.pop() if fresh else None,
    )
    outbox.queue.add(batch("a"), 1)

    outbox.send()

    assert [span.name for span in server.spans] == ["a"]
    assert (ledger.delivered, outbox.away) == (1, False)


def test_an_error_while_rereading_keys_leaves_the_spans_waiting(server):
    def broken() -> None:
        raise RuntimeError

    server.reply = lambda _: Reply(401)
    outbox, _ = outbox_to(target(server.traces_url), renew=broken)
    outbox.queue.add(batch("a"), 1)

    assert outbox.send() is not None
    assert not outbox.queue.empty


def seconds(wait: int) -> str:
    return str(wait)


def date(wait: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=wait), usegmt=True)


@pytest.mark.parametrize("form", [seconds, date])
@pytest.mark.parametrize("status", [429, 503])
def test_both_forms_of_retry_after_are_honored_even_when_urgent(server, form, status):
    server.reply = lambda _: Reply(status, headers={"Retry-After": form(20)})
    outbox, _ = outbox_to(target(server.traces_url))
    outbox.queue.add(batch("a"), 1)

    wait = outbox.send()
    hurried = outbox.send(hurry=True)

    assert 15 < (wait or 0) <= 31
    assert 15 < (hurried or 0) <= 20
    assert server.requests == 1


@pytest.mark.parametrize("value", ["soon", "-1", "1e9", "99999999999999999999", "Mon, 99 Foo", "\u00b2"])
def test_an_invalid_retry_after_keeps_the_wait_bounded(server, value):
    server.reply = lambda _: Reply(429, headers={"Retry-After": value})
    outbox, _ = outbox_to(target(server.traces_url))
    outbox.queue.add(batch("a"), 1)

    wait = outbox.send()

    assert 0 <= (wait or 0) <= 300


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_temporary_failure_is_retried_until_the_batch_arrives(server, status):
    server.reply = lambda number: Reply(status if number < 2 else 200)
    outbox, ledger = outbox_to(target(server.traces_url))
    outbox.queue.add(batch("a"), 1)

    deliver(outbox)

    assert (ledger.delivered, ledger.resent_ambiguous, server.requests) == (1, 0, 3)


def test_a_batch_that_always_fails_does_not_hold_up_the_others(server, monkeypatch):
    monkeypatch.setattr("somatrace.delivery.outbox.FIRST_WAIT", 0.001)
    monkeypatch.setattr("somatrace.delivery.outbox.LONGEST_WAIT", 0.002)
    server.reply = lambda number: Reply(500 if "poison" in names(server.raw[number]) else 200)
    outbox, ledger = outbox_to(target(server.traces_url))
    outbox.queue.add(batch("x", "poison", "y"), 3)
    wanted = []
    for number in range(60):
        wanted.append(f"span {number}")
        outbox.queue.add(batch(wanted[-1]), 1)
        outbox.send()
        time.sleep(0.003)

    deliver(outbox)
    for _ in range(200):
        outbox.queue.add(batch("more"), 1)
        outbox.send()
        time.sleep(0.003)

    arrived = [span.name for span in server.spans]
    assert sorted(name for name in arrived if name.startswith("span")) == sorted(wanted)  # a probe goes first
    assert {"x", "y"} < set(arrived)
    assert ledger.lost["rejected"] + len(outbox.queue._waiting) == 1


def test_a_refused_connection_is_retried():
    with refusing_port() as port:
        outbox, ledger = outbox_to(target(f"http://127.0.0.1:{port}/v1/traces"))
        outbox.queue.add(batch("a"), 1)

        outbox.send()

    assert "connection refused" in ledger.last_error.lower()
    assert (outbox.queue.empty, ledger.resent_ambiguous) == (False, 0)


def reset(connection: socket.socket) -> None:
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang_up(connection: socket.socket) -> None:
    read_request(connection)
    connection.close()


def silence(connection: socket.socket) -> None:
    read_request(connection)
    time.sleep(60)


def drip(connection: socket.socket) -> None:
    read_request(connection)
    for byte in OK * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.2)


def never_read(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    time.sleep(60)


@pytest.mark.parametrize(
    ("script", "limit"),
    [
        (reset, HANG),
        (hang_up, HANG),
        (answering(b"\x00\xffgarbage\r\n\r\n", close=True), HANG),
        # in that time the whole request must have been written
        (silence, 2.0),
        (drip, 2.0),
    ],
)
def test_a_batch_without_an_answer_is_sent_again_and_counted_as_ambiguous(script, limit):
    with raw_server(script, answering(OK)) as port:
        outbox, ledger = outbox_to(target(f"http://127.0.0.1:{port}/v1/traces"), timeout=limit)
        outbox.queue.add(batch("a", "b"), 2)
        started = time.monotonic()

        outbox.send()
        outbox._timeout = HANG  # the answer to the second try may take its time
        deliver(outbox)

    assert time.monotonic() - started < 30  # the silent one takes 60
    assert (ledger.delivered, ledger.resent_ambiguous) == (2, 2)


def test_a_target_that_does_not_read_times_out_without_ambiguity():
    with raw_server(never_read) as port:
        transport = http(target(f"http://127.0.0.1:{port}/v1/traces", compression="none"))
        started = time.monotonic()

        answer = transport.send(b"x" * 50_000_000, 0.5)

    assert time.monotonic() - started < 30  # the other end takes 60
    assert (answer.outcome, answer.ambiguous) == ("retry", False)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 3\r\n\r\n\xff\xff\xff",
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
)
def test_a_batch_answered_with_2xx_is_delivered_whatever_follows(data):
    with raw_server(answering(data, close=True)) as port:
        outbox, ledger = outbox_to(target(f"http://127.0.0.1:{port}/v1/traces"), timeout=60.0)
        outbox.queue.add(batch("a"), 1)

        outbox.send()

    assert (ledger.delivered, ledger.resent_ambiguous, outbox.queue.empty) == (1, 0, True)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000,
        b"HTTP/9.9 wat\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"HTTP/1.1 " + b"9" * 5000 + b"\r\n\r\n",
    ],
)
def test_an_invalid_answer_is_retried(data):
    with raw_server(answering(data, close=True)) as port:
        transport = http(target(f"http://127.0.0.1:{port}/v1/traces"))
        answer = transport.send(batch("a"), 1)

    assert answer.outcome == "retry"
    assert len(answer.message) < 200


def test_one_connection_is_reused_for_many_batches():
    heads = []

    def script(connection: socket.socket) -> None:
        while True:
            heads.append((read_request(connection)[0], connection.getpeername()))
            connection.sendall(OK)

    with raw_server(script) as port:
        transport = http(target(f"http://127.0.0.1:{port}/v1/traces"))
        outcomes = [transport.send(batch("a"), 60).outcome for _ in range(10)]

    assert outcomes == ["accepted"] * 10
    assert len({peer for _, peer in heads}) == 1


def test_an_idle_connection_closed_by_the_target_causes_no_retry():
    def once(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)
        connection.close()
        closed.append(connection)

    closed: list[socket.socket] = []
    with raw_server(once) as port:
        transport = http(target(f"http://127.0.0.1:{port}/v1/traces"))
        answers = []
        for number in range(5):
            answers.append(transport.send(batch("a"), 60))
            wait_until(lambda: len(closed) > number)  # noqa: B023 - called at once

    assert [answer.outcome for answer in answers] == ["accepted"] * 5


def test_an_old_connection_is_renewed_so_that_load_balancers_and_dns_changes_work(monkeypatch):
    peers = []

    def script(connection: socket.socket) -> None:
        while True:
            read_request(connection)
            peers.append(connection.getpeername())
            connection.sendall(OK)

    monkeypatch.setattr(http_module, "MAX_AGE", 0.0)
    with raw_server(script) as port:
        transport = http(target(f"http://127.0.0.1:{port}/v1/traces"))
        transport.send(batch("a"), 60)
        transport.send(batch("a"), 60)

    assert len(set(peers)) == 2


@pytest.mark.parametrize("compression", ["gzip", "deflate", "none"])
def test_each_compression_arrives_whole_with_the_headers_of_the_target(server, compression):
    headers = {"X-Custom": "kept", "Authorization": "Basic abc"}
    outbox, ledger = outbox_to(target(server.traces_url, compression=compression, headers=headers))
    outbox.queue.add(batch(*["a"] * 100), 100)

    deliver(outbox)

    assert len(server.spans) == 100
    assert server.headers[0].get("content-encoding", "none") == compression
    assert server.headers[0]["x-custom"] == "kept"
    assert server.headers[0]["authorization"] == "Basic abc"
    assert server.headers[0]["content-type"] == "application/x-protobuf"
    assert server.paths == ["/v1/traces"]
    assert ledger.delivered == 100


def test_the_query_of_a_url_is_sent_but_never_reported(server):
    outbox, ledger = outbox_to(target(f"{server.url}/in?token=canary-query"))
    server.reply = lambda number: Reply(500 if number == 0 else 200)
    outbox.queue.add(batch("a"), 1)

    deliver(outbox)

    assert server.paths[-1] == "/in?token=canary-query"
    assert "canary" not in ledger.last_error


def test_messages_contain_no_userinfo_and_no_header():
    url = "http://canary-user:canary-password@127.0.0.1:9/v1/traces"
    transport = http(target(url, headers={"Authorization": "canary-header"}))

    answer = transport.send(batch("a"), 1)

    assert "canary" not in answer.message
    assert "127.0.0.1:9" in answer.message


def test_an_invalid_header_is_reported_without_its_value():
    with raw_server(answering(OK)) as port:
        place = target(f"http://127.0.0.1:{port}/", headers={"Authorization": "canary\r\nX: y"})
        answer = http(place).send(batch("a"), 1)

    assert answer.outcome == "misconfigured"
    assert "canary" not in answer.message


def test_ipv6_works():
    with raw_server(answering(OK), host="::1") as port:
        answer = http(target(f"http://[::1]:{port}/v1/traces")).send(batch("a"), 60)

    assert answer.outcome == "accepted"


def test_an_unresolvable_host_is_reported():
    answer = http(target("http://nowhere.invalid:4318/v1/traces")).send(batch("a"), 60)

    assert answer.outcome == "retry"
    assert "does not resolve" in answer.message


@pytest.mark.parametrize("script", [silence, drip, never_read])
def test_an_interrupted_send_returns_at_once(script):
    reached = threading.Event()

    def reporting(connection: socket.socket) -> None:
        reached.set()
        script(connection)

    with raw_server(reporting) as port:
        transport = http(target(f"http://127.0.0.1:{port}/v1/traces", compression="none"))
        answers = []
        sending = threading.Thread(target=lambda: answers.append(transport.send(b"x" * 50_000_000, 200)))
        sending.start()
        assert reached.wait(HANG)

        transport.interrupt()
        sending.join(60)

    assert not sending.is_alive()
    assert answers[0].outcome == "retry"


def test_a_transport_works_again_after_it_was_interrupted(server):
    transport = http(target(server.traces_url))
    transport.send(batch("a"), 60)

    transport.interrupt()

    assert "accepted" in [transport.send(batch("b"), 60).outcome for _ in range(2)]
