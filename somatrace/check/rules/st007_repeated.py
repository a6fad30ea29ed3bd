"""ST007: `init_tracing` is certainly called twice in one process."""

from __future__ import annotations

from somatrace.check.rules.finding import Finding
from somatrace.check.rules.process_findings import ProcessFindings
from somatrace.check.rules.rule import APP, TRACED, Rule
from somatrace.check.run.machine import InitCall

RULE = Rule(
    code="ST007",
    name="repeated",
    summary="`init_tracing` is certainly called twice in one process",
    reason="The second call does nothing: its service name and settings are not used.",
    message="{process} has already called `init_tracing` in {first}",
    advice="keep one call per process",
    broken=f'{APP}init_tracing("orders")\ninit_tracing("orders-api")\napp = FastAPI()\n',
    kept=TRACED,
)


_SAME_PLACE = "{process} calls `init_tracing` here more than once"


def finding(process: ProcessFindings, calls: list[InitCall]) -> Finding:
    """The finding, at the second call."""
    first, second = calls[0], next((call for call in calls[1:] if call.place != calls[0].place), calls[-1])
    template = _SAME_PLACE if first.place == second.place else RULE.message
    at = f"{first.place.path}:{first.place.line}"
    return process.finding(
        RULE, second.place, template.format(process=process.process(), first=at), second.chain
    )
