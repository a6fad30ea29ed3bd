"""What a drain has done and what is left, as lines or as one JSON object."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal

from somatrace.drain.survey import Owner, WaitingDirectory, printable
from somatrace.runtime.clock import clock
from somatrace.runtime.text_table import table

State = Literal["waits", "in use", "for another target", "damaged"]
Verb = Literal["sent", "exported", "waiting"]
_AGES: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
_HEADINGS: Final = ("service", "target", "spans", "bytes", "oldest", "state")


@dataclass(frozen=True)
class Row:
    """Spans of one service and target in one state. `why` says more of a damaged file."""

    service: str
    target: str
    spans: int
    bytes: int
    oldest_ns: int
    state: State
    why: str = ""


@dataclass
class Report:
    """The result. `done` counts the spans that were sent or exported; `lost` those of them that were not."""

    data_dir: str
    target: str
    verb: Verb
    done: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    rows: Sequence[Row] = ()
    #: Why the target does not get the rest.
    failure: str = ""
    interrupted: bool = False
    #: Whether content was removed from spans.
    removed_content: bool = False

    @property
    def exit_code(self) -> int:
        """0 if nothing is left and nothing was lost, else 1; 130 after Ctrl-C."""
        return 130 if self.interrupted else int(bool(self.rows or self.lost))

    def as_json(self) -> str:
        return json.dumps(
            {
                "exit_code": self.exit_code,
                "data_dir": self.data_dir,
                "target": self.target,
                "sent": self.done if self.verb == "sent" else 0,
                "exported": self.done if self.verb == "exported" else 0,
                "lost": dict(self.lost),
                "removed_content": self.removed_content,
                "failure": self.failure,
                "left": [
                    {**asdict(row), "oldest_ns": row.oldest_ns or None, "why": self._why(row)}
                    for row in self.rows
                ],
            },
            ensure_ascii=False,
        )

    def lines(self) -> Iterator[str]:
        """What is left and why, and the sum."""
        if self.verb == "waiting":
            yield from self._table()
            return
        for row in self.rows:
            yield f"{row.service or '?'}: {counted(row.spans)} left: {self._why(row)}"
        for reason, spans in self.lost.items():
            if reason == "dead_letter":
                yield f"{counted(spans)} not accepted by the target: `somatrace drain --dead` lists them"
            else:
                yield f"{counted(spans)} lost: {_LOST.get(reason, reason)}"
        if self.removed_content:
            yield f"content was removed from spans: {NOT_GRANTED}"
        if not (self.done or self.rows or self.lost):
            yield f"drain: nothing waits in {self.data_dir}"
        else:
            yield f"drain: {counted(self.done)} {self.verb}, {sum(row.spans for row in self.rows):,} left"

    def _why(self, row: Row) -> str:
        if self.verb == "waiting":
            return row.why
        if row.state == "in use":
            return "a running process holds them and sends them itself"
        if row.state == "for another target":
            return f"for {row.target}; --retarget sends them to the configured target"
        if row.state == "damaged":
            return row.why
        return self.failure or "written meanwhile; run it again"

    def _table(self) -> Iterator[str]:
        if not self.rows:
            yield f"drain: nothing waits in {self.data_dir}"
            return
        yield from table([_HEADINGS, *(_cells(row) for row in self.rows)], right=(2, 3, 4))


_LOST: Final = {
    "rejected": "the target rejected them",
    "too_large": "the target takes no span of that size",
    "disk": "they were damaged or deleted on disk",
    "damaged": "they were damaged on disk",
}


NOT_GRANTED: Final = (
    "the grants that it was recorded under are not in force here (SOMATRACE_CONTENT_POLICY_FILE)"
)


def counted(spans: int) -> str:
    """A number of spans in words."""
    return f"{spans:,} span{'' if spans == 1 else 's'}"


def rows_of(found: Iterable[WaitingDirectory], wanted: Owner | None) -> list[Row]:
    """What waits, summed by service, target and state. `wanted` is the target; None means all of them."""
    rows: dict[tuple[object, ...], Row] = {}
    for directory in found:
        if directory.problem:
            row = Row("", "", 0, 0, 0, "damaged", _located(directory.path, directory.problem))
            rows[(directory.path,)] = row
        for segment in directory.segments:
            owner, state, why = segment.owner, _state(segment.owner, wanted), ""
            if segment.in_use:
                state = "in use"
            elif segment.problem or owner is None:
                state = "damaged"
                why = _located(segment.path, segment.problem or "it does not say whose its spans are")
            if not segment.spans and not segment.problem:
                continue
            service = printable(owner.service) if owner is not None else ""
            target = owner.destination if owner is not None else ""
            row = Row(service, target, segment.spans, segment.size, segment.oldest_ns, state, why)
            known = rows.get(key := (service, target, state, why))
            rows[key] = row if known is None else _sum(known, row)
    return sorted(rows.values(), key=lambda row: (row.service, row.target, row.state, row.why))


def _state(owner: Owner | None, wanted: Owner | None) -> State:
    return "waits" if wanted is None or owner is None or owner[1:] == wanted[1:] else "for another target"


def _sum(one: Row, other: Row) -> Row:
    oldest = min(one.oldest_ns, other.oldest_ns)
    return Row(
        one.service, one.target, one.spans + other.spans, one.bytes + other.bytes, oldest, one.state, one.why
    )


def _located(path: Path, problem: str) -> str:
    return printable(f"{path}: {problem}")


def _cells(row: Row) -> tuple[str, ...]:
    state = f"{row.state}: {row.why}" if row.why else row.state
    return (
        row.service or "?",
        row.target or "?",
        f"{row.spans:,}",
        f"{row.bytes:,}",
        _age(row.oldest_ns),
        state,
    )


def _age(time_ns: int) -> str:
    if not time_ns:
        return "-"
    seconds = max(0.0, (clock.time_ns() - time_ns) / 1e9)
    for unit, name in _AGES:
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
