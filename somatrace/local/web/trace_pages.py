"""The page of one trace: its tree, and the rows and spans it loads on demand."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from somatrace import semconv
from somatrace.local.otlp.decode import Limits
from somatrace.local.queries import removed_values
from somatrace.local.queries.traces import neighbours
from somatrace.local.trace_view import minimap, span_tree, spans, timeline, window
from somatrace.local.trace_view.tree_cache import TreeCache
from somatrace.local.web.page_query import PageQuery
from somatrace.local.web.page_state import PageState
from somatrace.local.web.pages import guarded
from somatrace.local.web.render import Renderer
from somatrace.local.web.trace_files import TraceFiles

_SHOWS: Final = ("errors", "critical", "all")
_REMOVED: Final = f"attributes.{semconv.GUARD_REMOVED}"
_MAX_TEXT: Final = 400


class TracePages:
    """Serves single traces of one store."""

    def __init__(self, state: PageState, render: Renderer, limits: Limits) -> None:
        self._state = state
        self._render = render
        self._files = TraceFiles(state, limits)
        self._trees = TreeCache()

    def routes(self) -> list[BaseRoute]:
        trace = "/trace/{trace_id:str}"
        pages = {
            trace: self.trace,
            f"{trace}/rows": self.rows,
            f"{trace}/new": self.arrived,
            f"{trace}/file": self.file,
            f"{trace}/span/{{span_id:str}}": self.span,
            f"{trace}/span/{{span_id:str}}/text": self.text,
        }
        return [
            *(Route(path, guarded(self._state, self._render, page)) for path, page in pages.items()),
            Route("/import", self._files.take, methods=["POST"]),
        ]

    def trace(self, request: Request) -> Response:
        with ExitStack() as using:
            return self._trace(request, using)

    def _trace(self, request: Request, using: ExitStack) -> Response:
        trace_id = request.path_params["trace_id"].lower()
        address = PageQuery(request.query_params)
        view = _view(request)

        def read(connection: sqlite3.Connection) -> tuple[Any, ...] | None:
            row = spans.trace(connection, trace_id)
            if row is None:
                return None
            tree = using.enter_context(self._trees.of(connection, row, view.span or view.under))
            searched = replace(view, stored_matches=_stored_matches(connection, trace_id, view))
            span_id = view.span if view.span in tree.by_id else _initial_span(row, tree, searched)
            span = _readable(spans.span(connection, trace_id, span_id)) if span_id else None
            return row, tree, span, searched, neighbours(connection, address.filter(), row)

        found = self._state.read(read)
        if found is None:
            return self._missing(trace_id)
        row, tree, span, searched, (newer, older) = found
        chosen = replace(searched, span=span["span_id"] if span else "")
        shown = window.choose(tree, chosen)
        zoom = timeline.zoom(request.query_params.get("zoom", ""))
        # the view options that links keep
        kept = {"zoom": zoom.text, "span": view.span if span and view.span == chosen.span else ""}
        return self._render(
            "trace.html",
            address=address,
            view="trace",
            trace=row,
            window=shown,
            chosen=view,
            span=span,
            asked=view.span,
            hits=frozenset(shown.found),
            total=len(tree.nodes) - tree.missing,
            rowcount=len(tree.nodes),
            services=_services(tree, row),
            bars=timeline.TimelineBars(row["start_ns"], row["end_ns"]),
            zoom=zoom,
            ticks=timeline.ticks(zoom, row["end_ns"] - row["start_ns"]),
            minimap=minimap.paths(tree, row["start_ns"], row["end_ns"]),
            marks=_Marks.of(shown.found if view.find else tree.failed, chosen.span),
            unread=max(0, row["errors"] - len(tree.failed)),
            keep=kept,
            fields={**address.given, "zoom": zoom.text},
            query=address.link("", show=view.show, find=view.find, zoom=zoom.text)[1:],
            newer=newer,
            older=older,
        )

    def rows(self, request: Request) -> Response:
        """The rows for a span's children, or for a part of them."""
        with ExitStack() as using:
            return self._rows(request, using)

    def _rows(self, request: Request, using: ExitStack) -> Response:
        trace_id = request.path_params["trace_id"].lower()
        view = _view(request)

        def read(
            connection: sqlite3.Connection,
        ) -> tuple[dict[str, Any], span_tree.SpanTree, set[str]] | None:
            row = spans.trace(connection, trace_id)
            if row is None:
                return None
            tree = using.enter_context(self._trees.of(connection, row, view.under))
            return row, tree, _stored_matches(connection, trace_id, view)

        found = self._state.read(read)
        if found is None:
            return self._missing(trace_id)
        row, tree, matches = found
        view = replace(view, stored_matches=matches)
        below = window.below(tree, view)
        if below is None:
            return self._missing(trace_id)
        return self._render.part(
            "rows.html",
            trace=row,
            rows=below,
            services=_services(tree, row),
            bars=timeline.TimelineBars(row["start_ns"], row["end_ns"]),
            zoom=timeline.WHOLE,
            hits=frozenset(window.matching(tree, view)) if view.find else frozenset(),
            chosen_id="",
            query=PageQuery(request.query_params).link("", show=view.show, find=view.find)[1:],
        )

    def arrived(self, request: Request) -> Response:
        """The number of spans that arrived since a page was rendered with `spans` of them."""
        trace_id = request.path_params["trace_id"].lower()
        row = self._state.read(lambda connection: spans.trace(connection, trace_id))
        had = _number(request.query_params.get("spans"))
        return self._render.part(
            "trace_arrived.html",
            count=max(0, row["spans"] - had) if row else 0,
            header=self._state.header(),
            view="trace",
        )

    def span(self, request: Request) -> Response:
        """One span, which a script inserts into the page."""
        trace_id, span_id = (request.path_params[name].lower() for name in ("trace_id", "span_id"))
        found = self._state.read(lambda connection: _readable(spans.span(connection, trace_id, span_id)))
        if found is None:
            return self._missing(trace_id)
        return self._render.part("span.html", span=found)

    def text(self, request: Request) -> Response:
        """The full text of a value that a page truncates: input, output, or the attribute `key`."""
        trace_id, span_id = (request.path_params[name].lower() for name in ("trace_id", "span_id"))
        found = self._state.read(lambda connection: spans.span(connection, trace_id, span_id))
        key = request.query_params.get("key", "")
        texts = (
            {} if found is None else {**found["metadata"], "input": found["input"], "output": found["output"]}
        )
        if texts.get(key) is None:
            return PlainTextResponse("Not found", 404)
        # a lone surrogate cannot be encoded
        return PlainTextResponse(str(texts[key]).encode("utf-8", "replace"))

    def file(self, request: Request) -> Response:
        """The trace as an OTLP/JSON file."""
        trace_id = request.path_params["trace_id"].lower()
        return self._files.of(trace_id) or self._missing(trace_id)

    def _missing(self, trace_id: str) -> Response:
        return self._render("missing.html", 404, trace_id=trace_id, address=PageQuery({}), view="")


