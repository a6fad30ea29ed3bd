"""ST002: `init_tracing` is in the source, but not on the path that the process runs."""

from __future__ import annotations

from somatrace.check.rules.finding import Finding
from somatrace.check.rules.process_findings import CALL_AT_TOP, ProcessFindings
from somatrace.check.rules.rule import APP, TRACED, Rule
from somatrace.check.run.machine import CodePlace

RULE = Rule(
    code="ST002",
    name="unreachable",
    summary="`init_tracing` is called in the source, but not on the path that this process runs",
    reason=(
        "The launcher decides which code runs: a server imports the module, so a call under its "
        "`__main__` guard never runs."
    ),
    message="{process} never runs this call, so this process is untraced",
    advice=CALL_AT_TOP,
    broken=f'{APP}app = FastAPI()\nif __name__ == "__main__":\n    init_tracing("orders")\n',
    kept=TRACED,
)


_IMPORTED = "{process} imports this module and never runs this call, so this service is untraced"


def finding(process: ProcessFindings, written: tuple[CodePlace, ...]) -> Finding:
    """The finding, at a call in the entrypoint if there is one, else at the first call in the source."""
    place = next((one for one in written if one.path == process.path), written[0])
    imported = process.launch.start.kind == "import" and place.path == process.path
    message = _IMPORTED if imported else RULE.message
    return process.finding(RULE, place, message.format(process=process.process()))
