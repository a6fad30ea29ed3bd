"""A target that fails: nothing is lost, the program is as without it, and the next start sends the rest."""

from __future__ import annotations

import pytest

from tests.faults.service import service
from tests.faults.sinks import FAILURES, ONCE, REFUSES, STORES, copies, failing, recover
from tests.support.waiting import wait_until

#: Seconds from the last line of a program to its end, of which one is tracing's: without a limit it would be
#: the timeout below.
BOUND = 60.0
PATIENT = {"OTEL_EXPORTER_OTLP_TIMEOUT": "300"}
DEAD = [REFUSES, *FAILURES]


@pytest.mark.slow
@pytest.mark.parametrize("failure", DEAD)
def test_what_a_target_does_not_accept_is_on_disk_and_arrives_once_with_the_next_start(tmp_path, failure):
    with failing(failure) as sink, service(tmp_path, sink.url, env=PATIENT) as faulty:
        first = faulty.run("work(700)\nprint('as ever')")
        waiting = faulty.waiting()
        recover(sink, failure)
        second = faulty.start("work(3)\nsys.stdin.read()")
        wait_until(lambda: len(copies(sink)) == 703)
        second.finish()

    assert (first.process.returncode, first.output) == (0, "as ever\n")
    assert "Traceback" not in first.errors
    assert first.exit_seconds < BOUND
    assert sorted(waiting) == sorted(first.made())
    assert first.counts().left == 700
    assert first.counts().difference == 0
    assert copies(sink) == dict.fromkeys([*first.made(), *second.made()], 1)
    assert second.counts().taken_over == 700
    assert second.counts().difference == 0
    assert faulty.waiting() == []


@pytest.mark.slow
@pytest.mark.parametrize("failure", [failure for failure in DEAD if "Retry-After" not in failure])
def test_a_target_that_recovers_gets_everything_from_the_same_process(tmp_path, failure):
    env = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with failing(failure) as sink, service(tmp_path, sink.url, env=env) as faulty:
        run = faulty.start("work(300)\nsys.stdin.read()")
        wait_until(lambda: len(faulty.waiting()) == 300)
        recover(sink, failure)
        wait_until(lambda: len(copies(sink)) == 300)
        run.finish()

    assert "Traceback" not in run.errors
    assert copies(sink) == dict.fromkeys(run.made(), 1)
    assert run.counts().delivered == 300
    assert run.counts().difference == 0
    assert faulty.waiting() == []


@pytest.mark.slow
@pytest.mark.parametrize("failure", ONCE)
def test_only_a_batch_without_an_answer_is_sent_twice(tmp_path, failure):
    with failing(failure) as sink, service(tmp_path, sink.url, env=PATIENT) as faulty:
        run = faulty.run("work(300, 0.002)\nflush(60)")

    twice = [span for span, number in copies(sink).items() if number > 1]
    assert set(copies(sink)) == set(run.made())
    assert max(copies(sink).values()) <= 2
    assert bool(twice) is (failure == STORES)
    assert len(twice) == run.counts().resent_ambiguous
    assert run.counts().delivered == 300
    assert run.counts().difference == 0
    assert faulty.waiting() == []


@pytest.mark.slow
@pytest.mark.parametrize("other", ["service", "target"])
def test_spans_are_not_sent_for_another_service_or_to_another_target(tmp_path, other):
    with failing(REFUSES) as away, failing("") as sink, service(tmp_path, away.url) as faulty:
        first = faulty.run("work(50)")
        if other == "service":
            recover(away, REFUSES)
            faulty.name = "another"
        else:
            faulty.url = sink.url
        second = faulty.run("work(3)\nflush(60)")
        arrived = copies(away) + copies(sink)

    assert set(arrived) == set(second.made())
    assert second.counts().taken_over == 0
    assert sorted(faulty.waiting()) == sorted(first.made())
