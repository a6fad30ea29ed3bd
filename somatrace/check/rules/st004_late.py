"""ST004: `init_tracing` is called after the process has begun to serve."""

from __future__ import annotations

from somatrace.check.rules.finding import Finding
from somatrace.check.rules.process_findings import CALL_AT_TOP, ProcessFindings
from somatrace.check.rules.rule import APP, TRACED, Rule
from somatrace.check.run.machine import InitCall

RULE = Rule(
    code="ST004",
    name="late",
    summary=(
        "`init_tracing` is called after the process has begun to serve, per request, at exit, or on a thread"
    ),
    reason="Requests served before the call are not traced, and every call after the first does nothing.",
    message=(
        "{process} reaches this call only after it has begun to serve, or at exit, or on another thread"
    ),
    advice=CALL_AT_TOP,
    broken=f'{APP}app = FastAPI()\n\n\n@app.get("/")\ndef read() -> None:\n    init_tracing("orders")\n',
    kept=TRACED,
)


def finding(process: ProcessFindings, call: InitCall) -> Finding:
    """The finding, at the late call."""
    return process.finding(RULE, call.place, RULE.message.format(process=process.process()), call.chain)
