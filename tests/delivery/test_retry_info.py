"""The time that a gRPC target asks for: read as google.rpc.RetryInfo says, and obeyed like `Retry-After`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somatrace.delivery.outbox import LONGEST_RETRY_AFTER, LONGEST_WAIT
from somatrace.delivery.retry_info import KEY, retry_delay
from tests.delivery.support import batch, dead_in, dead_letters_in, journal_in, names, outbox_to
from tests.delivery.test_otlp_grpc import grpc_server, transport_to

grpc = pytest.importorskip("grpc", reason="the extra grpc")
error_details = pytest.importorskip("google.rpc.error_details_pb2", reason="its messages, to compare with")
status = pytest.importorskip("google.rpc.status_pb2", reason="its messages, to compare with")


def details_of(*details: Any) -> bytes:
    """A serialized google.rpc.Status."""
    made = status.Status(code=14, message="canary")
    for detail in details:
        made.details.add().Pack(detail)
    return made.SerializeToString()


def retry_info(seconds: int, nanos: int = 0) -> Any:
    made = error_details.RetryInfo()
    made.retry_delay.seconds, made.retry_delay.nanos = seconds, nanos
    return made


def asking(code: str, details: bytes, times: int = 99):
    """A server that fails the first calls, with details."""

    def fail(number, _body, context) -> None:
        if number < times:
            context.set_trailing_metadata(((KEY, details),))
            context.abort(getattr(grpc.StatusCode, code), "canary")

    return fail


@given(seconds=st.integers(0, 10**9), nanos=st.integers(0, 999_999_999))
def test_a_delay_is_read(seconds: int, nanos: int) -> None:
    other = error_details.ErrorInfo(reason="canary")

    assert retry_delay(details_of(other, retry_info(seconds, nanos))) == seconds + nanos / 1e9


def test_a_retry_info_without_a_delay_says_that_there_is_no_need_to_wait() -> None:
    assert retry_delay(details_of(error_details.RetryInfo())) == 0


@pytest.mark.parametrize(
    "details",
    [
        b"",
        b"\xff" * 100,
        details_of(),
        details_of(error_details.ErrorInfo(reason="google.rpc.RetryInfo")),
        details_of(retry_info(-1)),
        details_of(retry_info(0, -1)),
        details_of(retry_info(0, 10**9)),
        details_of(retry_info(1 << 62)),
        details_of(retry_info(300))[:-1],
        details_of(error_details.ErrorInfo(reason="x" * 20_000), retry_info(300)),
    ],
    ids=[
        "empty",
        "no message",
        "no details",
        "another detail",
        "negative seconds",
        "negative nanoseconds",
        "too many nanoseconds",
        "too many seconds",
        "cut off",
        "too large",
    ],
)
def test_other_details_say_nothing(details: bytes) -> None:
    assert retry_delay(details) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_delay_that_can_be_waited_or_none(details: bytes) -> None:
    found = retry_delay(details)

    assert found is None or found >= 0


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_the_time_that_a_target_asks_for_is_waited_even_by_a_flush(code: str) -> None:
    with (
        grpc_server(asking(code, details_of(retry_info(200)))) as (service, port),
        transport_to(port) as transport,
    ):
        outbox, _ = outbox_to(transport, timeout=60.0)
        outbox.queue.add(batch("a"), 1)
        asked = outbox.send()
        flushed = outbox.send(hurry=True)

    assert asked is not None
    assert flushed is not None
    assert LONGEST_WAIT < flushed <= asked <= 200
    assert len(service.metadata) == 1


def test_an_excessive_time_is_capped_at_minutes() -> None:
    with (
        grpc_server(asking("UNAVAILABLE", details_of(retry_info(10**9)))) as (_, port),
        transport_to(port) as transport,
    ):
        outbox, _ = outbox_to(transport, timeout=60.0)
        outbox.queue.add(batch("a"), 1)
        wait = outbox.send()

    assert wait is not None
    assert LONGEST_WAIT < wait <= LONGEST_RETRY_AFTER


def test_a_batch_that_a_target_has_no_resources_for_while_it_takes_others_is_set_aside(tmp_path) -> None:
    def fail(_number, body, context) -> None:
        if "bad" in names(body):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "canary")

    with grpc_server(fail) as (service, port), transport_to(port) as transport:
        outbox, ledger = outbox_to(
            transport, journal=journal_in(tmp_path), dead_letters=dead_letters_in(tmp_path), timeout=60.0
        )
        outbox.queue.add(batch("bad"), 1)
        for number in range(60):
            outbox.queue.add(batch(str(number)), 1)
            outbox.send(hurry=True)

    assert dead_in(tmp_path) == ["bad"]
    assert sorted(service.spans, key=int) == [str(number) for number in range(60)]
    assert dict(ledger.lost) == {"dead_letter": 1}


def test_a_batch_that_a_target_has_no_resources_for_at_first_arrives_if_it_says_that_it_recovers() -> None:
    details = details_of(error_details.RetryInfo())
    with (
        grpc_server(asking("RESOURCE_EXHAUSTED", details, times=30)) as (service, port),
        transport_to(port) as transport,
    ):
        outbox, ledger = outbox_to(transport, timeout=60.0)
        outbox.queue.add(batch("a", "b"), 2)
        for number in range(40):
            outbox.queue.add(batch(str(number)), 1)
            outbox.send(hurry=True)

    assert len(service.spans) == ledger.delivered == 42
    assert not ledger.lost
