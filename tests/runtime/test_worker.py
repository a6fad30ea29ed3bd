"""`BackgroundWorker`: a bounded queue with one lazily started thread."""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somatrace.runtime.worker import BackgroundWorker
from tests.support.programs import otlp_env, run_program
from tests.support.waiting import wait_until


class Sink:
    """Records batches; can be made to block."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, items) -> float | None:
        self.gate.wait(60)
        if items:
            self.batches.append(list(items))
        return None

    @property
    def items(self) -> list[int]:
        return [item for batch in self.batches for item in batch]


@pytest.fixture
def worker_of():
    workers: list[BackgroundWorker] = []

    def make(step, **options) -> BackgroundWorker:
        workers.append(BackgroundWorker("test", step, **{"size": 10_000, **options}))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close(1)


@pytest.fixture
def threads():
    """The names of the workers' threads, without those that a worker of an earlier test has not ended yet."""
    earlier = set(threading.enumerate())
    return lambda: [
        thread.name
        for thread in threading.enumerate()
        if thread.name == "somatrace-test" and thread not in earlier
    ]


@settings(max_examples=60, deadline=None)
@given(
    operations=st.lists(st.one_of(st.just("put"), st.just("flush")), min_size=1, max_size=60),
    batch=st.integers(1, 8),
    size=st.integers(1, 40),
)
def test_accepted_items_are_processed_once_and_in_order(operations, batch, size):
    sink = Sink()
    worker = BackgroundWorker("test", sink, size=size, batch=batch)
    taken, after_flush = [], []
    for number, operation in enumerate(operations):
        if operation == "put":
            if worker.put(number):
                taken.append(number)
        else:
            assert worker.flush(60)
            after_flush.append(sink.items == taken)
    closed = worker.close(60)

    assert closed
    assert all(after_flush)
    assert sink.items == taken
    assert max(map(len, sink.batches), default=0) <= batch


@settings(max_examples=100, deadline=None)
@given(weights=st.lists(st.integers(0, 50), max_size=60), size=st.integers(1, 30), limit=st.integers(0, 200))
def test_the_queue_stays_within_both_bounds(weights, size, limit):
    sink = Sink()
    sink.gate.clear()
    worker = BackgroundWorker("test", sink, size=size, weight=limit, batch=1, linger=60)
    taken = 0
    for weight in weights:
        taken += worker.put(0, weight)
        items, queued = worker.depth
        assert items <= size
        assert queued <= limit
    sink.gate.set()

    assert worker.close(60)
    assert len(sink.items) == taken
    assert worker.depth == (0, 0)


def test_items_from_many_threads_are_kept_in_each_threads_order(worker_of):
    sink = Sink()
    worker = worker_of(sink, size=100_000)

    def produce(start: int) -> None:
        for number in range(start, start + 2000):
            assert worker.put(number)

    producers = [threading.Thread(target=produce, args=(start,)) for start in range(0, 8000, 2000)]
    for producer in producers:
        producer.start()
    for producer in producers:
        producer.join()

    assert worker.flush(60)
    assert sorted(sink.items) == list(range(8000))
    for start in range(0, 8000, 2000):
        mine = [item for item in sink.items if start <= item < start + 2000]
        assert mine == sorted(mine)


def test_the_thread_starts_with_the_first_item(worker_of, threads):
    worker = worker_of(Sink())

    assert worker.flush(1)
    assert threads() == []
    worker.put(1)
    assert threads() == ["somatrace-test"]


def test_flush_waits_for_earlier_items_while_others_keep_arriving(worker_of):
    sink = Sink()
    worker = worker_of(sink, batch=4)
    stop = threading.Event()

    def produce() -> None:
        while not stop.is_set():
            if not worker.put(0):
                time.sleep(0.001)

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        wait_until(lambda: worker.put(1))  # the others may have filled the queue
        assert worker.flush(60)
        assert 1 in sink.items
    finally:
        stop.set()
        producer.join()


