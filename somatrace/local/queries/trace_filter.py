"""The filter of a trace list, and its conditions in SQL.

A tenant, with or without one of its workflows, is looked up among the shares of traces, everything else in
the traces themselves. Indexed conditions come first: they choose the traces to scan for the others.
Tokens, cost and errors are those of the chosen tenant and workflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

#: sort orders of a list, largest first
SORTS: Final = {
    "start": "start_ns",
    "duration": "end_ns - start_ns",
    "tokens": "input_tokens + output_tokens",
    "spans": "spans",
    "cost": "cost",
}
_DURATION = SORTS["duration"]
_OF_SHARES: Final = ("tokens", "cost")
_NAME_LISTS: Final = {"model": "models", "agent": "agents", "service": "services"}
_WORDS: Final = ("name", "workflow_name", "failure")
_ANYWHERE: Final = " OR ".join(f"{column} LIKE '%' || ? || '%' ESCAPE '!'" for column in _WORDS)
_SHARES_OF: Final = "SELECT {} FROM shares WHERE shares.trace_id = traces.trace_id AND {}"
#: by status: conditions on a trace, on a tenant's share of it, and on a workflow's
_STATUSES: Final = {
    "failed": ("failed", "tenant_failed", "failed"),
    "recovered": (
        "errors > 0 AND NOT failed",
        "tenant_errors > 0 AND NOT tenant_failed",
        "errors > 0 AND NOT failed",
    ),
    "errors": ("errors > 0", "tenant_errors > 0", "errors > 0"),
}
_SCANNED_STATUSES: Final = {"ok": "head_root", "open": "NOT head_root"}


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Filter and order of a trace list; an empty value means all. `status` is "failed", "recovered", "errors"
    (either of both), "ok" or "open" (no root so far). Traces must not have the tags in `unset` ("tenant",
    "workflow").

    `since_ns` is inclusive, `until_ns` exclusive. Durations are nanoseconds.
    """

    tenant: str = ""
    workflow: str = ""
    unset: tuple[str, ...] = ()
    agent: str = ""
    model: str = ""
    service: str = ""
    status: str = ""
    text: str = ""
    correlation: str = ""
    min_ns: int = 0
    max_ns: int = 0
    min_tokens: int = 0
    since_ns: int = 0
    until_ns: int = 0
    sort: str = "start"
    before: tuple[float, str] | None = None

    def names(self, tag: str) -> bool:
        """Whether one value of the tag was chosen, or traces without it."""
        return bool(getattr(self, tag)) or tag in self.unset


class Conditions:
    """SQL conditions with their values."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.values: list[Any] = []

    def add(self, sql: str, *values: Any) -> None:
        self._parts.append(sql)
        self.values.extend(values)

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __str__(self) -> str:
        return " AND ".join(self._parts) or "1"


class SqlExpression(NamedTuple):
    """An SQL expression with its values."""

    sql: str
    values: tuple[Any, ...] = ()


def value_of(sort: str, chosen: TraceFilter) -> SqlExpression:
    """The value that traces are sorted by; tokens and cost are those of the chosen tenant and workflow."""
    sql = SORTS.get(sort, SORTS["start"])
    return _sum_of_shares(sql, chosen) if sort in _OF_SHARES and of_shares(chosen) else SqlExpression(sql)


def of_shares(chosen: TraceFilter) -> Conditions:
    """The conditions on a trace's shares whose figures the list shows; none if those of whole traces."""
    found = Conditions()
    for tag in ("tenant", "workflow"):
        if chosen.names(tag):
            found.add(f"{tag} = ?", getattr(chosen, tag))
    return found


def failed_column(chosen: TraceFilter) -> str:
    """The column of a share that says whether the workflow, or else the tenant, has failed in its trace."""
    return "failed" if chosen.names("workflow") else "tenant_failed"


def _sum_of_shares(sql: str, chosen: TraceFilter) -> SqlExpression:
    shares = of_shares(chosen)
    total = _SHARES_OF.format(f"ifnull(sum({sql}), 0)", shares)
    return SqlExpression(f"({total})", tuple(shares.values))


def _has_share(conditions: object) -> str:
    return f"EXISTS ({_SHARES_OF.format(1, conditions)})"


