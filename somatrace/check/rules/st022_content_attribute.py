"""ST022: prompt or completion text is set on a span directly."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from somatrace.check.rules.line_scan import LineScan
from somatrace.check.rules.rule import APP, Rule

RULE = Rule(
    code="ST022",
    name="content-attribute",
    summary="prompt or completion text is set on a span directly",
    reason="Use `content(input=, output=)`, so that the guard applies the tenant's policy.",
    message="`{what}` is raw content, set on a span directly",
    advice="use somatrace's `content(input=, output=)`",
    broken=(
        f'from opentelemetry import trace\n{APP}init_tracing("orders")\napp = FastAPI()\n\n\n'
        "def note(text: str) -> None:\n"
        '    trace.get_current_span().set_attribute("gen_ai.prompt", text)\n'
    ),
    kept=(
        f'from opentelemetry import trace\n{APP}init_tracing("orders")\napp = FastAPI()\n\n\n'
        "def note(text: str) -> None:\n"
        '    trace.get_current_span().set_attribute("tenant_id", text)\n'
    ),
)


_CONTENT_KEY = re.compile(
    r"^(?:gen_ai\.(?:prompt|completion)(?:\..*)?|gen_ai\.(?:input|output)\.messages|traceloop\.entity\.(?:input|output))$"
)


def scan_call(scan: LineScan, node: ast.Call, member: str) -> None:
    """Look at `set_attribute`, `set_attributes` and the argument `attributes`."""
    if member == "set_attribute" and node.args:
        _key(scan, node, node.args[0])
    for table in _tables(node, member):
        for key in table.keys:
            if key is not None:
                _key(scan, node, key)


def scan_item(scan: LineScan, node: ast.Assign | ast.AugAssign, target: ast.Subscript) -> None:
    """Look at `span.attributes[...] = ...`."""
    if isinstance(target.value, ast.Attribute) and target.value.attr == "attributes":
        _key(scan, node, target.slice)


def _tables(node: ast.Call, member: str) -> Iterator[ast.Dict]:
    given: list[ast.expr] = [keyword.value for keyword in node.keywords if keyword.arg == "attributes"]
    if member == "set_attributes":
        given += node.args
    yield from (table for table in given if isinstance(table, ast.Dict))


def _key(scan: LineScan, node: ast.AST, key: ast.expr) -> None:
    if isinstance(key, ast.Constant) and isinstance(key.value, str) and _CONTENT_KEY.match(key.value):
        scan.hit(RULE, node, key.value)
