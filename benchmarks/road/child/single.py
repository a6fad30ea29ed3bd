"""Work that is measured in one piece: blocks, spans waiting in the queue, a burst, redaction."""

from __future__ import annotations

import gc
import time
import tracemalloc
from typing import Any

from systems import System
from workflow import SPANS, messages, workflow


def block(system: System, *, spans: int, **_: Any) -> dict[str, float]:
    """CPU of the thread for one block without a body; the queue is emptied outside the measurement."""
    make = system.block or system.tracer.start_as_current_span
    batch, rounds, seconds = 500, max(2, spans // 500), 0.0
    for number in range(rounds + 1):
        began = time.thread_time()
        for _ in range(batch):
            with make("step"):
                pass
        if number:
            seconds += time.thread_time() - began
        system.flush()
    return {"caller": seconds / batch / rounds * 1e6, "made": batch * (rounds + 1)}


def disabled(system: System, *, spans: int, **_: Any) -> dict[str, float]:
    """CPU of one block of a program whose tracing is disabled."""
    make, count = system.block or system.tracer.start_as_current_span, spans * 10
    for _ in range(1000):
        with make("step"):
            pass
    began = time.thread_time()
    for _ in range(count):
        with make("step"):
            pass
    return {"caller": (time.thread_time() - began) / count * 1e6, "made": 0}


def queued(system: System, *, spans: int, **_: Any) -> dict[str, float]:
    """Memory of one ended span in the queue: the settings of this run send nothing meanwhile."""
    for number in range(20):
        workflow(system, number)
    system.flush()
    workflows = min(spans, 5000) // SPANS
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(workflows):
        workflow(system, 20 + number)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    system.flush()
    return {"bytes": size / workflows / SPANS, "made": (workflows + 20) * SPANS}


def burst(system: System, *, spans: int, **_: Any) -> dict[str, float]:
    """As many spans as possible at once: those per second until the last one was sent."""
    workflows = spans // SPANS
    for number in range(20):
        workflow(system, number)
    system.flush()
    began = time.monotonic()
    for number in range(workflows):
        workflow(system, 20 + number)
    made = time.monotonic() - began
    system.flush()
    return {
        "seconds": time.monotonic() - began,
        "making": made,
        "spans": workflows * SPANS,
        "made": (workflows + 20) * SPANS,
    }


def redaction(_: System, **__: Any) -> dict[str, float]:
    """The best CPU time of `redact_text` for 2 KB with an address in it."""
    from somatrace.guard import redact_text

    best = float("inf")
    for number in range(0, 500, 5):
        text = messages(number)[0][-2000:]
        began = time.thread_time()
        redact_text(text)
        best = min(best, time.thread_time() - began)
    return {"caller": best * 1e6, "made": 0}
