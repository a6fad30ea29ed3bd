"""SOMATRACE_MAX_LATENCY_MS: the time that tracing may add to one workflow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from somatrace.context.span_state import SpanState
from somatrace.context.tags import EMPTY
from somatrace.pipeline.overhead_budget import CALM, LEAST, OverheadBudget
from tests.support.otlp_server import otlp_server
from tests.support.programs import otlp_env, run_program

MILLISECOND = 1_000_000


def root(spent_ms: float) -> SpanState:
    state = SpanState(EMPTY, None)
    state.spent_ns = int(spent_ms * MILLISECOND)
    return state


def test_within_the_budget_all_traces_are_kept() -> None:
    budget = OverheadBudget(100)
    for _ in range(10):
        budget.settle(root(99))
    assert budget.share == 1.0
    assert all(budget.keeps(trace_id) for trace_id in (0, 1 << 127, 2**128 - 1))


def test_each_workflow_over_budget_halves_the_share_down_to_a_minimum() -> None:
    budget = OverheadBudget(100)
    budget.settle(root(101))
    budget.settle(root(500))
    assert budget.share == 0.25
    for _ in range(30):
        budget.settle(root(500))
    assert budget.share == LEAST


def test_workflows_within_budget_restore_the_share() -> None:
    budget = OverheadBudget(100)
    budget.settle(root(101))
    for _ in range(CALM):
        budget.settle(root(1))
    assert budget.share == 1.0


def test_the_time_of_all_spans_is_summed_on_the_root() -> None:
    budget = OverheadBudget(100)
    top = SpanState(EMPTY, None)
    for _ in range(3):
        budget.spend(SpanState(EMPTY, top), 40 * MILLISECOND)
    budget.settle(top)
    assert budget.share == 0.5


def test_without_a_limit_the_share_never_changes() -> None:
    budget = OverheadBudget(0)
    budget.settle(root(10_000))
    assert budget.share == 1.0


@given(st.integers(0, 2**128 - 1), st.integers(0, 12))
def test_a_trace_kept_at_a_small_share_is_kept_at_every_larger_share(trace_id: int, halvings: int) -> None:
    budget = OverheadBudget(1)
    kept = [budget.keeps(trace_id)]
    for _ in range(halvings):
        budget.settle(root(2))
        kept.append(budget.keeps(trace_id))
    assert kept == sorted(kept, reverse=True)


def test_a_slow_third_party_processor_reduces_the_share_but_failures_are_kept() -> None:
    with otlp_server() as server:
        done = run_program(
            """
            import time
            from opentelemetry import trace
            from opentelemetry.sdk.trace import SpanProcessor
            from somatrace import fail, flush, init_tracing, span, status
            init_tracing("svc")
            class Slow(SpanProcessor):
                def on_start(self, span, parent_context=None):
                    time.sleep(0.003)
            trace.get_tracer_provider().add_span_processor(Slow())
            for number in range(40):
                with span("workflow", kind="workflow"):
                    pass
                with span("failing"):
                    fail("code")
            flush(60)
            print(status().kept_share < 0.01, status().lost.get("over_budget", 0) > 20)
            """,
            otlp_env(server.url, SOMATRACE_MAX_LATENCY_MS="1"),
        )
        server.wait_for(40)
    assert done.stdout == "True True\n"
    assert len(server.named("failing")) == 40
    assert len(server.named("workflow")) < 20
