"""The outbox accounts for every span, whatever the target answers."""

from __future__ import annotations

import logging
import time
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from somatrace.delivery import outbox as outbox_module
from somatrace.delivery.journal import Journal
from somatrace.delivery.request_halves import halves, pieces
from somatrace.delivery.restricted import Restricted
from somatrace.delivery.send_result import SendResult
from somatrace.spool.segment_format import HEADER_SIZE
from tests.delivery.support import batch, deliver, names, open_segments, outbox_to

answers = st.builds(
    SendResult,
    outcome=st.sampled_from(
        ["accepted", "accepted", "accepted", "retry", "misconfigured", "rejected", "too_large"]
    ),
    retry_after=st.none() | st.floats(0, 1e9),
    ambiguous=st.booleans(),
    choked=st.booleans(),
    names_spans=st.booleans(),
    rejected=st.integers(0, 5),
)


class Scripted:
    """A target that gives scripted results, then accepts everything."""

    def __init__(self, script) -> None:
        self.script = deque(script)
        self.sent: list[list[str]] = []
        self.taken: list[str] = []
        self.partly_rejected = 0
        self.closed = 0

    def send(self, body: bytes, timeout: float) -> SendResult:
        assert timeout > 0
        self.sent.append(names(body))
        answer = self.script.popleft() if self.script else SendResult("accepted")
        if isinstance(answer, Exception):
            raise answer
        if answer.outcome == "accepted":
            self.taken += names(body)
            self.partly_rejected += min(answer.rejected, len(names(body)))
        return answer

    def interrupt(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        self.closed += 1


def waiting(outbox) -> int:
    return sum(waiting.spans for waiting in outbox.queue._waiting)


@settings(max_examples=400, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=20),
    script=st.lists(st.one_of(answers, st.just(RuntimeError("a bug in somatrace"))), max_size=60),
    max_bytes=st.integers(100, 20_000),
    hurries=st.lists(st.booleans(), min_size=1, max_size=5),
)
def test_every_span_is_delivered_waiting_or_lost_with_a_reason(sizes, script, max_bytes, hurries):
    target = Scripted(script)
    outbox, ledger = outbox_to(target, max_bytes=max_bytes)
    created = 0
    for number, size in enumerate(sizes):
        outbox.queue.add(batch(*[f"{number}.{place}" for place in range(size)]), size)
        created += size
        outbox.send(hurry=hurries[number % len(hurries)])
        assert created == ledger.delivered + waiting(outbox) + ledger.lost.total()
        assert outbox.queue.size == sum(len(one.body) for one in outbox.queue._waiting)
        assert outbox.queue.size <= max_bytes or len(outbox.queue._waiting) == 1

    target.script.clear()
    outbox._next = outbox._not_before = 0.0
    outbox.queue.add(batch("last"), 1)
    created += 1
    outbox.send()

    assert outbox.queue.empty
    assert (outbox.queue.size, outbox.away) == (0, False)
    assert created == ledger.delivered + ledger.lost.total()
    assert len(target.taken) == len(set(target.taken))  # nothing answered with 2xx is sent again
    assert ledger.delivered == len(target.taken) - target.partly_rejected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=40, unique_by=id))
def test_halves_contain_the_same_spans_in_the_same_order(numbers):
    body = batch(*map(str, numbers))

    portions = halves(body)

    assert portions is not None
    (first, some), (second, others) = portions
    assert names(first) + names(second) == list(map(str, numbers))
    assert (some, others) == (len(numbers) // 2, len(numbers) - len(numbers) // 2)


def test_halves_repeat_a_resource_once_not_for_each_span():
    request = ExportTraceServiceRequest.FromString(batch(*"abcdefgh"))
    request.resource_spans[0].resource.attributes.add(key="k").value.string_value = "v" * 1000

    portions = halves(request.SerializeToString())

    assert portions is not None
    assert all(len(body) < 2000 for body, _ in portions)
    assert all(body.count(b"v" * 1000) == 1 for body, _ in portions)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(1, 15))
