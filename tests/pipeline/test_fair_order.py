"""Items whose texts take long to guard wait for their turn, and delay nobody else."""

from __future__ import annotations

import ast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from somatrace.context.span_state import SpanState, attach_state
from somatrace.context.tags import Tags
from somatrace.guard.detection.engine import MAX_EXAMINED
from somatrace.pipeline import fair_order
from somatrace.pipeline.fair_order import SHARE, FairOrder
from somatrace.pipeline.queued_span import QueuedSpan
from tests.support.programs import run_program

_tracer = TracerProvider().get_tracer("tests")


def item(tenant: str, name: str = "work") -> QueuedSpan:
    made = _tracer.start_span(name)
    assert isinstance(made, ReadableSpan)
    attach_state(made, SpanState(Tags({"tenant_id": tenant}), None))
    return QueuedSpan("ended", made)


def processed(order: FairOrder, items: list[QueuedSpan], work: dict[str, int]) -> list[str]:
    """The names of the items of one step. `work` is the work of each item, by its tenant."""
    names = []
    for one in order.due(items):
        names.append(one.span.name)
        order.used(one, work.get(tenant(one), 1))
    return names


def tenant(one: QueuedSpan) -> str:
    return str(fair_order._tenant(one))


def test_items_keep_their_order_while_no_tenant_exceeds_its_share() -> None:
    order = FairOrder()
    items = [item("a", "1"), item("b", "2"), item("a", "3")]

    assert processed(order, items, {}) == ["1", "2", "3"]
    assert (order.count, order.weight) == (0, 0)


def test_a_tenant_above_its_share_waits_while_others_pass() -> None:
    order = FairOrder()
    items = [item("slow", f"slow {n}") for n in range(4)] + [
        item("quick", "quick 1"),
        item("quick", "quick 2"),
    ]

    assert processed(order, items, {"slow": SHARE}) == ["slow 0", "quick 1", "quick 2"]
    assert order.count == 3
    assert order.weight > 0


def test_at_most_two_texts_of_a_tenant_that_take_all_work_come_before_others() -> None:
    items = [item("slow", f"slow {n}") for n in range(4)] + [item("quick", "quick")]

    assert processed(FairOrder(), items, {"slow": MAX_EXAMINED}) == ["slow 0", "slow 1", "quick"]


def test_waiting_items_come_first_in_later_steps_and_in_their_order() -> None:
    order = FairOrder()
    work = {"slow": SHARE // 2}
    processed(order, [item("slow", f"slow {n}") for n in range(4)], work)

    assert processed(order, [item("slow", "slow 4"), item("quick", "quick")], work) == [
        "slow 2", "slow 3", "quick",
    ]  # fmt: skip
    assert processed(order, [], work) == ["slow 4"]
    assert (order.count, order.weight) == (0, 0)


def test_each_slow_tenant_has_a_share_of_its_own() -> None:
    order = FairOrder()
    items = [item(name, name) for name in ("a", "a", "b", "b")]

    assert processed(order, items, {"a": SHARE, "b": SHARE}) == ["a", "b"]
    assert processed(order, [], {"a": SHARE, "b": SHARE}) == ["a", "b"]


PROGRAM = """
import threading
from somatrace import *
from somatrace.pipeline import fair_order
fair_order.SHARE = 200_000
from somatrace.guard.policy import callable_source
callable_source.LIMIT = 60.0  # a busy machine takes long to ask
reached, go_on, order = threading.Event(), threading.Event(), []
def listen(record):
    if record.phase == "ended":
        order.append(record.span_name)
        if record.span_name == "plug":
            reached.set()
            go_on.wait(60)
POLICY = lambda tenant: "redacted" if tenant == "slow" else None
init_tracing("svc", config=Config(content_policy=POLICY, target={target!r}), listeners=[listen])
with span("plug"):
    pass
reached.wait(60)
for number in range(4):
    with bind(tenant_id="slow"), span(f"slow {{number}}") as current:
        current.set_attribute("gen_ai.input.messages", "key=" * 1000)
with bind(tenant_id="quick"), span("quick"):
    pass
go_on.set()
{end}
print(order[1:])
state = status()
print(state.lost, state.queued_spans)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["assert flush(60)", "assert shutdown(60) is not False"])
def test_spans_of_another_tenant_overtake_those_that_wait_and_all_arrive(end: str) -> None:
    done = run_program(PROGRAM.format(target="local", end=end))

    assert done.returncode == 0, done.stderr
    order, state = done.stdout.splitlines()[-2:]
    names = ast.literal_eval(order)
    assert names.index("quick") < names.index("slow 2")
    assert sorted(names) == ["quick", "slow 0", "slow 1", "slow 2", "slow 3"]
    assert state == "{} 0"
