"""Fork: each process sends its own spans, once, and forking neither hangs nor warns."""

from __future__ import annotations

import pytest

from tests.support.otlp_server import Reply, otlp_server
from tests.support.programs import PATIENT, otlp_env, run_program

# SDK 1.42 causes this warning on import
STRICT = ("-W", "error", "-W", "ignore:SelectableGroups dict interface:DeprecationWarning")
PRELUDE = """
import os, random, sys, threading, time
from somatrace import flush, init_tracing, shutdown, span, status
from somatrace.runtime import fork, worker
# what a fork waits for: the thread that sends, in the middle of its work or of its imports
worker.FORK_LIMIT = worker.IMPORT_LIMIT = fork._KERNEL_LIMIT = 60.0
init_tracing("forker")

def child(work):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return pid

def wait(*pids):
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0, "a child failed"
"""


@pytest.fixture
def server():
    with otlp_server() as running:
        yield running


def run(server, source: str, *, timeout: float = 180, **env: str) -> str:
    import textwrap

    env = {"OTEL_EXPORTER_OTLP_TIMEOUT": "60", **env}
    program = PATIENT + PRELUDE + textwrap.dedent(source)
    done = run_program(program, otlp_env(server.url, **env), python_options=STRICT, timeout=timeout)
    assert done.stderr == ""
    return done.stdout


def test_children_forked_before_the_first_span_send_their_own_spans(server):
    run(
        server,
        """
        def work(number):
            with span(f"child {number}"):
                pass
            assert flush(60)

        wait(*[child(lambda: work(number)) for number in range(3)])
        with span("parent"):
            pass
        """,
    )

    assert sorted(span.name for span in server.spans) == ["child 0", "child 1", "child 2", "parent"]


def test_spans_queued_before_a_fork_are_sent_only_by_the_parent(server):
    run(
        server,
        """
        for _ in range(1000):
            with span("parent"):
                pass

        def work():
            before = status()
            with span("child"):
                pass
            assert flush(60)
            after = status()
            assert (before.created, before.queued_spans) == (0, 0), before
            assert (after.created, after.delivered, dict(after.lost)) == (1, 1, {}), after

        wait(child(work), child(work))
        """,
        SOMATRACE_FLUSH_INTERVAL="5",
    )

    assert len(server.named("parent")) == len({span.span_id for span in server.named("parent")}) == 1000
    assert len(server.named("child")) == 2


def test_a_connection_used_before_the_fork_is_not_shared(server):
    run(
        server,
        """
        with span("before"):
            pass
        assert flush(60)

        def work():
            for number in range(20):
                with span("child"):
                    pass
                assert flush(60)

        pids = [child(work) for _ in range(3)]
        for number in range(20):
            with span("parent"):
                pass
            assert flush(60)
        wait(*pids)
        """,
    )

    assert len(server.named("child")) == 60
    assert len(server.named("parent")) == 20


def test_ids_are_unique_across_children_and_independent_of_the_programs_seed(server):
    run(
        server,
        """
        random.seed(7)
        expected = random.Random(7).random()

        def work():
            random.seed(7)
            for _ in range(1000):
                with span("one"):
                    pass
            assert flush(60)

        with span("before"):
            pass
        pids = [child(work) for _ in range(3)]
        work()
        wait(*pids)
        random.seed(7)
        with span("after"):
            pass
        assert random.random() == expected
        """,
    )

    assert len(server.spans) == 4002
    assert len({span.span_id for span in server.spans}) == 4002
    assert len({span.trace_id for span in server.spans}) == 4002


def test_a_span_open_across_the_fork_is_sent_once_and_the_childs_spans_are_its_children(server):
    run(
        server,
        """
        with span("open", tenant_id="acme"):
            pid = os.fork()
            with span("inner"):
                pass
        assert flush(60)
        assert status().lost == {}, status()
        if pid == 0:
            os._exit(0)
        wait(pid)
        """,
    )

    [outer] = server.named("open")
    inner = server.named("inner")
    assert [span.parent_id for span in inner] == [outer.span_id] * 2
    assert {span.attributes["tenant_id"] for span in inner} == {"acme"}


def test_a_fork_during_a_short_request_neither_loses_nor_duplicates_spans(server):
    server.reply = lambda _: Reply(delay=0.02)
    run(
        server,
        """
        from somatrace.runtime import worker
        worker.FORK_GRACE = 10  # on a busy machine a short request takes longer than the usual grace

        def work():
            with span("child"):
                pass
            assert flush(60)

        pids = []
        for number in range(30):
            with span(f"parent {number}"):
                pass
            pids.append(child(work))
        wait(*pids)
        assert flush(60)
        assert status().resent_ambiguous == 0, status()
        """,
        SOMATRACE_FLUSH_INTERVAL="0.001",
    )

    parents = [span.name for span in server.spans if span.name.startswith("parent")]
    assert sorted(parents) == sorted(f"parent {number}" for number in range(30))
    assert len(server.named("child")) == 30


