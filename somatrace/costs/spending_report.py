"""What model calls have cost, read back from a backend: as rows, lines, JSON, CSV or a page."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from somatrace.config import Config, Settings, resolve
from somatrace.costs.backends import UnavailableError, backend_of
from somatrace.costs.billed_span import DIMENSIONS
from somatrace.costs.billed_spans import read_spans
from somatrace.costs.cost_page import cost_page, cost_table
from somatrace.costs.cost_row import CostRow, cost_row, cost_rows, total_row, unpriced_models
from somatrace.costs.ledger_report import ledger_rows
from somatrace.costs.period import CostQueryError, moment, zone_of
from somatrace.costs.row_figures import COST, NOTHING, cells_of, figures_of, headings, others_of
from somatrace.local import formatting
from somatrace.local.data_dir import existing_data_dir
from somatrace.runtime.clock import clock
from somatrace.runtime.text_table import table

__all__ = ["CostReport", "CostRow", "cost_report"]

SOURCES: Final = ("auto", "langfuse", "local", "ledger")
#: Spans read for one report; a page has a thousand.
MAX_SPANS: Final = 100_000
_NO_MODEL: Final = "(no model)"
_LISTED: Final = 20
_LONGEST_ATTRIBUTE: Final = 128


@dataclass(frozen=True)
class CostReport:
    """What model calls have cost, from `since` up to, but not including, `until`.

    `source` is `langfuse`, `local` or `ledger`, read from `where`, or `unavailable` for the `reason`: then
    there are no figures, and `total` is None. `unpriced` counts the calls without a known cost by model. If
    there were more spans than the report may read, `cut` is true, and `since` is later than asked for.
    `damaged` counts records of the ledger that cannot be read. Days are those of `zone`.
    """

    source: Literal["langfuse", "local", "ledger", "unavailable"]
    by: tuple[str, ...]
    since: dt.datetime
    until: dt.datetime
    where: str = ""
    reason: str = ""
    rows: tuple[CostRow, ...] = ()
    total: CostRow | None = None
    unpriced: Mapping[str, int] = field(default_factory=dict)
    cut: bool = False
    damaged: int = 0
    zone: str = "UTC"

    @property
    def exit_code(self) -> int:
        """0 figures of the whole period, 1 unavailable, 3 figures of a part of it."""
        return 1 if self.total is None else 3 if self.cut or self.damaged else 0

    @property
    def origin(self) -> str:
        """The period of the figures and where they come from, as text."""
        begin, end = (
            f"{time.astimezone(zone_of(self.zone)):%Y-%m-%d %H:%M}" for time in (self.since, self.until)
        )
        return f"from {begin} to {end} {self.zone}, read from {self.source}, {self.where}"

    def row(self, *labels: str) -> CostRow | None:
        """The row with these values of what the report is by; None if it has no calls."""
        return next((row for row in self.rows if row.labels == labels), None)

    def lines(self) -> Iterator[str]:
        """The report as text: a table with a total, and what the figures are of."""
        if self.total is not None and self.rows:
            lines = self._grid(self.total)
            yield from table(lines, right=range(len(self.by), len(lines[0])))
        yield from self.remarks()

    def remarks(self) -> Iterator[str]:
        """Where the figures come from, and what is not in them."""
        if self.total is None:
            yield f"costs: unavailable: {self.reason}"
            return
        calls = formatting.counted(self.total.calls, "call") if self.rows else "no calls"
        yield f"costs: {calls} {self.origin}"
        if self.unpriced:
            named = [f"{_label(model or _NO_MODEL)} {count:,}" for model, count in self.unpriced.items()]
            more = [f"{len(named) - _LISTED} more models"] if len(named) > _LISTED else []
            yield f"costs: the price of these calls is unknown: {', '.join(named[:_LISTED] + more)}"
        for place, name in enumerate(self.by):
            if name not in DIMENSIONS and self.rows and not any(row.labels[place] for row in self.rows):
                kept = ", or SOMATRACE_COST_TAGS does not name it" if self.source == "ledger" else ""
                others = ", ".join(DIMENSIONS)
                yield f"costs: no call has the attribute {name}{kept}; other names are {others}"
        if self.damaged:
            records = formatting.counted(self.damaged, "record")
            yield f"costs: {records} of the ledger cannot be read: their calls are missing"
        if self.cut:
            yield "costs: earlier calls were not read: shorten the period, or raise --max-spans"

    def as_json(self) -> str:
        """The report as one JSON object; amounts of money are texts, which keep every digit."""
        total = None if self.total is None else self._figures(self.total)
        return json.dumps(
            {
                "exit_code": self.exit_code,
                "source": self.source,
                "where": self.where,
                "reason": self.reason,
                "since": self.since.isoformat(),
                "until": self.until.isoformat(),
                "zone": self.zone,
                "cut": self.cut,
                "damaged": self.damaged,
                "rows": [
                    dict(zip(self.by, row.labels, strict=True)) | self._figures(row) for row in self.rows
                ],
                "total": total,
                "unpriced": dict(self.unpriced),
            },
            ensure_ascii=False,
        )

    def as_html(self) -> str:
        """The report as an HTML page that is one file, without scripts."""
        title = f"Costs by {', '.join(map(_label, self.by))}"
        remarks = [remark.removeprefix("costs: ") for remark in self.remarks()]
        if self.total is None or not self.rows:
            return cost_page(title, remarks)
        names, *lines, total = self._grid(self.total)
        rows = [(line, row.cost) for line, row in zip(lines, self.rows, strict=True)]
        money = names.index(COST, len(self.by))
        return cost_page(title, remarks, cost_table(len(self.by), money, names, rows, total))

    def as_csv(self) -> str:
        """The rows as CSV, without a total; "" if unavailable. An unknown cost is empty."""
        if self.total is None:
            return ""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow((*self.by, *self._figures(self.total)))
        for row in self.rows:
            figures = self._figures(row) | {"other_costs": others_of(row)}
            writer.writerow((*row.labels, *figures.values()))
        return text.getvalue()

    def _grid(self, total: CostRow) -> list[tuple[str, ...]]:
        """The table as texts: headings, rows and the total."""
        others = any(row.other_costs for row in self.rows)

        def line(labels: Sequence[str], row: CostRow) -> tuple[str, ...]:
            cells = cells_of(row, by_workflow=self._by_workflow)
            return (*labels, *cells, *([others_of(row)] if others else ()))

        names = headings(by_workflow=self._by_workflow)
        return [
            (*map(_label, self.by), *names, *(["other"] if others else ())),
            *(line([*map(_label, row.labels)], row) for row in self.rows),
            line(["total", *[""] * (len(self.by) - 1)], total),
        ]

    @property
    def _by_workflow(self) -> bool:
        return "workflow" in self.by

    def _figures(self, row: CostRow) -> dict[str, Any]:
        return figures_of(row, by_workflow=self._by_workflow)


def cost_report(
    by: str | Sequence[str] = ("tenant",),
    since: str | dt.datetime = "7d",
    until: str | dt.datetime | None = None,
    source: str = "auto",
    *,
    zone: str = "UTC",
    max_spans: int = MAX_SPANS,
    timeout: float = 120.0,
    config: Config | None = None,
) -> CostReport:
    """Read from a backend what model calls have cost. Call it in scripts, not in a request.

    `by` names what to sum up by: any of tenant, workflow, agent, model, provider, service and day, and
    of attributes of the calls' spans, such as tags that were bound around the calls.
    `since` and `until` (now, if None) are spans of time before now, such as 24h or 7d, or dates. `source` is
    langfuse, local (the store of this machine), ledger (that of this machine, with what was not sampled, and
    without latencies and workflows), or auto: where the services of these settings send spans.
    `zone` is the time zone of days and of dates. At most `max_spans` are read, the newest, within `timeout`
    seconds.

    Raises ValueError for a parameter that cannot be used. If no backend can be read, the report's source is
    `unavailable`.
    """
    now = clock.now()
    names = _dimensions(by)
    where = zone_of(zone)
    begin = moment("since", since, now, where)
    end = now if until is None else moment("until", until, now, where)
    if begin >= end:
        raise CostQueryError("since: use a time before that of until, or before now")
    if source not in SOURCES:
        raise CostQueryError(f"source: use one of {', '.join(SOURCES)}")
    if max_spans < 1:
        raise CostQueryError("max_spans: use a number above 0")
    settings = resolve("somatrace", config)
    try:
        if source == "ledger":
            return _ledger_report(settings, names, begin, end, zone)
        backend = backend_of(settings, source)
        try:
            found = read_spans(backend, names, begin, end, zone=where, most=max_spans, timeout=timeout)
        finally:
            backend.close()
    except UnavailableError as error:
        return CostReport("unavailable", names, begin, end, reason=str(error), zone=zone)
    return CostReport(
        backend.name,
        names,
        found.whole_since,
        end,
        where=backend.where,
        rows=tuple(cost_rows(found.spans, names, found.runs)),
        total=total_row(found.spans, names, found.runs),
        unpriced=unpriced_models(found.spans),
        cut=found.whole_since > begin,
        zone=zone,
    )


def _ledger_report(
    settings: Settings, names: tuple[str, ...], since: dt.datetime, until: dt.datetime, zone: str
) -> CostReport:
    directory = existing_data_dir(settings.data_dir, settings.state_home)
    found = ledger_rows(directory, names, since, until, zone_of(zone))
    return CostReport(
        "ledger",
        names,
        since,
        until,
        where=str(directory),
        rows=found.rows,
        total=found.total,
        unpriced=found.unpriced,
        damaged=found.damaged,
        zone=zone,
    )


def _dimensions(by: str | Sequence[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (by.split(",") if isinstance(by, str) else by))
    if not names or not all(map(_can_be_by, names)) or len(set(names)) < len(names):
        raise CostQueryError(f"by: use one or more of {', '.join(DIMENSIONS)}, or of attributes, each once")
    return names


def _can_be_by(name: str) -> bool:
    if name in DIMENSIONS:
        return True
    beside = figures_of(cost_row((), ()), by_workflow=True)  # in the same JSON object
    return 0 < len(name) <= _LONGEST_ATTRIBUTE and name.isprintable() and name not in beside


def _label(text: str) -> str:
    return formatting.line(text) or NOTHING