def test_flush_returns_at_its_timeout_when_the_step_blocks(worker_of):
    sink = Sink()
    sink.gate.clear()
    worker = worker_of(sink)
    worker.put(1)
    started = time.monotonic()

    flushed = worker.flush(0.2)

    assert not flushed
    assert time.monotonic() - started < 30  # the step would take 60
    sink.gate.set()
    assert worker.flush(60)


def test_flush_waits_until_the_work_behind_the_step_is_drained(worker_of):
    remaining = [3]

    def step(items) -> float | None:
        remaining[0] -= 1
        return 0.01 if remaining[0] > 0 else None

    worker = worker_of(step, drained=lambda: remaining[0] <= 0)
    worker.put(1)

    assert worker.flush(60)
    assert remaining[0] == 0


def test_flush_on_the_workers_own_thread_does_not_wait_for_itself(worker_of):
    answers = []
    worker = worker_of(lambda items: answers.append(worker.flush(30)) if items else None)
    worker.put(1)

    assert worker.flush(60)
    assert answers == [False]


def test_each_flush_marks_one_step_urgent(worker_of):
    urgent = []
    remaining = [5]

    def step(items) -> float | None:
        urgent.append(worker.urgent)
        remaining[0] -= 1
        return 0.01

    worker = worker_of(step, drained=lambda: remaining[0] <= 0, linger=60)
    worker.put(1)

    assert worker.flush(60)
    assert urgent[:5] == [True, False, False, False, False]


def test_a_step_that_raises_loses_its_items_and_logs_one_line(worker_of, caplog):
    seen = []

    def step(items) -> None:
        seen.extend(items)
        if items:
            raise RuntimeError("secret words")

    worker = worker_of(step, batch=1)
    with caplog.at_level(logging.WARNING, logger="somatrace"):
        for number in range(5):
            worker.put(number)
        assert worker.flush(60)

    assert seen == [0, 1, 2, 3, 4]
    assert len(caplog.records) == 1
    assert "secret words" not in caplog.text
    assert "RuntimeError" in caplog.text


def test_items_after_close_are_rejected(worker_of, threads):
    worker = worker_of(Sink())
    worker.put(1)

    assert worker.close(60)
    assert not worker.put(2)
    assert worker.closed
    wait_until(lambda: threads() == [])


def test_close_interrupts_a_blocked_step_and_returns_in_time(worker_of):
    interrupted, released = threading.Event(), threading.Event()
    worker = worker_of(
        lambda items: interrupted.wait(60) and None, interrupt=interrupted.set, release=released.set
    )
    worker.put(1)
    started = time.monotonic()

    closed = worker.close(0.3)

    assert not closed
    assert time.monotonic() - started < 30  # the step would take 60
    assert released.wait(60)


def test_closing_twice_waits_once(worker_of):
    sink = Sink()
    sink.gate.clear()
    worker = worker_of(sink)
    worker.put(1)
    worker.close(0.1)
    started = time.monotonic()

    worker.close(60)

    assert time.monotonic() - started < 30
    sink.gate.set()


def test_the_thread_releases_its_connections_when_it_ends(worker_of):
    ended_on = []
    worker = worker_of(Sink(), release=lambda: ended_on.append(threading.current_thread().name))
    worker.put(1)

    worker.close(60)

    wait_until(lambda: ended_on)
    assert ended_on == ["somatrace-test"]


def test_close_processes_items_inline_if_no_thread_can_start(worker_of, monkeypatch):
    def refuse(self) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sink = Sink()
    worker = worker_of(sink, batch=2)
    for number in range(7):
        assert worker.put(number)

    assert worker.close(60)
    assert sink.items == list(range(7))