def test_pieces_contain_the_same_spans_in_the_same_order_and_are_as_few_as_possible(count, most):
    made = [str(number) for number in range(count)]

    found = pieces(batch(*made), most)

    assert [name for body, _ in found for name in names(body)] == made
    assert [spans for _, spans in found] == [len(names(body)) for body, _ in found]
    assert len(found) == -(-count // most)
    assert all(0 < spans <= most for _, spans in found)


def test_a_single_span_has_no_halves():
    assert halves(batch("a")) is None


def test_batches_are_sent_oldest_first_after_an_outage():
    target = Scripted([SendResult("retry")])
    outbox, _ = outbox_to(target)
    for name in "abc":
        outbox.queue.add(batch(name), 1)

    outbox.send()
    outbox.send(hurry=True)

    assert target.taken == ["a", "b", "c"]


def test_the_oldest_batches_are_dropped_above_the_size_limit():
    target = Scripted([SendResult("retry")] * 100)
    size = len(batch("a"))
    outbox, ledger = outbox_to(target, max_bytes=3 * size)
    for name in "abcde":
        outbox.queue.add(batch(name), 1)

    target.script.clear()
    outbox.send()

    assert target.taken == ["c", "d", "e"]
    assert dict(ledger.lost) == {"backend_away": 2}


@pytest.mark.parametrize(("outcome", "first", "longest"), [("retry", 0.2, 5), ("misconfigured", 3.2, 30)])
def test_waits_grow_up_to_a_limit(outcome, first, longest):
    outbox, _ = outbox_to(Scripted([SendResult(outcome)] * 40))
    outbox.queue.add(batch("a"), 1)

    waits = [outbox.send(hurry=True) or 0 for _ in range(40)]

    assert waits[0] <= first
    assert waits[4] > waits[0]
    assert longest / 2 < max(waits) <= longest


def test_an_excessive_retry_after_is_capped_at_minutes():
    outbox, _ = outbox_to(Scripted([SendResult("retry", retry_after=1e12)]))
    outbox.queue.add(batch("a"), 1)

    assert (outbox.send() or 0) <= outbox_module.LONGEST_RETRY_AFTER


@pytest.mark.parametrize("outcome", ["retry", "misconfigured", "rejected"])
def test_an_outage_logs_one_line_at_its_start_and_one_at_its_end(caplog, outcome):
    target = Scripted([SendResult(outcome, "why")] * 40)
    outbox, _ = outbox_to(target)
    with caplog.at_level(logging.INFO, logger="somatrace"):
        for _ in range(40):
            outbox.queue.add(batch("a"), 1)
            outbox.send(hurry=True)
        for _ in range(40):
            outbox.queue.add(batch("a"), 1)
            outbox.send(hurry=True)

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "why" in caplog.text


def test_a_rejected_span_after_an_outage_does_not_mark_the_target_as_away():
    outbox, _ = outbox_to(Scripted([SendResult("retry"), SendResult("rejected", names_spans=True)]))
    outbox.queue.add(batch("a"), 1)

    outbox.send()
    outbox.send(hurry=True)

    assert not outbox.away


def test_an_interrupted_send_does_not_count_as_a_failure():
    target = Scripted([SendResult("retry", ambiguous=True)])
    outbox, ledger = outbox_to(target)
    outbox.queue.add(batch("a"), 1)
    stop = iter([False, True])

    outbox.send(stopping=lambda: next(stop))
    assert not outbox.away
    outbox.send()

    assert (ledger.delivered, ledger.resent_ambiguous, ledger.last_error) == (1, 1, "")


def test_an_exception_in_a_transport_loses_no_span():
    outbox, ledger = outbox_to(Scripted([RuntimeError("canary")]))
    outbox.queue.add(batch("a"), 1)

    outbox.send()
    assert "canary" not in ledger.last_error
    outbox.send(hurry=True)

    assert ledger.delivered == 1


def test_a_forked_child_starts_empty():
    target = Scripted([SendResult("retry", retry_after=60)])
    outbox, _ = outbox_to(target)
    outbox.queue.add(batch("a"), 1)
    outbox.send()
    closed = target.closed

    outbox.forget()

    assert (outbox.queue.empty, outbox.queue.size, outbox.away) == (True, 0, False)
    assert target.closed == closed + 1
    outbox.queue.add(batch("b"), 1)
    assert outbox.send() is None
    assert target.taken == ["b"]


def test_a_wrapper_around_the_transport_also_gets_the_one_with_renewed_keys():
    first, second = Scripted([SendResult("misconfigured", "401")]), Scripted([])
    wrapped = []
    outbox, _ = outbox_to(first, renew=iter([second]).__next__)

    def around(transport):
        wrapped.append(transport)
        return transport

    outbox.wrap_transports(around)
    outbox.queue.add(batch("a"), 1)
    outbox.send(hurry=True)

    assert wrapped == [first, second]
    assert second.taken == ["a"]


def journal_in(directory) -> Journal:
    return Journal(lambda: directory, {"service": "svc"}, max_bytes=1 << 26, max_days=7.0)


def test_a_damaged_batch_on_disk_costs_none_of_those_that_are_sent_with_it(tmp_path):
    earlier = journal_in(tmp_path)
    entries = [earlier.add(batch(name), 1) for name in ("one", "two", "three")]
    earlier.close()
    [path] = tmp_path.rglob("*.segment")
    target = Scripted([])
    outbox, ledger = outbox_to(target, journal=journal_in(tmp_path))
    outbox.queue.add_left()
    content = bytearray(path.read_bytes())
    content[entries[1].position + HEADER_SIZE + 3] ^= 0xFF
    path.write_bytes(content)

    deliver(outbox)

    assert target.taken == ["one", "three"]
    assert (ledger.delivered, ledger.lost) == (2, {"disk": 1})


def test_a_long_outage_takes_no_more_memory_and_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("somatrace.delivery.batch_queue.MAX_WAITING", 100)
    target = Scripted([SendResult("retry")] * 40)
    outbox, ledger = outbox_to(target, journal=journal_in(tmp_path), max_bytes=1 << 16)
    most = 0
    for number in range(3000):
        outbox.queue.add(batch(f"span {number}", "x" * 1000), 2)
        ledger.count_ended(), ledger.count_ended()
        if number % 100 == 0:
            outbox.send(hurry=True)
        most = max(most, len(outbox.queue._waiting))
    waited = ledger.waiting + ledger.left - ledger.taken_over, outbox.queue.size

    target.script.clear()
    outbox._next = outbox._not_before = 0.0
    while not outbox.queue.empty or outbox.queue.has_set_aside:
        outbox.send()

    assert most < 600  # a segment has about 240
    assert waited[0] == 6000
    assert waited[1] <= 1 << 16
    assert sorted(target.taken) == sorted(
        [*(f"span {number}" for number in range(3000)), *["x" * 1000] * 3000]
    )
    assert ledger.waiting == 0
    assert not ledger.lost
    assert not list(tmp_path.rglob("*.segment"))[1:]


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=20),
    script=st.lists(answers.filter(lambda answer: not answer.rejected), max_size=60),
    max_bytes=st.integers(100, 20_000),
    killed_after=st.integers(0, 20),
)
def test_with_a_journal_every_span_is_delivered_lost_with_a_reason_or_on_disk(
    tmp_path_factory, sizes, script, max_bytes, killed_after
):
    directory = tmp_path_factory.mktemp("journal")
    target = Scripted(script)
    outbox, ledger = outbox_to(target, max_bytes=max_bytes, journal=journal_in(directory))
    created = []
    for number, size in enumerate(sizes[: killed_after + 1]):
        names_of = [f"{number}.{place}" for place in range(size)]
        outbox.queue.add(batch(*names_of), size)
        created += names_of
        outbox.send(hurry=True)
        assert len(created) == ledger.delivered + waiting(outbox) + ledger.lost.total()
    outbox.queue.journal.close()  # as the end of the process does
    later = Scripted([])
    again, _ = outbox_to(later, journal=journal_in(directory))
    again.send()
    while not again.queue.empty:
        again.send()

    missing = set(created) - set(target.taken) - set(later.taken)
    assert len(missing) == ledger.lost["rejected"] + ledger.lost["too_large"]
    assert not set(target.taken) & set(later.taken)  # nothing answered with 2xx is sent again
    assert ledger.lost.keys() <= {"rejected", "too_large"}


