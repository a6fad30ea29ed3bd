"""Build the findings of one process: its chain from the launcher, and how a message refers to it."""

from __future__ import annotations

from dataclasses import dataclass

from somatrace.check.launch.around import Launch, LaunchOrigin
from somatrace.check.project.source import Sources
from somatrace.check.rules.finding import Finding
from somatrace.check.rules.rule import Rule
from somatrace.check.run.machine import CodePlace

CALL_AT_TOP = (
    'put `init_tracing("<name>")` at the top level of {path}, after its imports and before any model client'
)


@dataclass(frozen=True, slots=True)
class ProcessFindings:
    """Builds the findings of the process that one launch starts."""

    launch: Launch
    path: str
    service: str
    sources: Sources

    def finding(
        self, rule: Rule, place: CodePlace, message: str, steps: tuple[CodePlace, ...] = (), advice: str = ""
    ) -> Finding:
        """A finding of `rule`, with the rule's advice unless another is given."""
        return Finding(
            place.path,
            place.line,
            rule.code,
            place.column,
            message,
            self._advice(advice or rule.advice.format(path=self.path)),
            self._chain(steps, place),
            self.service,
            self.sources.line(place.path, place.line),
        )

    def _advice(self, advice: str) -> str:
        """The advice, and the assumption that the finding rests on."""
        return f"{advice}; {self.launch.guess}" if self.launch.guess else advice

    def process(self) -> str:
        """The process as the subject of a message."""
        origin: LaunchOrigin = self.launch.origin
        return f"`{shortened(origin.text)}`" if origin.line else f"this process, run {self._how()},"

    def _chain(self, steps: tuple[CodePlace, ...], end: CodePlace) -> tuple[str, ...]:
        origin = self.launch.origin
        start = (
            f"{origin.path}:{origin.line}: {origin.text}"
            if origin.line
            else f"{self.path}: run {self._how()}"
        )
        chain = [start]
        chain.extend(
            f"{step.path}:{step.line}: {self.sources.line(step.path, step.line).strip()}"
            for step in steps[1:]
            if step != end and step.path
        )
        return tuple(dict.fromkeys(chain))

    def _how(self) -> str:
        start = self.launch.start
        if start.kind in {"script", "module"}:
            return "as a script"
        if start.kind == "function":
            return f"as the console script `{start.name}:{start.attribute}`"
        return f"by importing `{start.name}`"


def shortened(text: str) -> str:
    """The text on one line of at most 80 characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= 80 else f"{flat[:77]}..."