def test_a_request_to_a_silent_target_does_not_delay_a_fork_or_lose_spans(server, tmp_path):
    asked = tmp_path / "asked"

    def reply(number: int) -> Reply:
        asked.touch()
        return Reply(delay=-1 if number == 0 else 0)

    server.reply = reply
    run(
        server,
        """
        with span("parent"):
            pass
        until = time.monotonic() + 60
        while not os.path.exists(os.environ["ASKED"]) and time.monotonic() < until:
            time.sleep(0.01)  # then the first request is in flight and gets no response

        started = time.monotonic()
        pid = child(lambda: None)
        assert time.monotonic() - started < 60  # the answer never comes; it is given up after 120
        wait(pid)
        assert flush(60)
        assert status().resent_ambiguous == 1, status()
        """,
        ASKED=str(asked),
        OTEL_EXPORTER_OTLP_TIMEOUT="120",
        SOMATRACE_FLUSH_INTERVAL="0.001",
    )

    assert len(server.named("parent")) == 1


def test_a_fork_from_a_thread_works(server):
    run(
        server,
        """
        import warnings
        # the program's own threads make Python warn, not somatrace's
        warnings.simplefilter("ignore", DeprecationWarning)

        def work():
            with span("child"):
                pass
            assert flush(60)

        def fork():
            with span("thread"):
                pass
            wait(child(work))

        threads = [threading.Thread(target=fork) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert flush(60)
        """,
    )

    assert len(server.named("child")) == len(server.named("thread")) == 4


def test_grandchildren_send_their_own_spans(server):
    run(
        server,
        """
        def grandchild():
            with span("grandchild"):
                pass
            assert flush(60)

        def work():
            with span("child"):
                pass
            wait(child(grandchild))
            assert flush(60)

        with span("parent"):
            pass
        wait(child(work))
        """,
    )

    assert sorted(span.name for span in server.spans) == ["child", "grandchild", "parent"]


@pytest.mark.slow
def test_two_hundred_forks_among_busy_threads_neither_hang_nor_lose_a_span(server):
    printed = run(
        server,
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of the program's own threads
        stop = threading.Event()
        made = [0] * 4

        def produce(place):
            while not stop.is_set():
                with span("parent"):
                    made[place] += 1
                time.sleep(0.002)

        def work():
            with span("child"):
                pass
            assert flush(60)

        threads = [threading.Thread(target=produce, args=(place,)) for place in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            wait(child(work))
        stop.set()
        for thread in threads:
            thread.join()
        assert flush(60)
        now = status()
        assert now.created == now.delivered == sum(made), now
        print(sum(made), now.resent_ambiguous)
        """,
        timeout=280,  # only ends a hang
        # the producers do not wait for a busy machine
        SOMATRACE_QUEUE_SIZE="65536",
        SOMATRACE_QUEUE_BYTES="256M",
    )

    made, ambiguous = map(int, printed.split())
    assert len(server.named("child")) == 200
    assert made <= len(server.named("parent")) <= made + ambiguous


@pytest.mark.slow
def test_forks_with_the_local_store_lose_nothing(tmp_path):
    done = run_program(
        PRELUDE
        + """
def work():
    with span("child"):
        pass
    assert flush(60), status()

for number in range(20):
    with span("parent"):
        pass
    wait(child(work))
assert flush(60), status()
now = status()
assert now.created == now.delivered == 20, now
""",
        {"SOMATRACE_DATA_DIR": str(tmp_path), "SOMATRACE_FLUSH_INTERVAL": "0.001"},
        python_options=STRICT,
    )

    assert done.stderr == ""


@pytest.mark.slow
def test_a_slow_dns_lookup_barely_delays_a_fork_and_does_not_affect_the_child(server, tmp_path):
    run(
        server,
        """
        import socket, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # the thread stays, a lookup cannot be stopped
        real = socket.getaddrinfo
        parent = os.getpid()
        worker.FORK_LIMIT = 0.5
        asked, over = threading.Event(), threading.Event()
        def slow(*args, **kwargs):
            if os.getpid() == parent and not asked.is_set():
                asked.set()
                over.wait(120)
            return real(*args, **kwargs)
        socket.getaddrinfo = slow

        def work():
            with span("child"):
                pass
            assert flush(60)

        with span("parent"):
            pass
        assert asked.wait(60)
        started = time.monotonic()
        pid = child(work)
        assert time.monotonic() - started < 60  # the lookup would take 120
        wait(pid)
        over.set()
        assert flush(60)
        """,
        SOMATRACE_FLUSH_INTERVAL="0.001",
    )

    assert sorted(span.name for span in server.spans) == ["child", "parent"]
