"""ST030: a second tracing pipeline is set up beside somatrace."""

from __future__ import annotations

import ast

from somatrace.check.rules.line_scan import LineScan
from somatrace.check.rules.rule import APP, TRACED, Rule

RULE = Rule(
    code="ST030",
    name="bypass",
    summary="a second tracing pipeline is set up beside somatrace",
    reason="Its spans bypass the guard, and the backend receives spans twice.",
    message="{what} sets up a pipeline that does not pass through the guard",
    advice="remove it: `init_tracing` sends to the same backend",
    broken=(
        f'from langfuse import Langfuse\n{APP}init_tracing("orders")\nlangfuse = Langfuse()\n'
        "app = FastAPI()\n"
    ),
    kept=TRACED,
)


_CALLS = {
    "traceloop.sdk.Traceloop.init": "Traceloop.init",
    "opentelemetry.sdk.trace.TracerProvider": "an SDK TracerProvider",
    "opentelemetry.trace.set_tracer_provider": "set_tracer_provider",
    "langfuse.Langfuse": "Langfuse(...)",
    "langfuse.client.Langfuse": "Langfuse(...)",
}
_CALLBACKS = {
    "litellm.success_callback",
    "litellm.failure_callback",
    "litellm.callbacks",
    "litellm._async_success_callback",
}
_ADDING = {"append", "extend", "insert"}


def scan_call(scan: LineScan, node: ast.Call, path: str, member: str) -> None:
    """Look at constructors of other pipelines, and at additions to LiteLLM's callbacks."""
    if path in _CALLS:
        scan.hit(RULE, node, _CALLS[path])
    if (
        member in _ADDING
        and isinstance(node.func, ast.Attribute)
        and scan.resolve(node.func.value) in _CALLBACKS
    ):
        _callbacks(scan, node, node.args)


def scan_assign(scan: LineScan, node: ast.Assign | ast.AugAssign, target: ast.expr) -> None:
    """Look at assignments to LiteLLM's callbacks."""
    if scan.resolve(target) in _CALLBACKS:
        _callbacks(scan, node, [node.value])


def scan_import(scan: LineScan, node: ast.Import | ast.ImportFrom) -> None:
    """Look at imports of Langfuse's OpenAI client."""
    names = [alias.name for alias in node.names]
    if isinstance(node, ast.Import):
        found = "langfuse.openai" in names
    else:
        found = not node.level and (
            node.module == "langfuse.openai" or (node.module == "langfuse" and "openai" in names)
        )
    if found:
        scan.hit(RULE, node, "langfuse.openai")


def _callbacks(scan: LineScan, node: ast.AST, values: list[ast.expr]) -> None:
    for value in values:
        for inner in value.elts if isinstance(value, ast.List | ast.Tuple) else [value]:
            if isinstance(inner, ast.Constant) and inner.value in {"langfuse", "langfuse_otel"}:
                scan.hit(RULE, node, "LiteLLM's langfuse callback")