def test_a_signal_handler_may_put_in_the_middle_of_put(worker_of):
    sink = Sink()
    worker = worker_of(sink, size=1_000_000)
    handled = []

    def handler(*_) -> None:
        handled.append(worker.put(-1))
        signal.setitimer(signal.ITIMER_REAL, 0.0005)  # a repeating one would interrupt a slow handler again

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    try:
        until = time.monotonic() + 60
        number = 0
        while len(handled) < 100 and time.monotonic() < until:
            worker.put(number)
            number += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert len(handled) >= 100
    assert worker.flush(60)
    assert [item for item in sink.items if item >= 0] == list(range(number))
    assert sink.items.count(-1) == handled.count(True)


# it also collects leftovers of earlier tests, which must not fail this one
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_finalizer_that_puts_does_not_deadlock(worker_of):
    sink = Sink()
    worker = worker_of(sink, size=1_000_000)

    finalized: list[None] = []

    class Abandoned:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            worker.put(-1)
            finalized.append(None)

    before = gc.get_threshold()
    gc.set_threshold(2)
    try:
        for number in range(2000):
            Abandoned()
            worker.put(number)
    finally:
        gc.set_threshold(*before)
    deadline = time.monotonic() + 60
    while len(finalized) < 2000 and time.monotonic() < deadline:
        gc.collect()  # does nothing while another thread is collecting
        time.sleep(0.01)

    assert worker.flush(60)
    assert [item for item in sink.items if item >= 0] == list(range(2000))
    assert sink.items.count(-1) == 2000


def test_a_finalizer_that_puts_in_a_thread_being_started_does_not_deadlock(worker_of, monkeypatch):
    # `Thread.start` waits until the new thread has asked for its ident; the collector can run before that.
    sink = Sink()
    worker = worker_of(sink)
    original = threading.get_ident
    present = {original()}
    armed = threading.Event()
    in_new_thread: list[bool] = []

    def get_ident() -> int:
        if armed.is_set() and original() not in present and not in_new_thread:
            in_new_thread.append(True)
            in_new_thread.append(worker.put(2))
        return original()

    monkeypatch.setattr(threading, "get_ident", get_ident)

    done = threading.Event()

    def program() -> None:
        present.add(original())
        armed.set()
        worker.put(1)
        done.set()

    thread = threading.Thread(target=program, daemon=True)
    thread.start()
    thread.join(60)

    assert done.is_set()
    assert in_new_thread == [True, True]
    assert worker.flush(60)
    assert sorted(sink.items) == [1, 2]


def test_an_interrupted_holder_of_the_lock_starts_the_thread_itself(worker_of):
    sink = Sink()
    worker = worker_of(sink)

    class Weight(int):  # compared with the lock held, as a signal handler may run there
        def __radd__(self, other: int) -> int:
            if not worker.depth[0]:
                assert worker.put(1)
                assert not worker.flush(5), "the lock is held: there is no thread to wait for"
            return int(self) + other

    assert worker.put(2, Weight(1))

    assert worker.flush(60)
    assert sink.items == [1, 2]


def test_a_thread_that_cannot_start_is_tried_again_with_the_next_item(worker_of, monkeypatch):
    sink = Sink()
    worker = worker_of(sink)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert worker.put(1)
        assert not worker.hurry()
        assert not worker.flush(5)

    assert worker.put(2)
    assert worker.flush(60)
    assert sink.items == [1, 2]


def test_an_idle_traced_process_uses_no_cpu():
    done = run_program(
        """
        import threading, time
        from somatrace import flush, init_tracing, span
        init_tracing("idle")
        assert not any(thread.name.startswith("somatrace") for thread in threading.enumerate())
        with span("one"):
            pass
        flush(60)
        assert any(thread.name.startswith("somatrace") for thread in threading.enumerate())
        before = time.process_time()
        time.sleep(2)
        print(time.process_time() - before)
        """,
        otlp_env("http://127.0.0.1:9", SOMATRACE_TARGET="local"),
    )

    assert float(done.stdout) < 0.05


def test_a_step_run_inline_is_not_asked_to_stop(worker_of, monkeypatch):
    def refuse(self) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    stopping = []
    worker = worker_of(lambda items: stopping.append(worker.stopping))
    worker.put(1)

    assert worker.close(60)
    assert stopping == [False]
