"""Addresses of the page: a filter is a link, and a link that somebody mistyped is still a page."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlencode

from somatrace.local.queries.overview import OverviewScope
from somatrace.local.queries.traces import SORTS, TraceFilter

RANGES: Final = {"1h": 3600, "24h": 86_400, "7d": 604_800}
DEFAULT_RANGE: Final = "24h"
STATUSES: Final = ("failed", "ok", "open")
#: traces that say no tenant, or no workflow: a name of their own, since any value may be somebody's name
UNSET: Final = {"no_tenant": "tenant", "no_workflow": "workflow"}
_TEXTS: Final = ("tenant", "workflow", "agent", "model", "service", "q", "correlation")


def _number(of: str) -> tuple[str, str]:
    return "[0-9]{1,13}", f"{of}, at most 13 digits"


def _one_of(values: Iterable[str]) -> tuple[str, str]:
    *first, last = values
    return "|".join((*first, last)), f"{', '.join(first)} or {last}"


#: what else there is: the pattern of what it takes, and that in words
_TAKES: Final[Mapping[str, tuple[str, str]]] = {
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
#: where the next page of a list begins
_BEFORE: Final = "before"
_LABELS: Final = {
    "q": "the words",
    "min": "from ms",
    "max": "to ms",
    "tokens": "tokens from",
    "correlation": "correlation id",
}
_MAX_TEXT: Final = 400
_MAX_POINTS: Final = 1000


class IgnoredPart(NamedTuple):
    """A part of a query that makes no sense, and in words what is possible."""

    name: str
    value: str
    possible: str


class PageQuery:
    """The part of a query that says which traces, checked; what makes no sense is left out and `misread`.

    `min` and `max` are milliseconds of duration, `from` and `to` milliseconds since 1970.
    """

    def __init__(self, params: Mapping[str, str]) -> None:
        self.given: dict[str, str] = {}
        self.misread: list[IgnoredPart] = []
        self._take(params)
        for name in ("min", "max", "tokens", "from", "to"):
            # nought is no limit
            if not int(self.given.get(name, 1)):
                del self.given[name]
        for name, instead in UNSET.items():
            if instead in self.given:
                self.given.pop(name, None)
        if "range" in self.given:
            # the form of a list that a chart led to still says the chart's time
            self.given.pop("from", None)
            self.given.pop("to", None)
        self.before = _position(params.get(_BEFORE, ""))
        if params.get(_BEFORE) and self.before is None:
            self.misread.append(IgnoredPart(_BEFORE, params[_BEFORE], "possible: what “older” leads to"))

    def _take(self, params: Mapping[str, str]) -> None:
        for name in _TEXTS:
            if value := params.get(name, "").strip():
                self.given[name] = value[:_MAX_TEXT]
        for name, (pattern, taken) in _TAKES.items():
            value = params.get(name, "").strip()
            if re.fullmatch(pattern, value):
                self.given[name] = value
            elif value:
                self.misread.append(IgnoredPart(name, value, f"possible: {taken}"))
        names = f"possible names: {', '.join((*_TEXTS, *_TAKES))}"
        known = {*_TEXTS, *_TAKES, _BEFORE}
        self.misread += [
            IgnoredPart(name, value, names) for name, value in params.items() if value and name not in known
        ]

    def __getattr__(self, name: str) -> str:
        """What was given under a name, "" when nothing was."""
        return self.given.get(name, "")

    def link(self, path: str, **changed: str | int | None) -> str:
        """`path` with the same query but for what is `changed`; an empty value drops a part."""
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
        # a lone surrogate in an address typed by hand must not break the page
        return path + ("?" + urlencode(kept, errors="replace") if kept else "")

    @property
    def period(self) -> tuple[int | None, int | None]:
        """The chosen time in milliseconds since 1970, None for an end that is open."""
        since, until = (int(self.given[name]) if name in self.given else None for name in ("from", "to"))
        return since, until

    def narrowed(self) -> list[str]:
        """The names of what narrows, apart from the time."""
        return [name for name in self.given if name not in ("range", "from", "to", "sort")]

    @property
    def unset(self) -> tuple[str, ...]:
        """What the traces must not say: "tenant", "workflow"."""
        return tuple(instead for name, instead in UNSET.items() if name in self.given)

    def said(self, name: str) -> str:
        """One part in words: "tenant: acme", "no tenant"."""
        if name in UNSET:
            return name.replace("_", " ")
        return f"{_LABELS.get(name, name)}: {self.given[name]}"

    def filter(self, now: float | None = None) -> TraceFilter:
        """The filter of the list; without a range it reaches back to the beginning."""
        given = self.given
        now = time.time() if now is None else now
        since = int(given["from"]) * 1_000_000 if "from" in given else 0
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
            min_ns=int(given.get("min", 0)) * 1_000_000,
            max_ns=int(given.get("max", 0)) * 1_000_000,
            min_tokens=int(given.get("tokens", 0)),
            since_ns=since,
            until_ns=int(given.get("to", 0)) * 1_000_000,
            sort=given.get("sort", "start"),
            before=self.before,
        )

    def scope(self, now: float) -> OverviewScope:
        """The time of the overview, never longer than its chart can show."""
        given = self.given
        until = int(given["to"]) // 1000 if "to" in given else math.ceil(now)
        until = min(until, math.ceil(now) + 86_400)
        back = RANGES.get(
            given.get("range", ""), RANGES["7d" if given.get("range") == "all" else DEFAULT_RANGE]
        )
        since = int(given["from"]) // 1000 if "from" in given else until - back
        since = max(min(since, until - 60), until - _MAX_POINTS * 3600)
        return OverviewScope(since, until, self.tenant, self.workflow, self.unset)


def whose(tenant: str, workflow: str | None = None) -> dict[str, str]:
    """What a link changes to lead to one tenant, or to one of its workflows; "" is who says none."""
    chosen = {"tenant": tenant} if workflow is None else {"tenant": tenant, "workflow": workflow}
    return {**chosen, **{f"no_{name}": "1" for name, value in chosen.items() if not value}}


def _position(given: str) -> tuple[float, str] | None:
    match = re.fullmatch(r"([0-9]{1,19}(?:\.[0-9]{1,20})?(?:e-[0-9]{1,3})?)_([0-9a-f]{1,32})", given)
    if match is None or float(match[1]) >= 2**63:
        return None
    return (int(match[1]) if match[1].isdigit() else float(match[1])), match[2]
