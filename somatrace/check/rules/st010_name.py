"""ST010: the service name is missing, empty, or not a constant."""

from __future__ import annotations

from somatrace.check.rules.finding import Finding
from somatrace.check.rules.process_findings import ProcessFindings
from somatrace.check.rules.rule import APP, TRACED, Rule
from somatrace.check.run.machine import InitCall

RULE = Rule(
    code="ST010",
    name="name",
    summary="the service name is missing, empty, or not a constant in the source",
    reason="Traces are found by service name. A computed name can be neither looked up nor checked.",
    message="the service name is {problem}",
    advice='pass it as a literal: `init_tracing("orders")`',
    broken=f'import os\n{APP}init_tracing(os.environ["NAME"])\napp = FastAPI()\n',
    kept=TRACED,
)


def finding(process: ProcessFindings, call: InitCall) -> Finding | None:
    """The finding if the name of this call is unusable."""
    if call.service and call.service.strip() and call.service != "__main__":
        return None
    problem = "not a constant in the source" if call.service is None else "empty"
    return process.finding(RULE, call.place, RULE.message.format(problem=problem), call.chain)
