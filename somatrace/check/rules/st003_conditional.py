"""ST003: `init_tracing` is called on some paths only."""

from __future__ import annotations

from somatrace.check.rules.finding import Finding
from somatrace.check.rules.process_findings import ProcessFindings, shortened
from somatrace.check.rules.rule import APP, TRACED, Rule
from somatrace.check.run.machine import InitCall

RULE = Rule(
    code="ST003",
    name="conditional",
    summary="`init_tracing` is called on some paths only",
    reason=(
        "Whether production is traced depends on a value that is rarely checked. "
        "To switch tracing off, set SOMATRACE_TARGET=none."
    ),
    message="{process} calls `init_tracing` on some paths only{condition}",
    advice="call it on every path; SOMATRACE_TARGET=none switches tracing off",
    broken=f'import os\n{APP}if os.getenv("TRACING"):\n    init_tracing("orders")\napp = FastAPI()\n',
    kept=TRACED,
)


def finding(process: ProcessFindings, call: InitCall) -> Finding:
    """The finding, with the innermost condition of the call."""
    condition = ""
    if call.conditions:
        at = call.conditions[-1]
        text = process.sources.line(at.path, at.line).strip()
        condition = f": it depends on `{shortened(text)}` in {at.path}:{at.line}"
    message = RULE.message.format(process=process.process(), condition=condition)
    return process.finding(RULE, call.place, message, call.chain)
