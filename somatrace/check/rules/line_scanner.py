"""Rules about single lines, in service code: content opened by hand, pipelines beside ours."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from somatrace.check.run.machine import CodePlace

#: A file without any of these words is not parsed for these rules.
WORTH_PARSING = re.compile(
    rb"trace_content|TRACE_CONTENT|gen_ai\.|traceloop|Traceloop|TracerProvider|set_tracer_provider|[Ll]angfuse|init_tracing"
)
_CONTENT_KEY = re.compile(
    r"^(?:gen_ai\.(?:prompt|completion)(?:\..*)?|gen_ai\.(?:input|output)\.messages|traceloop\.entity\.(?:input|output))$"
)
_SWITCHES = {"TRACE_CONTENT", "TRACELOOP_TRACE_CONTENT"}
_ON = {"true", "1", "yes", "on"}
_BYPASS = {
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


@dataclass(frozen=True, slots=True)
class LineHit:
    """A finding of one line: code, place, and what it is."""

    code: str
    place: CodePlace
    what: str


def is_on(value: str) -> bool:
    """Whether a switch of that value opens content."""
    return value.strip().lower() in _ON


def scan(tree: ast.Module, path: str) -> tuple[list[LineHit], list[CodePlace]]:
    """Hits, and the calls of the real `init_tracing` that stand in the source, reachable or not."""
    scanner = _Scanner(path)
    scanner.block(tree)
    return scanner.hits, scanner.calls


@dataclass(slots=True)
class _Scanner:
    path: str
    hits: list[LineHit] = field(default_factory=list)
    calls: list[CodePlace] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def block(self, tree: ast.Module) -> None:
        """Names first, then what they are used for: order inside a file does not matter here."""
        nodes = list(ast.walk(tree))
        own: set[str] = set()
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                own.add(node.name)
        for name in own:
            if not self.names.get(name, "").startswith("somatrace"):
                self.names.pop(name, None)
        for node in nodes:
            self._node(node)

    def _node(self, node: ast.AST) -> None:
        if isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.Assign | ast.AugAssign):
            self._assign(node)
        elif (
            isinstance(node, ast.ImportFrom)
            and node.module in {"langfuse.openai", "langfuse"}
            and not node.level
        ):
            self._langfuse(node)
        elif isinstance(node, ast.Import) and any(alias.name == "langfuse.openai" for alias in node.names):
            self._hit("ST030", node, "langfuse.openai")

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.Import):
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                self.names[alias.asname or name] = name
            elif not node.level:
                self.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def _langfuse(self, node: ast.ImportFrom) -> None:
        if node.module == "langfuse.openai" or any(alias.name == "openai" for alias in node.names):
            self._hit("ST030", node, "langfuse.openai")

    def _hit(self, code: str, node: ast.AST, what: str) -> None:
        place = CodePlace(self.path, getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1)
        hit = LineHit(code, place, what)
        if hit not in self.hits:
            self.hits.append(hit)

    def _path(self, node: ast.expr) -> str:
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.names:
            return ""
        return ".".join([self.names[node.id], *reversed(parts)])

    def _call(self, node: ast.Call) -> None:
        path = self._path(node.func)
        if path in {"somatrace.init_tracing", "somatrace.tracing.init_tracing"}:
            self.calls.append(CodePlace(self.path, node.lineno, node.col_offset + 1))
            self._trace_content(node)
        if path in _BYPASS:
            self._hit("ST030", node, _BYPASS[path])
        member = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if (
            member in _ADDING
            and isinstance(node.func, ast.Attribute)
            and self._path(node.func.value) in _CALLBACKS
        ):
            self._callback(node, node.args)
        if member == "setdefault" or path == "os.putenv":
            self._switch(
                node, node.args[0] if node.args else None, node.args[1] if len(node.args) > 1 else None
            )
        if member == "update":
            self._updated(node)
        if member == "set_attribute" and node.args:
            self._content_key(node, node.args[0])
        for table in self._tables(node, member):
            for key in table.keys:
                if key is not None:
                    self._content_key(node, key)

    def _tables(self, node: ast.Call, member: str) -> Iterator[ast.Dict]:
        given: list[ast.expr] = [keyword.value for keyword in node.keywords if keyword.arg == "attributes"]
        if member == "set_attributes":
            given += node.args
        yield from (table for table in given if isinstance(table, ast.Dict))

    def _content_key(self, node: ast.AST, key: ast.expr) -> None:
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and _CONTENT_KEY.match(key.value):
            self._hit("ST022", node, key.value)

    def _trace_content(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            value = keyword.value
            if keyword.arg == "trace_content" and _is_true(value):
                self._hit("ST020", node, "trace_content=True")
            if keyword.arg is None and isinstance(value, ast.Dict):
                for key, given in zip(value.keys, value.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "trace_content" and _is_true(given):
                        self._hit("ST020", node, "trace_content=True")

    def _switch(self, node: ast.AST, key: ast.expr | None, value: ast.expr | None) -> None:
        if (
            isinstance(key, ast.Constant)
            and key.value in _SWITCHES
            and isinstance(value, ast.Constant)
            and is_on(str(value.value))
        ):
            self._hit("ST021", node, f"{key.value!s}={value.value!s}")

    def _updated(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg in _SWITCHES:
                self._switch(node, ast.Constant(keyword.arg), keyword.value)
        for table in node.args:
            if isinstance(table, ast.Dict):
                for key, value in zip(table.keys, table.values, strict=True):
                    self._switch(node, key, value)

    def _assign(self, node: ast.Assign | ast.AugAssign) -> None:
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Subscript):
                self._switch(node, target.slice, node.value)
                if isinstance(target.value, ast.Attribute) and target.value.attr == "attributes":
                    self._content_key(node, target.slice)
            elif self._path(target) in _CALLBACKS:
                self._callback(node, [node.value])

    def _callback(self, node: ast.AST, values: list[ast.expr]) -> None:
        for value in values:
            for inner in value.elts if isinstance(value, ast.List | ast.Tuple) else [value]:
                if isinstance(inner, ast.Constant) and inner.value in {"langfuse", "langfuse_otel"}:
                    self._hit("ST030", node, "LiteLLM's langfuse callback")


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
