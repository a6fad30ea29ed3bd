"""ST000: a file that the process needs cannot be read or parsed."""

from __future__ import annotations

from collections.abc import Iterator

from somatrace.check.rules.finding import Finding
from somatrace.check.rules.process_findings import ProcessFindings
from somatrace.check.rules.rule import APP, TRACED, Rule
from somatrace.check.run.process import RunOutcome

RULE = Rule(
    code="ST000",
    name="unreadable",
    summary="an entrypoint, or a module in the tree that it imports, cannot be read or parsed",
    reason="Python would fail on it too, so the check cannot decide whether the process is traced.",
    message="{problem}, and {process} needs it",
    advice=(
        "make it a file that Python can import; if it is written for a newer Python, run `somatrace check`"
        " with that one, since the Python that runs the check parses the files"
    ),
    broken=f"{APP}init_tracing(\napp = FastAPI()\n",
    kept=TRACED,
)


def findings(process: ProcessFindings, outcome: RunOutcome) -> Iterator[Finding]:
    """One finding for each unreadable file."""
    for seen in outcome.ledger.unreadable.values():
        message = RULE.message.format(problem=seen.what, process=process.process())
        yield process.finding(RULE, seen.place, message, seen.chain)
