"""A target that fails gets one request at a time, as a probe; once that is accepted, everything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from somatrace.delivery.outbox import LONGEST_WAIT, LONGEST_WAIT_MISCONFIGURED, Outbox
from tests.delivery.support import batch, names, outbox_to, target
from tests.support.otlp_server import OtlpServer, Reply, otlp_server

WAITING = 40


@pytest.fixture
def server() -> Iterator[OtlpServer]:
    with otlp_server() as running:
        yield running


def full_outbox(server: OtlpServer) -> Outbox:
    """Batches that are too large to be sent as one request."""
    outbox, _ = outbox_to(target(server.traces_url), max_bytes=1 << 24)
    for number in range(WAITING):
        outbox.queue.add(batch(*[f"{number}.{place}" for place in range(400)]), 400)
    return outbox


def wait_is_over(outbox: Outbox) -> None:
    outbox._next = outbox._not_before = 0.0


@pytest.mark.parametrize(
    ("failure", "longest"),
    [
        (Reply(503), LONGEST_WAIT),
        (Reply(500), LONGEST_WAIT),
        (Reply(429), LONGEST_WAIT),
        (Reply(401), LONGEST_WAIT_MISCONFIGURED),
        (Reply(404), LONGEST_WAIT_MISCONFIGURED),
        (Reply(400), LONGEST_WAIT_MISCONFIGURED),
        (Reply(hang_up=True), LONGEST_WAIT),
    ],
    ids=["503", "500", "429", "401", "404", "400", "hangs up"],
)
def test_a_failing_target_gets_one_request_for_each_wait(
    server: OtlpServer, failure: Reply, longest: float
) -> None:
    server.reply = lambda _: failure
    outbox = full_outbox(server)
    while not outbox.away:  # a 400 is not taken for a fault of the target at first
        outbox.send()
        wait_is_over(outbox)

    for _ in range(6):
        wait_is_over(outbox)
        before = server.requests
        wait = outbox.send()
        outbox.queue.add(batch("new"), 1)  # wakes the sender of a service
        again = outbox.send()

        assert server.requests == before + 1
        assert wait is not None
        assert again is not None
        assert 0 < again <= wait <= longest


def test_everything_is_sent_at_once_when_a_probe_is_accepted(server: OtlpServer) -> None:
    server.reply = lambda _: Reply(503)
    outbox = full_outbox(server)
    for _ in range(5):
        outbox.send()
        wait_is_over(outbox)
    failed = server.requests
    server.reply = lambda _: Reply()

    rest = outbox.send()

    assert rest is None
    assert outbox.queue.empty
    assert server.requests == failed + WAITING
    assert len({span.name for span in server.spans}) == len(server.spans) == 400 * WAITING


def test_a_probe_is_one_small_batch(server: OtlpServer) -> None:
    server.reply = lambda number: Reply(503 if number < 3 else 200)
    outbox, _ = outbox_to(target(server.traces_url))
    for size in (50, 40, 1, 30):
        outbox.queue.add(batch(*[f"{size}.{place}" for place in range(size)]), size)

    for _ in range(4):
        wait_is_over(outbox)
        outbox.send()

    assert [len(names(body)) for body in server.raw] == [121, 1, 1, 1, 120]
    assert len({span.name for span in server.spans}) == 121


def test_a_small_batch_that_always_fails_does_not_keep_others_from_being_probes(server: OtlpServer) -> None:
    is_away = [True]
    server.reply = lambda number: Reply(500 if is_away[0] or "poison" in names(server.raw[number]) else 200)
    outbox, _ = outbox_to(target(server.traces_url))
    outbox.queue.add(batch("poison"), 1)
    for number in range(5):
        outbox.queue.add(batch(f"{number}", "another"), 2)
    for _ in range(20):
        wait_is_over(outbox)
        outbox.send()
    is_away[0] = False

    for _ in range(5):
        wait_is_over(outbox)
        outbox.send()

    assert sorted(span.name for span in server.spans if span.name != "another") == list("01234")


def test_a_probe_that_fails_after_some_were_accepted_stops_the_rest(server: OtlpServer) -> None:
    server.reply = lambda number: Reply(200 if number == 1 else 503)
    outbox = full_outbox(server)
    outbox.send()
    wait_is_over(outbox)

    wait = outbox.send()

    assert server.requests == 3
    assert wait is not None
    assert len(names(server.raw[1])) == len(server.spans)


def test_a_time_that_the_target_asks_for_is_waited_even_by_a_flush(server: OtlpServer) -> None:
    server.reply = lambda _: Reply(429, headers={"Retry-After": "300"})
    outbox = full_outbox(server)
    outbox.send()

    wait = outbox.send(hurry=True)

    assert server.requests == 1
    assert wait is not None
    assert wait > LONGEST_WAIT


def test_a_flush_is_a_probe_that_comes_early(server: OtlpServer) -> None:
    server.reply = lambda _: Reply(503)
    outbox = full_outbox(server)
    for _ in range(10):
        outbox.send(hurry=True)
    assert server.requests == 10
    server.reply = lambda _: Reply()

    outbox.send(hurry=True)

    assert outbox.queue.empty


def test_no_wait_is_left_over_from_before_a_probe_was_accepted(server: OtlpServer) -> None:
    server.reply = lambda _: Reply(503)
    outbox = full_outbox(server)
    for _ in range(10):
        outbox.send(hurry=True)
    server.reply = lambda _: Reply()
    outbox.send(hurry=True)
    outbox.queue.add(batch("new"), 1)

    outbox.send()

    assert len(server.named("new")) == 1


def test_the_return_of_a_grpc_target_is_noticed_with_the_next_probe() -> None:
    pytest.importorskip("grpc", reason="the extra grpc")
    from tests.delivery.test_otlp_grpc import grpc_server, transport_to

    with grpc_server() as (_, port):
        pass
    with transport_to(port) as transport:
        outbox, _ = outbox_to(transport, timeout=60.0)
        outbox.queue.add(batch("a"), 1)
        for _ in range(4):
            outbox.send(hurry=True)
        was_away = outbox.away
        with grpc_server(port=port) as (service, _):
            outbox.send(hurry=True)

    assert was_away
    assert service.spans == ["a"]


def test_a_grpc_target_is_probed_in_the_same_way() -> None:
    grpc = pytest.importorskip("grpc", reason="the extra grpc")
    from tests.delivery.test_otlp_grpc import grpc_server, transport_to

    is_up = [False]

    def fail(_number, _body, context) -> None:
        if not is_up[0]:
            context.abort(grpc.StatusCode.UNAVAILABLE, "")

    with ExitStack() as stack:
        service, port = stack.enter_context(grpc_server(fail))
        outbox, _ = outbox_to(stack.enter_context(transport_to(port)), max_bytes=1 << 24, timeout=60.0)
        for number in range(10):
            outbox.queue.add(batch(*[f"{number}.{place}" for place in range(400)]), 400)
        for _ in range(5):
            outbox.send()
            wait_is_over(outbox)
        probes = len(service.metadata)
        is_up[0] = True
        outbox.send()

    assert probes == 5
    assert len(service.spans) == 4000
    assert outbox.queue.empty
