"""ST021: a content switch is turned on in code or in an image."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from posixpath import dirname

from somatrace.check.launch import dockerfile
from somatrace.check.project.source import Sources
from somatrace.check.rules.finding import Finding
from somatrace.check.rules.line_scan import LineScan
from somatrace.check.rules.rule import APP, Rule

RULE = Rule(
    code="ST021",
    name="content-switch",
    summary="a content switch (TRACE_CONTENT, TRACELOOP_TRACE_CONTENT) is turned on in code or in an image",
    reason="It exposes every tenant's prompts at once.",
    message="`{what}` exposes every tenant's prompts",
    advice="remove it; enable single tenants in the policy file",
    broken=(
        f'import os\n{APP}os.environ["TRACELOOP_TRACE_CONTENT"] = "true"\n'
        'init_tracing("orders")\napp = FastAPI()\n'
    ),
    kept=(
        f'import os\n{APP}os.environ["TRACELOOP_TRACE_CONTENT"] = "false"\n'
        'init_tracing("orders")\napp = FastAPI()\n'
    ),
)


_SWITCHES = {"TRACE_CONTENT", "TRACELOOP_TRACE_CONTENT"}
_ON = {"true", "1", "yes", "on"}


def image_findings(path: str, text: str, sources: Sources) -> Iterator[Finding]:
    """Switches that a Dockerfile turns on."""
    for stage in dockerfile.stages(text):
        for name, value, line in stage.switches:
            if name in _SWITCHES and _is_on(value):
                message = RULE.message.format(what=f"{name}={value}")
                source = sources.line(path, line)
                yield Finding(path, line, RULE.code, 1, message, RULE.advice, (), dirname(path), source)


def scan_call(scan: LineScan, node: ast.Call, path: str, member: str) -> None:
    """Look at `os.environ.setdefault`, `os.environ.update` and `os.putenv`."""
    if member == "setdefault" or path == "os.putenv":
        given = node.args
        _switch(scan, node, given[0] if given else None, given[1] if len(given) > 1 else None)
    if member == "update":
        _updated(scan, node)


def scan_item(scan: LineScan, node: ast.Assign | ast.AugAssign, target: ast.Subscript) -> None:
    """Look at `os.environ[...] = ...`."""
    _switch(scan, node, target.slice, node.value)


def _updated(scan: LineScan, node: ast.Call) -> None:
    for keyword in node.keywords:
        if keyword.arg in _SWITCHES:
            _switch(scan, node, ast.Constant(keyword.arg), keyword.value)
    for table in node.args:
        if isinstance(table, ast.Dict):
            for key, value in zip(table.keys, table.values, strict=True):
                _switch(scan, node, key, value)


def _switch(scan: LineScan, node: ast.AST, key: ast.expr | None, value: ast.expr | None) -> None:
    if (
        isinstance(key, ast.Constant)
        and key.value in _SWITCHES
        and isinstance(value, ast.Constant)
        and _is_on(str(value.value))
    ):
        scan.hit(RULE, node, f"{key.value!s}={value.value!s}")


def _is_on(value: str) -> bool:
    return value.strip().lower() in _ON