def test_a_batch_of_a_process_with_a_larger_limit_is_sent_in_pieces_within_the_own_limit(tmp_path):
    earlier = journal_in(tmp_path)
    made = [f"{number}" for number in range(512)]
    earlier.add(batch(*made), 512)
    earlier.close()
    target = Scripted([])
    outbox, ledger = outbox_to(target, journal=journal_in(tmp_path), batch_size=200)

    outbox.queue.add_left()
    deliver(outbox)

    assert [len(sent) for sent in target.sent] == [200, 200, 112]
    assert target.taken == made
    assert (ledger.taken_over, ledger.delivered) == (512, 512)


def test_a_process_that_is_killed_before_all_pieces_were_answered_leaves_the_others(tmp_path):
    earlier = journal_in(tmp_path)
    earlier.add(batch(*map(str, range(512))), 512)
    earlier.close()
    target = Scripted([SendResult("accepted"), SendResult("retry")])
    outbox, _ = outbox_to(target, journal=journal_in(tmp_path), batch_size=200)
    outbox.queue.add_left()
    outbox.send()

    outbox.queue.forget()  # its locks end, and its files stay as they are
    later = Scripted([])
    again, _ = outbox_to(later, journal=journal_in(tmp_path), batch_size=200)
    again.queue.add_left()
    deliver(again)

    assert target.taken + later.taken == [f"{number}" for number in range(512)]


