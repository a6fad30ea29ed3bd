"""Names, calls and hits of one file while its lines are scanned."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from somatrace.check.rules.rule import Rule
from somatrace.check.run.machine import CodePlace


@dataclass(frozen=True, slots=True)
class LineHit:
    """A line that breaks a rule; `what` fills the rule's message."""

    rule: Rule
    place: CodePlace
    what: str


@dataclass(slots=True)
class LineScan:
    """The state of one scan: imported names, calls of `init_tracing`, and hits."""

    path: str
    hits: list[LineHit] = field(default_factory=list)
    calls: list[CodePlace] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def hit(self, rule: Rule, node: ast.AST, what: str) -> None:
        """Add a hit, once for each place."""
        place = CodePlace(self.path, getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1)
        hit = LineHit(rule, place, what)
        if hit not in self.hits:
            self.hits.append(hit)

    def resolve(self, node: ast.expr) -> str:
        """The dotted path of an imported name, or an empty string."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.names:
            return ""
        return ".".join([self.names[node.id], *reversed(parts)])
