"""ST001: the process never calls `init_tracing`."""

from __future__ import annotations

from somatrace.check.rules.finding import Finding
from somatrace.check.rules.process_findings import CALL_AT_TOP, ProcessFindings
from somatrace.check.rules.rule import TRACED, Rule
from somatrace.check.run.machine import CodePlace

RULE = Rule(
    code="ST001",
    name="missing",
    summary="`init_tracing` is never called",
    reason="The process sends no traces: its LLM calls, costs and tenants stay invisible.",
    message="{process} never calls `init_tracing`, so nothing in this process is traced",
    advice=CALL_AT_TOP,
    broken="from fastapi import FastAPI\n\napp = FastAPI()\n",
    kept=TRACED,
)


def finding(process: ProcessFindings) -> Finding:
    """The finding, at the top of the entrypoint."""
    return process.finding(RULE, CodePlace(process.path, 1), RULE.message.format(process=process.process()))