class _Marks(NamedTuple):
    """Failed or matching spans to step through: `ids` are those around the chosen one, from `first` on."""

    ids: list[str]
    first: int
    #: the chosen span's place among all of them, counted from one; zero if it is not among them
    place: int
    total: int
    before: str
    after: str

    @classmethod
    def of(cls, nodes: Sequence[span_tree.Node], chosen: str) -> _Marks:
        places = (place for place, node in enumerate(nodes) if node.span.span_id == chosen)
        place = next(places, -1)
        first = max(0, min(place - window.ROWS // 2, len(nodes) - window.ROWS))
        ids = [node.span.span_id for node in nodes[first : first + window.ROWS]]
        before = nodes[place - 1 if place > 0 else -1].span.span_id if nodes else ""
        after = nodes[(place + 1) % len(nodes)].span.span_id if nodes else ""
        return cls(ids, first, place + 1, len(nodes), before, after)


def _view(request: Request) -> window.ViewRequest:
    params = request.query_params
    part = re.fullmatch(r"([0-9]{1,8})-([0-9]{1,8})", params.get("part", ""))
    return window.ViewRequest(
        span=params.get("span", "")[:16].lower(),
        under=params.get("under", "")[:16].lower(),
        show=params["show"] if params.get("show") in _SHOWS else "",
        find=params.get("find", "").strip()[:_MAX_TEXT],
        part=(int(part[1]), int(part[2])) if part else None,
    )


def _initial_span(row: dict[str, Any], tree: span_tree.SpanTree, view: window.ViewRequest) -> str:
    """A search opens on its first match, a failed trace on the origin of its failure, others on nothing."""
    if view.find:
        first = next(window.matching(tree, view), None)
        return first.span.span_id if first else ""
    return str(row["failure_span"] or "") if not view.under else ""


def _readable(span: dict[str, Any] | None) -> dict[str, Any] | None:
    """A span with the guard's removal note parsed."""
    if span is not None:
        found = removed_values.read(span["own"].pop(_REMOVED, ""))
        span["removed"], span["rules"] = found, removed_values.rules(found)
        span["removed_sides"] = {side: removed_values.of_side(found, side) for side in ("input", "output")}
    return span


def _stored_matches(connection: sqlite3.Connection, trace_id: str, view: window.ViewRequest) -> set[str]:
    return spans.matching_ids(connection, trace_id, view.find) if view.find else set()


def _services(tree: span_tree.SpanTree, row: dict[str, Any]) -> list[tuple[str, int]]:
    """The trace's services with their span counts, largest first."""
    if "\n" not in row["services"]:
        # a single service needs no counting
        return [(row["services"], row["spans"])] if row["services"] else []
    counted = Counter(map(attrgetter("span.service"), tree.nodes))
    return [(name, count) for name, count in counted.most_common() if name]


def _number(given: str | None) -> int:
    return int(given) if given and re.fullmatch(r"[0-9]{1,8}", given) else 0
