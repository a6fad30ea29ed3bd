"""Code that the garbage collector runs may leave blocks: the program survives, and its tags are right."""

from __future__ import annotations

import pytest

from tests.support.programs import run_program

#: Blocks that are left by the collector, which Python before 3.12 runs while a context variable changes.
ABANDONED = {
    "a block in a generator": """
        def steps():
            with bind(request_id="r"), span("abandoned"):
                yield 1
    """,
    "a decorated generator": """
        @span("abandoned", kind="workflow")
        def steps():
            yield 1
    """,
    "a block of OpenTelemetry in a generator": """
        def steps():
            with trace.get_tracer("app").start_as_current_span("abandoned"), bind(request_id="r"):
                yield 1
    """,
    "a block that a generator opens as it ends": """
        def steps():
            try:
                yield 1
            finally:
                with bind(request_id="r"), span("late"):
                    pass
    """,
}


@pytest.mark.slow
@pytest.mark.parametrize("steps", ABANDONED.values(), ids=ABANDONED)
def test_blocks_that_the_collector_leaves_break_nothing_that_is_entered_meanwhile(steps: str) -> None:
    done = run_program(
        f"""
        import gc
        from opentelemetry import trace
        from somatrace import *
        init_tracing("svc", config=Config(target="none"))
        {steps}
        class Cycle:
            pass
        def abandon():
            cycle = Cycle()
            cycle.itself, cycle.steps = cycle, steps()
            next(cycle.steps)
        gc.set_threshold(5)
        for number in range(2000):
            abandon()
            with bind(tenant_id="acme"), span("work"):
                assert bound()["tenant_id"] == "acme"
                with trace.get_tracer("app").start_as_current_span("inner"):
                    pass
            assert "tenant_id" not in bound()
        print("survived")
        """,
        timeout=600,
    )
    assert done.stdout == "survived\n"


def test_other_threads_do_not_run_within_what_the_program_takes_for_one_step() -> None:
    done = run_program(
        """
        import sys, threading
        from somatrace import *
        init_tracing("svc", config=Config(target="none"))
        shared = {str(number): number for number in range(3000)}
        over = threading.Event()
        def change():
            while not over.is_set():
                shared["more"] = 1
                for _ in range(20): pass
                del shared["more"]
        sys.setswitchinterval(1e-5)
        thread = threading.Thread(target=change)
        thread.start()
        kept = []
        try:
            for number in range(1500):  # of new objects, so that the collector runs
                kept.append(list(shared.items()))
                if number % 20 == 0:
                    kept.clear()
        finally:
            over.set()
            thread.join()
        print("survived")
        """
    )
    assert done.stdout == "survived\n"