class Source:
    """The table whose indexes choose traces in the order of their start: of traces, or of shares."""

    def __init__(self, chosen: TraceFilter) -> None:
        self.where = indexed(chosen)
        self._table, self._place = ("shares", "trace_id") if chosen.names("tenant") else ("traces", "rowid")

    def near(self, limit: int, order: str = "DESC") -> str:
        """The chosen traces, to be joined with the table of traces by `joined`."""
        return (
            f"SELECT {self._place} AS place FROM {self._table} WHERE {self.where} "
            f"ORDER BY start_ns {order}, trace_id {order} LIMIT {limit}"
        )

    @property
    def joined(self) -> str:
        return f"CROSS JOIN traces ON traces.{self._place} = near.place"

    def edge(self, offset: int) -> str:
        """The position of the trace after `offset` others."""
        return (
            f"SELECT start_ns, trace_id FROM {self._table} WHERE {self.where} "
            f"ORDER BY start_ns DESC, trace_id DESC LIMIT 1 OFFSET {offset}"
        )


def indexed(chosen: TraceFilter) -> Conditions:
    """The conditions on the table of `Source`."""
    found = _share(chosen) if chosen.names("tenant") else Conditions()
    if not chosen.names("tenant"):
        if chosen.correlation:
            found.add("correlation_id = ?", chosen.correlation)
        if chosen.status in _STATUSES:
            found.add(_STATUSES[chosen.status][0])
    if chosen.since_ns:
        found.add("start_ns >= ?", chosen.since_ns)
    if chosen.until_ns:
        found.add("start_ns < ?", chosen.until_ns)
    return found


def _share(chosen: TraceFilter) -> Conditions:
    """The conditions on a tenant's share."""
    found = Conditions()
    found.add("tenant = ?", chosen.tenant)
    by_workflow = chosen.names("workflow")
    if by_workflow:
        found.add("workflow = ?", chosen.workflow)
    found.add("belongs" if by_workflow else "leads")
    if chosen.status in _STATUSES:
        found.add(_STATUSES[chosen.status][2 if by_workflow else 1])
    return found


def scanned(chosen: TraceFilter) -> Conditions:
    """The other conditions, on traces."""
    found = Conditions()
    if chosen.names("tenant"):
        if chosen.correlation:
            found.add("correlation_id = ?", chosen.correlation)
    elif chosen.names("workflow"):
        found.add(_has_share("workflow = ? AND belongs"), chosen.workflow)
    if chosen.status in _SCANNED_STATUSES:
        found.add(_SCANNED_STATUSES[chosen.status])
    if chosen.status == "ok":
        of_own = f"errors + {failed_column(chosen)}"
        errors = _sum_of_shares(of_own, chosen) if of_shares(chosen) else SqlExpression("errors")
        found.add(f"{errors.sql} = 0", *errors.values)
    _add_limits(found, chosen)
    for name, column in _NAME_LISTS.items():
        if wanted := getattr(chosen, name):
            found.add(f"instr(char(10) || {column} || char(10), char(10) || ? || char(10))", wanted)
    for word in chosen.text.split():
        found.add(f"({_ANYWHERE})", *[_plain(word)] * len(_WORDS))
    return found


def _add_limits(found: Conditions, chosen: TraceFilter) -> None:
    if chosen.min_ns:
        found.add(f"{_DURATION} >= ?", chosen.min_ns)
    if chosen.max_ns:
        found.add(f"{_DURATION} <= ?", chosen.max_ns)
    if chosen.min_tokens:
        tokens = value_of("tokens", chosen)
        found.add(f"{tokens.sql} >= ?", *tokens.values, chosen.min_tokens)


def on_traces(chosen: TraceFilter) -> Conditions:
    """All conditions, on the table of traces."""
    found = scanned(chosen)
    if chosen.names("tenant"):
        share = _share(chosen)
        found.add(_has_share(share), *share.values)
        chosen = TraceFilter(since_ns=chosen.since_ns, until_ns=chosen.until_ns)
    rest = indexed(chosen)
    if rest:
        found.add(str(rest), *rest.values)
    return found


def _plain(word: str) -> str:
    """`word` with LIKE wildcards escaped."""
    return "".join("!" + letter if letter in "!%_" else letter for letter in word)
