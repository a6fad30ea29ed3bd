"""ST020: `init_tracing` is called with `trace_content=True`."""

from __future__ import annotations

import ast

from somatrace.check.rules.finding import Finding
from somatrace.check.rules.line_scan import LineScan
from somatrace.check.rules.process_findings import ProcessFindings
from somatrace.check.rules.rule import APP, Rule
from somatrace.check.run.machine import InitCall

RULE = Rule(
    code="ST020",
    name="content-argument",
    summary="`init_tracing` is called with `trace_content=True`",
    reason="Content is enabled per tenant in the policy file, with an end date and a reason, never in code.",
    message="`{what}` asks for every tenant's prompts",
    advice="remove it; enable single tenants in the policy file",
    broken=f'{APP}init_tracing("orders", trace_content=True)\napp = FastAPI()\n',
    kept=f'{APP}init_tracing("orders", trace_content=False)\napp = FastAPI()\n',
)


_WHAT = "trace_content=True"


def finding(process: ProcessFindings, call: InitCall) -> Finding | None:
    """The finding if this call, followed from the launcher, asks for content."""
    if not call.content:
        return None
    return process.finding(RULE, call.place, RULE.message.format(what=_WHAT))


def scan_init(scan: LineScan, node: ast.Call) -> None:
    """Look at a call of `init_tracing` in the source, whether or not a process reaches it."""
    for keyword in node.keywords:
        value = keyword.value
        if keyword.arg == "trace_content" and _is_true(value):
            scan.hit(RULE, node, _WHAT)
        if keyword.arg is None and isinstance(value, ast.Dict):
            for key, given in zip(value.keys, value.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "trace_content" and _is_true(given):
                    scan.hit(RULE, node, _WHAT)


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
