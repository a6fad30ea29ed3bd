"""ST006: the called function is named `init_tracing`, but is not somatrace's."""

from __future__ import annotations

from somatrace.check.rules.finding import Finding
from somatrace.check.rules.process_findings import ProcessFindings
from somatrace.check.rules.rule import TRACED, Rule
from somatrace.check.run.machine import SeenEvent

RULE = Rule(
    code="ST006",
    name="shadowed",
    summary="the called function is named `init_tracing` but is not somatrace's",
    reason="The line looks right and does something else.",
    message="this calls {function}, not somatrace's `init_tracing`, so {process} is untraced",
    advice="`from somatrace import init_tracing`, under a name that nothing else takes",
    broken=(
        "from fastapi import FastAPI\nfrom acme_tools import init_tracing\n\n"
        'init_tracing("orders")\napp = FastAPI()\n'
    ),
    kept=TRACED,
)


def finding(process: ProcessFindings, seen: SeenEvent) -> Finding:
    """The finding, at the call of the other function."""
    message = RULE.message.format(function=seen.what, process=process.process())
    return process.finding(RULE, seen.place, message, seen.chain)
