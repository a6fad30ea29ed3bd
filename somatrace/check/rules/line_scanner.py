"""Scan the syntax tree of one file for the rules about single lines."""

from __future__ import annotations

import ast
import re

from somatrace.check.rules import (
    st020_content_argument,
    st021_content_switch,
    st022_content_attribute,
    st030_bypass,
)
from somatrace.check.rules.line_scan import LineHit, LineScan
from somatrace.check.run.machine import CodePlace

#: A file without any of these words is not parsed for these rules.
WORTH_PARSING = re.compile(
    rb"trace_content|TRACE_CONTENT|gen_ai\.|traceloop|Traceloop|TracerProvider|set_tracer_provider|[Ll]angfuse|init_tracing"
)


def scan(tree: ast.Module, path: str) -> tuple[list[LineHit], list[CodePlace]]:
    """Hits, and the calls of somatrace's `init_tracing` in the source, reachable or not.

    Names are collected before their uses are read: the order within a file does not matter here.
    """
    nodes = list(ast.walk(tree))
    state = LineScan(path)
    _names(state, nodes)
    for node in nodes:
        if isinstance(node, ast.Call):
            _call(state, node)
        elif isinstance(node, ast.Assign | ast.AugAssign):
            _assign(state, node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            st030_bypass.scan_import(state, node)
    return state.hits, state.calls


def _names(state: LineScan, nodes: list[ast.AST]) -> None:
    own: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            _import(state, node)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            own.add(node.name)
    for name in own:
        if not state.names.get(name, "").startswith("somatrace"):
            state.names.pop(name, None)


def _import(state: LineScan, node: ast.Import | ast.ImportFrom) -> None:
    for alias in node.names:
        if isinstance(node, ast.Import):
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            state.names[alias.asname or name] = name
        elif not node.level:
            state.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"


def _call(state: LineScan, node: ast.Call) -> None:
    path = state.resolve(node.func)
    member = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if path in {"somatrace.init_tracing", "somatrace.tracing.init_tracing"}:
        state.calls.append(CodePlace(state.path, node.lineno, node.col_offset + 1))
        st020_content_argument.scan_init(state, node)
    st030_bypass.scan_call(state, node, path, member)
    st021_content_switch.scan_call(state, node, path, member)
    st022_content_attribute.scan_call(state, node, member)


def _assign(state: LineScan, node: ast.Assign | ast.AugAssign) -> None:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Subscript):
            st021_content_switch.scan_item(state, node, target)
            st022_content_attribute.scan_item(state, node, target)
        else:
            st030_bypass.scan_assign(state, node, target)
