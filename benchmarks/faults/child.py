"""One process of a traced program: `child.py '{"system": "sdk", "seconds": 4, …}'`.

It makes traces of five spans until its time is over, and notes each one after its end, in a file that
survives the process: the moment, how long it took, the ids of its spans. Then it ends like any program.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent / "road" / "child"))

from systems import SYSTEMS, System

#: Seconds between two traces: 100 of them per second.
_PAUSE = 0.01
_STEPS = ("plan", "retrieve", "call", "write")


def trace(system: System, number: int) -> tuple[float, list[str]]:
    """Make a trace; return how many seconds it took, and the ids of its spans."""
    start, made = system.tracer.start_as_current_span, []
    began = time.perf_counter()
    with system.tenant(number), start("answer") as root:
        made.append(root)
        for step in _STEPS:
            with start(step) as span:
                span.set_attribute("step.number", number)
                made.append(span)
    took = time.perf_counter() - began
    return took, [f"{span.get_span_context().span_id:016x}" for span in made]


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    notes = os.open(given["notes"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(*values: object) -> None:
        os.write(notes, json.dumps([time.monotonic(), *values]).encode() + b"\n")

    system = SYSTEMS[given["system"]](sink=given["sink"])
    note("begin")
    until, number = time.monotonic() + given["seconds"], 0
    while time.monotonic() < until:
        note("trace", *trace(system, number))
        number += 1
        time.sleep(_PAUSE)
    note("end")


main()
