"""The report of a run, rendered as text or as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from somatrace.smoke.outcomes import NOTES, OUTCOMES, EndedError


@dataclass(frozen=True)
class Check:
    """The result of one check. `said` describes it, without content."""

    name: str
    ok: bool
    said: str = ""


@dataclass(frozen=True)
class SmokeReport:
    """The result of a run. `seconds_to_visible` counts from the end of the trace's root span."""

    outcome: str
    exit_code: int
    message: str
    advice: str
    target: str
    trace_id: str
    spans: int
    made_by: str
    seconds_to_visible: float | None
    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    def lines(self) -> Iterator[str]:
        """The report as text lines."""
        yield f"target: {self.target}"
        yield from (f"note: {note}" for note in self.notes)
        if self.trace_id:
            made = f"{self.spans} spans, {self.made_by}" if self.made_by else "nothing of it was sent"
            yield f"trace {self.trace_id}: {made}"
        if self.seconds_to_visible is not None:
            yield f"visible after {self.seconds_to_visible:.2f} s"
        for check in self.checks:
            yield f"  {'ok   ' if check.ok else 'WRONG'}  {': '.join(filter(None, (check.name, check.said)))}"
        yield f"smoke: {self.message} (exit code {self.exit_code})"
        if self.advice:
            yield f"  {self.advice}"


@dataclass
class RunLog:
    """The facts collected until an outcome ends the run."""

    target: str = ""
    trace_id: str = ""
    spans: int = 0
    made_by: str = ""
    seconds_to_visible: float | None = None
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, name: str, **fields: object) -> None:
        """Add a note unless it is there already."""
        line = NOTES[name].format(**fields)
        if line not in self.notes:
            self.notes.append(line)

    def ended(self, end: EndedError) -> SmokeReport:
        """The report of a run that ended with this outcome."""
        outcome = OUTCOMES[end.outcome]
        return SmokeReport(
            outcome=end.outcome,
            exit_code=outcome.code,
            message=outcome.message.format(**end.fields),
            advice=outcome.advice.format(**end.fields),
            target=self.target,
            trace_id=self.trace_id,
            spans=self.spans,
            made_by=self.made_by,
            seconds_to_visible=self.seconds_to_visible,
            checks=tuple(self.checks),
            notes=tuple(self.notes),
        )
