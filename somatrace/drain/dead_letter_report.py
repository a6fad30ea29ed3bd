"""What `somatrace drain --dead` has found or exported, as lines or as one JSON object."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from somatrace.drain.dead_letter_survey import DeadSpan
from somatrace.drain.drain_report import NOT_GRANTED, counted
from somatrace.runtime.text_table import table

_HEADINGS: Final = ("when", "service", "target", "tenant", "span", "trace id", "span id", "answer")


@dataclass
class DeadReport:
    """The spans that are there, or left there by an export, and what cannot be read."""

    data_dir: str
    spans: Sequence[DeadSpan] = ()
    problems: list[str] = field(default_factory=list)
    #: Number of spans; None if nothing was to be exported.
    exported: int | None = None
    #: Whether content was removed from exported spans.
    removed_content: bool = False

    @property
    def exit_code(self) -> int:
        """0 if nothing is there or left, else 1."""
        return int(bool(self.spans or self.problems))

    def as_json(self) -> str:
        return json.dumps(
            {
                "exit_code": self.exit_code,
                "data_dir": self.data_dir,
                "exported": self.exported or 0,
                "removed_content": self.removed_content,
                "dead": [asdict(span) for span in self.spans],
                "problems": self.problems,
            },
            ensure_ascii=False,
        )

    def lines(self) -> Iterator[str]:
        """A table of the spans, what cannot be read, and the sum."""
        if self.spans:
            yield from table([_HEADINGS, *map(_cells, self.spans)])
        yield from self.problems
        if self.removed_content:
            yield f"content was removed from spans: {NOT_GRANTED}"
        if self.exported is not None:
            yield f"drain: {counted(self.exported)} exported, {len(self.spans):,} left"
        elif self.spans:
            yield f"drain: {counted(len(self.spans))} not accepted by the target"
        else:
            yield f"drain: no dead letters in {self.data_dir}"


def _cells(span: DeadSpan) -> tuple[str, ...]:
    try:
        when = dt.datetime.fromtimestamp(span.when_ns / 1e9, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError):
        when = "?"
    answer = f"{span.status}: {span.answer}" if span.answer else span.status
    texts = (span.service, span.target, span.tenant, span.name, span.trace_id, span.span_id)
    return (when, *(text or "?" for text in texts), answer)