@pytest.mark.parametrize("is_allowed", [True, False])
def test_pieces_of_a_batch_with_content_have_their_own_part_of_it(tmp_path, is_allowed):
    earlier = journal_in(tmp_path)
    content = Restricted({"acme": "grant"}, batch(*["closed"] * 5))
    earlier.add(batch(*["open"] * 5), 5, content)
    earlier.close()
    target = Scripted([])
    outbox, _ = outbox_to(target, journal=journal_in(tmp_path), batch_size=2, allows=lambda *_: is_allowed)

    outbox.queue.add_left()
    deliver(outbox)

    name = "open" if is_allowed else "closed"
    assert target.sent == [[name] * 2, [name] * 2, [name]]


def test_what_a_process_left_is_sent_by_one_that_has_nothing_to_send_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("somatrace.delivery.outbox.LOOK_EVERY", 0.01)
    target = Scripted([])
    outbox, _ = outbox_to(target, journal=journal_in(tmp_path))
    outbox.queue.add(batch("own"), 1)
    outbox.send()
    other = journal_in(tmp_path)
    other.add(batch("left"), 1)
    other.close()

    while "left" not in target.taken:
        wait = outbox.send()
        assert wait is not None
        time.sleep(wait)

    assert target.taken == ["own", "left"]


def test_without_a_journal_nobody_looks_again():
    outbox, _ = outbox_to(Scripted([]))
    outbox.queue.add(batch("own"), 1)

    assert outbox.send() is None
    assert outbox.send() is None


def test_an_outage_takes_few_descriptors_and_what_is_set_aside_is_not_settled(tmp_path):
    target = Scripted([SendResult("retry")] * 4000)
    outbox, ledger = outbox_to(target, journal=journal_in(tmp_path))
    most = 0
    for number in range(1500):
        outbox.queue.add(batch(f"span {number}", "x" * 40_000), 2)
        most = max(most, len(open_segments(tmp_path)))
    for _ in range(3000):
        ledger.count_ended()

    settled = outbox.queue.settled
    left = outbox.queue.leave(1.0)

    assert most < 40
    assert settled is False
    assert left == 3000 - ledger.lost.total()
    assert ledger.left == left
    assert ledger.lost.keys() <= {"disk"}


def test_a_batch_of_which_an_exception_kept_what_became_is_sent_again(monkeypatch):
    target = Scripted([])
    outbox, ledger = outbox_to(target)
    outbox.queue.add(batch("a"), 1)
    outbox.queue.add(batch("b"), 1)

    with monkeypatch.context() as broken:
        broken.setattr(outbox, "_send_batch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            outbox.send()
    outbox.send()

    assert target.taken == ["a", "b"]
    assert ledger.delivered == 2
    assert outbox.queue.empty
