"""The counts of each tenant, compared with the target and with the files, and a full spool that is shared."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter

import pytest

from somatrace.delivery.journal_directory import UNSENT
from tests.faults.service import Run, Service, service
from tests.faults.sinks import FAILURES, REFUSES, copies, failing, recover
from tests.support.otlp_server import Reply
from tests.support.waiting import wait_until

#: Spans of a kilobyte: ten of one tenant for each of another one.
NOISY = """
def noisy(rounds, pause=0.002):
    for _ in range(rounds):
        with bind(tenant_id="noisy"):
            work(10, text=os.urandom(400).hex())
        with bind(tenant_id="quiet"):
            work(1, text=os.urandom(400).hex())
        time.sleep(pause)
"""
#: A limit at which the spans of the quiet tenant fit, and room in memory for what is being written.
SMALL = {"SOMATRACE_SPOOL_MAX_BYTES": "1M", "SOMATRACE_QUEUE_BYTES": "8M"}


def tenants(run: Run, spans: object) -> Counter[str]:
    """How many of the spans are of which tenant."""
    known = run.tenants()
    return Counter(known[span] for span in {*spans} if span in known)  # type: ignore[misc]


def unfinished(faulty: Service) -> list[str]:
    assert faulty.data is not None
    return [path.name for path in faulty.data.glob(f"{UNSENT}/*/spool/*.tmp")]


@pytest.mark.slow
@pytest.mark.parametrize("failure", [REFUSES, *(one for one in FAILURES if "429" not in one)])
def test_the_counts_of_each_tenant_agree_with_the_target_and_the_files(tmp_path, failure):
    with failing("") as sink, service(tmp_path, sink.url, env={"OTEL_EXPORTER_OTLP_TIMEOUT": "2"}) as faulty:
        run = faulty.start(f"{NOISY}\nnoisy(20)\nsys.stdin.readline()\nnoisy(30)\nshutdown()")
        wait_until(lambda: len(copies(sink)) == 220)
        sink.reply = lambda _: FAILURES.get(failure, Reply(503))
        run.finish()
        waiting = faulty.waiting()
        arrived = tenants(run, copies(sink))
        recover(sink, "")
        later = faulty.start("with bind(tenant_id='third'):\n    work(3)\nsys.stdin.read()")
        wait_until(lambda: len(copies(sink)) == 553)
        later.finish()

    counts = run.counts()
    assert counts.of_tenants("ended") == tenants(run, run.made())
    assert counts.of_tenants("delivered") == arrived
    assert counts.of_tenants("left") == tenants(run, waiting)
    assert counts.of_tenants("lost") == Counter()
    assert later.counts().of_tenants("taken_over") == tenants(run, waiting)
    assert later.counts().of_tenants("delivered") == tenants(run, waiting) + Counter(third=3)


@pytest.mark.slow
def test_a_full_spool_costs_the_noisy_tenant_and_every_span_is_counted_for_its_tenant(tmp_path):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        run = faulty.run(f"{NOISY}\nnoisy(250, 0.005)\nshutdown()", **SMALL)
        waiting = faulty.waiting()

    counts = run.counts()
    left = tenants(run, waiting)
    assert counts.difference == 0
    assert left["quiet"] == 250
    assert len(waiting) == len({*waiting}) == counts.left
    assert counts.of_tenants("left") == left
    assert counts.of_tenants("lost") == tenants(run, run.made()) - left
    assert set(counts.lost) <= {"spool_full"}
    assert (
        f"spans lost by this process: {2750 - len(waiting)} (spool_full {2750 - len(waiting)})" in run.errors
    )


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(4))
def test_kill_9_while_a_full_spool_is_rewritten_costs_nothing_but_what_was_given_up(tmp_path, attempt):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        first = faulty.start(f"{NOISY}\nnoisy(1_000_000)", **SMALL)
        wait_until(lambda: len(first.made()) > 1500)
        time.sleep(random.uniform(0, 1.0))
        killed = first.kill()
        waiting = faulty.waiting()
        safe = first.tenants(before=killed - 2.0)
        recover(sink, REFUSES)
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: copies(sink).keys() >= {*waiting, *second.made()} and not faulty.waiting())
        second.finish()

    quiet = {span for span, tenant in safe.items() if tenant == "quiet"}
    assert first.process.returncode == -signal.SIGKILL
    assert quiet <= {*waiting}
    assert len(waiting) == len({*waiting}) < len(first.made())
    assert copies(sink) == dict.fromkeys([*waiting, *second.made()], 1)
    assert second.counts().difference == 0
    assert second.counts().of_tenants("taken_over") == tenants(first, waiting)


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True])
def test_the_next_start_reports_a_process_that_was_killed_and_what_it_cost(tmp_path, torn):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        first = faulty.start("for _ in range(4):\n    work(50)\n    time.sleep(0.3)\nsys.stdin.read()")
        wait_until(lambda: len(faulty.waiting()) == 200)
        first.kill()
        if torn:
            assert faulty.data is not None
            [path] = faulty.data.glob(f"{UNSENT}/*/spool/*.segment")
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size - 10)
        waiting = faulty.waiting()
        recover(sink, REFUSES)
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: copies(sink).keys() >= {*waiting, *second.made()})
        second.finish()

    counts = second.counts()
    assert counts.unclean_stops == 1
    assert counts.taken_over == len(waiting)
    assert counts.evicted == ({"damaged": 200 - len(waiting)} if torn else {})
    assert second.errors.count(f"an earlier process (pid {first.process.pid}) was killed or has crashed") == 1


@pytest.mark.slow
def test_a_process_that_ends_in_good_order_is_not_reported(tmp_path):
    with failing(REFUSES) as sink, service(tmp_path, sink.url) as faulty:
        first = faulty.run("work(50)")
        recover(sink, REFUSES)
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: copies(sink).keys() >= {*first.made(), *second.made()})
        second.finish()

    assert second.counts().taken_over == 50
    assert second.counts().unclean_stops == 0
    assert second.errors == ""
