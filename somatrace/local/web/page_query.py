"""Page addresses: filters parsed from and written to query strings, ignoring invalid parts."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlencode

from somatrace.local.queries.overview import OverviewScope
from somatrace.local.queries.trace_filter import SORTS, TraceFilter

RANGES: Final = {"1h": 3600, "24h": 86_400, "7d": 604_800}
DEFAULT_RANGE: Final = "24h"
STATUSES: Final = ("failed", "recovered", "errors", "ok", "open")
#: traces without a tenant or a workflow have parameters of their own, since any value may be a real name
UNSET: Final = {"no_tenant": "tenant", "no_workflow": "workflow"}
_TEXTS: Final = ("tenant", "workflow", "agent", "model", "service", "q", "correlation")


def _number(unit: str) -> tuple[str, str]:
    return "[0-9]{1,13}", f"{unit}, at most 13 digits"


def _one_of(values: Iterable[str]) -> tuple[str, str]:
    *first, last = values
    return "|".join((*first, last)), f"{', '.join(first)} or {last}"


#: the other parameters: the pattern of valid values, and its description
_PATTERNS: Final[Mapping[str, tuple[str, str]]] = {
    "min": _number("whole milliseconds"),
    "max": _number("whole milliseconds"),
    "tokens": _number("a whole number"),
    "from": _number("milliseconds since 1970"),
    "to": _number("milliseconds since 1970"),
    **dict.fromkeys(UNSET, ("1", "1")),
    "status": _one_of(STATUSES),
    "sort": _one_of(SORTS),
    "range": _one_of((*RANGES, "all")),
}
#: the position at which the next page of a list begins
_BEFORE: Final = "before"
_LABELS: Final = {
    "q": "text",
    "min": "min ms",
    "max": "max ms",
    "tokens": "min tokens",
    "correlation": "correlation ID",
}
_MAX_TEXT: Final = 400
_MAX_INT: Final = 2**63 - 1
_MAX_POINTS: Final = 1000


class IgnoredPart(NamedTuple):
    """An invalid part of a query, and a description of valid ones."""

    name: str
    value: str
    expected: str


class PageQuery:
    """The validated filter in a query string; invalid parts are left out and listed in `ignored`.

    `min` and `max` are milliseconds of duration, `from` and `to` milliseconds since 1970.
    """

    def __init__(self, params: Mapping[str, str]) -> None:
        self.given: dict[str, str] = {}
        self.ignored: list[IgnoredPart] = []
        self._parse(params)
        for name in ("min", "max", "tokens", "from", "to"):
            # zero means no limit
            if not int(self.given.get(name, 1)):
                del self.given[name]
        for name, instead in UNSET.items():
            if instead in self.given:
                self.given.pop(name, None)
        if "range" in self.given:
            # a list form opened from a chart still contains the chart's time range
            self.given.pop("from", None)
            self.given.pop("to", None)
        self.before = _position(params.get(_BEFORE, ""))
        if params.get(_BEFORE) and self.before is None:
            expected = "expected a value from an “older” link"
            self.ignored.append(IgnoredPart(_BEFORE, params[_BEFORE], expected))

    def _parse(self, params: Mapping[str, str]) -> None:
        for name in _TEXTS:
            if value := params.get(name, "").strip():
                self.given[name] = value[:_MAX_TEXT]
        for name, (pattern, description) in _PATTERNS.items():
            value = params.get(name, "").strip()
            if re.fullmatch(pattern, value):
                self.given[name] = value
            elif value:
                self.ignored.append(IgnoredPart(name, value, f"expected {description}"))
        names = f"valid names: {', '.join((*_TEXTS, *_PATTERNS))}"
        known = {*_TEXTS, *_PATTERNS, _BEFORE}
        self.ignored += [
            IgnoredPart(name, value, names) for name, value in params.items() if value and name not in known
        ]

    def __getattr__(self, name: str) -> str:
        """The valid value of a parameter, or "" if there is none."""
        return self.given.get(name, "")

    def link(self, path: str, **changed: str | int | None) -> str:
        """Return `path` with this query, updated with `changed`; an empty value removes a part."""
        query = {**self.given, **{name.rstrip("_"): str(value or "") for name, value in changed.items()}}
        if changed.get("range"):
            query.pop("from", None)
            query.pop("to", None)
        if any(changed.get(name) for name in ("from_", "to")):
            query.pop("range", None)
        for name, instead in UNSET.items():
            if changed.get(instead):
                query.pop(name, None)
            elif changed.get(name):
                query.pop(instead, None)
        kept = {name: value for name, value in query.items() if value}
        # a lone surrogate in a hand-typed address must not break the page
        return path + ("?" + urlencode(kept, errors="replace") if kept else "")

    @property
    def period(self) -> tuple[int | None, int | None]:
        """The chosen time range in milliseconds since 1970; None for an open end."""
        since, until = (int(self.given[name]) if name in self.given else None for name in ("from", "to"))
        return since, until

    def active_filters(self) -> list[str]:
        """The names of the active filters, except the time range."""
        return [name for name in self.given if name not in ("range", "from", "to", "sort")]

    @property
    def unset(self) -> tuple[str, ...]:
        """The tags that the traces must not have: "tenant", "workflow"."""
        return tuple(instead for name, instead in UNSET.items() if name in self.given)

    def label(self, name: str) -> str:
        """Describe one part: "tenant: acme", "no tenant"."""
        if name in UNSET:
            return name.replace("_", " ")
        return f"{_LABELS.get(name, name)}: {self.given[name]}"

    def filter(self, now: float | None = None) -> TraceFilter:
        """The filter of the trace list; without a range it has no lower time bound."""
        given = self.given
        now = time.time() if now is None else now
        since = self._nanoseconds("from")
        if given.get("range") in RANGES:
            since = int((now - RANGES[given["range"]]) * 1e9)
        return TraceFilter(
            tenant=self.tenant,
            workflow=self.workflow,
            unset=self.unset,
            agent=self.agent,
            model=self.model,
            service=self.service,
            status=self.status,
            text=self.q,
            correlation=self.correlation,
            min_ns=self._nanoseconds("min"),
            max_ns=self._nanoseconds("max"),
            min_tokens=int(given.get("tokens", 0)),
            since_ns=since,
            until_ns=self._nanoseconds("to"),
            sort=given.get("sort", "start"),
            before=self.before,
        )

    def _nanoseconds(self, name: str) -> int:
        """A time in milliseconds, or zero, as nanoseconds that fit into the store's integers."""
        return min(int(self.given.get(name, 0)) * 1_000_000, _MAX_INT)

    def scope(self, now: float) -> OverviewScope:
        """The scope of the overview, never longer than its chart can show."""
        given = self.given
        until = int(given["to"]) // 1000 if "to" in given else math.ceil(now)
        until = min(until, math.ceil(now) + 86_400)
        back = RANGES.get(
            given.get("range", ""), RANGES["7d" if given.get("range") == "all" else DEFAULT_RANGE]
        )
        since = int(given["from"]) // 1000 if "from" in given else until - back
        since = max(min(since, until - 60), until - _MAX_POINTS * 3600)
        return OverviewScope(since, until, self.tenant, self.workflow, self.unset)


def tenant_filter(tenant: str, workflow: str | None = None) -> dict[str, str]:
    """Link parameters that select one tenant, or one of its workflows; "" selects traces without one."""
    chosen = {"tenant": tenant} if workflow is None else {"tenant": tenant, "workflow": workflow}
    return {**chosen, **{f"no_{name}": "1" for name, value in chosen.items() if not value}}


def _position(given: str) -> tuple[float, str] | None:
    match = re.fullmatch(r"([0-9]{1,19}(?:\.[0-9]{1,20})?(?:e-[0-9]{1,3})?)_([0-9a-f]{1,32})", given)
    if match is None or float(match[1]) >= 2**63:
        return None
    return (int(match[1]) if match[1].isdigit() else float(match[1])), match[2]
