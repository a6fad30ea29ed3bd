"""Work at a fixed rate: the CPU of the thread that makes the spans, and of the whole process."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import SpanKind
from systems import System
from workflow import SPANS, call_attributes, messages, set_call, workflow

_WARM = 100


class _Redaction:
    """Times redaction of texts of some length, wherever the guard calls it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = threading.local()

    def install(self) -> None:
        from somatrace.guard.redaction import redact

        modules = [module for name, module in sys.modules.items() if name.startswith("somatrace.")]
        for function in (redact.redact_text, redact.find):
            timed = self._timed(function)
            for module in modules:
                if module is not redact and vars(module).get(function.__name__) is function:
                    setattr(module, function.__name__, timed)

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        inside = self._inside

        def run(text: str, *arguments: Any, **named: Any) -> Any:
            if len(text) < 500 or getattr(inside, "yes", False):
                return function(text, *arguments, **named)
            inside.yes = True
            began = time.thread_time()
            try:
                return function(text, *arguments, **named)
            finally:
                self.seconds += time.thread_time() - began
                inside.yes = False

        return run


def _sleep(ahead: float) -> None:
    if ahead > 0.002:
        time.sleep(ahead)


def paced(system: System, *, name: str, spans: int, rate: float, content: bool, **_: Any) -> dict[str, float]:
    workflows = spans // SPANS
    texts = [messages(number) if content else None for number in range(_WARM + workflows)]
    for number in range(_WARM):
        workflow(system, number, texts[number])
    system.flush()
    redaction = _Redaction()
    if content and name == "ours":
        redaction.install()
    process, caller, began = time.process_time(), time.thread_time(), time.monotonic()
    for number in range(workflows):
        workflow(system, _WARM + number, texts[_WARM + number])
        _sleep((number + 1) * SPANS / rate - (time.monotonic() - began))
    caller = time.thread_time() - caller
    system.flush()
    made = workflows * SPANS
    return {
        "caller": caller / made * 1e6,
        "process": (time.process_time() - process) / made * 1e6,
        "redaction": redaction.seconds / made * 1e6,
        "made": made + _WARM * SPANS,
        "calls": workflows + _WARM,
    }


def tasks(system: System, *, spans: int, rate: float, width: int, **_: Any) -> dict[str, float]:
    """As many tasks as `width`, each with a workflow of its own open while others run."""
    workflows = spans // SPANS
    start = system.tracer.start_as_current_span

    async def one(number: int) -> None:
        with system.tenant(number), start("answer") as root:
            root.set_attribute("question.number", number)
            for step in ("plan", "retrieve", "write"):
                with start(step):
                    await asyncio.sleep(0)
            with start("openai.chat", kind=SpanKind.CLIENT) as call:
                set_call(call, number)
                await asyncio.sleep(0)

    async def task(index: int, began: float, first: int, last: int) -> None:
        for number in range(first + index, last, width):
            ahead = (number - first) * SPANS / rate - (time.monotonic() - began)
            if ahead > 0.002:
                await asyncio.sleep(ahead)
            await one(number)

    async def run(first: int, last: int) -> None:
        began = time.monotonic()
        await asyncio.gather(*(task(index, began, first, last) for index in range(width)))

    asyncio.run(run(0, _WARM))
    system.flush()
    process = time.process_time()
    asyncio.run(run(_WARM, _WARM + workflows))
    system.flush()
    made = workflows * SPANS
    return {"process": (time.process_time() - process) / made * 1e6, "made": made + _WARM * SPANS}


def threads(system: System, *, spans: int, rate: float, width: int, **_: Any) -> dict[str, float]:
    """As many threads as `width`, together at the given rate."""
    workflows = spans // SPANS

    def work(index: int, began: float) -> None:
        for number in range(index, workflows, width):
            _sleep(number * SPANS / rate - (time.monotonic() - began))
            workflow(system, _WARM + number)

    for number in range(_WARM):
        workflow(system, number)
    system.flush()
    process, began = time.process_time(), time.monotonic()
    running = [threading.Thread(target=work, args=(index, began)) for index in range(width)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    system.flush()
    made = workflows * SPANS
    return {"process": (time.process_time() - process) / made * 1e6, "made": made + _WARM * SPANS}


def attributes(system: System, *, spans: int, rate: float, width: int, **_: Any) -> dict[str, float]:
    """Spans with as many attributes as `width`: those of a model call, and then numbers."""
    further = {f"app.figure_{index}": index + 0.5 for index in range(128)}

    def one(number: int) -> None:
        with system.tenant(number), system.tracer.start_as_current_span("openai.chat") as call:
            for key, value in list((call_attributes(number) | further).items())[:width]:
                call.set_attribute(key, value)  # type: ignore[arg-type]

    for number in range(_WARM):
        one(number)
    system.flush()
    process, began = time.process_time(), time.monotonic()
    for number in range(spans):
        one(_WARM + number)
        _sleep((number + 1) / rate - (time.monotonic() - began))
    system.flush()
    return {"process": (time.process_time() - process) / spans * 1e6, "made": spans + _WARM}
