"""Code that the garbage collector runs may leave blocks: the program survives, and its tags are right."""

from __future__ import annotations

import re
from pathlib import Path

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


@pytest.mark.slow
def test_finalizers_of_other_libraries_may_change_context_variables() -> None:
    done = run_program(
        """
        import gc
        from contextvars import ContextVar
        from opentelemetry import trace
        from somatrace import *
        init_tracing("svc", config=Config(target="none"), listeners=[lambda record: None])
        foreign = ContextVar("foreign", default="")
        class Stream:
            def __init__(self):
                self.itself = self
            def __del__(self):  # as litellm's, of a stream that nobody has read to the end
                foreign.set("" if foreign.get() else "open")
        tracer, kept = trace.get_tracer("app"), []
        for threshold in (7, 11, 13, 17):
            gc.set_threshold(threshold)
            for number in range(1500):
                kept.append([])
                if number % 13 == 0:
                    kept.clear()
                Stream()
                with bind(tenant_id="acme"), span("work"):
                    Stream()
                    with tracer.start_as_current_span("inner"):
                        Stream()
        gc.set_threshold(700)
        print(flush(60), "survived")
        """,
        {"PYTHONMALLOC": "debug"},  # which overwrites what is freed
        timeout=600,
    )
    assert done.stdout == "True survived\n"


def test_no_context_variable_is_changed_without_holding_what_it_is_changed_in(root: Path) -> None:
    made = [
        str(path.relative_to(root))
        for path in (root / "somatrace").rglob("*.py")
        if re.search(r"\bContextVar\(", path.read_text())
    ]

    assert made == ["somatrace/context/collector_safety.py"]
