"""The page: traces by tenant, workflow and status, and one trace as a tree.

Spans are hostile input: templates escape everything, no script or style is inline, and nothing is
loaded from elsewhere.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from somatrace.local import show, traces, tree
from somatrace.local.auth import Auth
from somatrace.local.store import Store

_WINDOW: Final = 500
_MAX_FORM: Final = 4096
_RANGES: Final = {"1h": 1, "24h": 24, "7d": 168}
_BARS: Final = {"GENERATION": "llm", "EMBEDDING": "llm", "TOOL": "tool", "RETRIEVER": "tool"}


class Pages:
    """Renders one store for a browser."""

    def __init__(self, store: Store, auth: Auth) -> None:
        self._store = store
        self._auth = auth
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            visible=show.visible, duration=show.duration, moment=show.moment, count=show.count, cost=show.cost
        )

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.listing, methods=["GET"]),
            Route("/trace/{trace_id}", self.trace, methods=["GET"]),
            Route("/open", self.open_form, methods=["GET"]),
            Route("/open", self.open, methods=["POST"]),
        ]

    def open_form(self, request: Request) -> Response:
        return self._page("open.html", failed=False)

    async def open(self, request: Request) -> Response:
        """Exchange a link's token for the cookie."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MAX_FORM:
                return self._page("open.html", 413, failed=True)
        token = parse_qs(body.decode("ascii", "replace")).get("token", [""])[0]
        response = RedirectResponse("/", 303)
        return (
            response
            if self._auth.open(request, token, response)
            else self._page("open.html", 403, failed=True)
        )

    def listing(self, request: Request) -> Response:
        if self._auth.refuse_browser(request):
            return self._page("open.html", 401, failed=False)
        params = request.query_params
        hours = _RANGES.get(params.get("range", ""), 24)
        chosen = traces.Filter(
            tenant=params.get("tenant", ""),
            workflow=params.get("workflow", ""),
            status=params["status"] if params.get("status") in ("failed", "ok") else "",
            before=_position(params.get("before", "")),
        )
        since = time.time_ns() - hours * 3_600_000_000_000
        try:
            groups, (rows, more) = self._store.read(
                lambda connection: (traces.overview(connection, since), traces.newest(connection, chosen))
            )
        except (sqlite3.Error, OSError) as error:
            return self._page("broken.html", 503, error=str(error))
        link = _Links(params.get("range", ""), chosen)
        return self._page(
            "traces.html",
            groups=groups,
            rows=rows,
            chosen=chosen,
            hours=hours,
            link=link,
            older=link(before=f"{rows[-1]['start_ns']}.{rows[-1]['trace_id']}") if more else "",
            endpoint=f"{request.url.scheme}://{request.url.netloc}",
        )

    def trace(self, request: Request) -> Response:
        if self._auth.refuse_browser(request):
            return self._page("open.html", 401, failed=False)
        trace_id, span_id = request.path_params["trace_id"].lower(), request.query_params.get("span", "")
        try:
            (row, spans), span = self._store.read(
                lambda connection: (
                    traces.trace(connection, trace_id),
                    traces.span(connection, trace_id, span_id),
                )
            )
        except (sqlite3.Error, OSError) as error:
            return self._page("broken.html", 503, error=str(error))
        if row is None:
            return self._page("missing.html", 404, trace_id=trace_id)
        nodes = tree.lines(spans)
        places = {node.span["span_id"]: number for number, node in enumerate(nodes)}
        start = (
            places[span_id] // _WINDOW * _WINDOW
            if span_id in places
            else _number(request.query_params.get("from"))
        )
        return self._page(
            "trace.html",
            trace=row,
            nodes=[(node, _bar(node, row)) for node in nodes[start : start + _WINDOW]],
            start=start,
            total=len(nodes),
            window=_WINDOW,
            failed=[node.span for node in nodes if node.span["level"] == "ERROR"][:20],
            span=span,
        )

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(values), status)


class _Links:
    """Addresses of the list with one thing changed; the rest of the filter stays."""

    def __init__(self, hours: str, chosen: traces.Filter) -> None:
        self._now = {
            "range": hours,
            "tenant": chosen.tenant,
            "workflow": chosen.workflow,
            "status": chosen.status,
        }

    def __call__(self, **changed: str) -> str:
        query = {name: value or "" for name, value in {**self._now, **changed}.items()}
        # a lone surrogate in an address typed by hand must not break the page
        return "/?" + urlencode({name: value for name, value in query.items() if value}, errors="replace")


def _bar(node: tree.Node, trace: dict[str, Any]) -> tuple[str, str, str]:
    """Left edge and width in percent, and the class, of a span's bar."""
    whole = max(trace["end_ns"] - trace["start_ns"], 1)
    left = (node.span["start_ns"] - trace["start_ns"]) / whole * 100
    width = max((node.span["end_ns"] - node.span["start_ns"]) / whole * 100, 0.3)
    left = min(max(left, 0.0), 99.7)
    kind = "error" if node.span["level"] == "ERROR" else _BARS.get(node.span["type"], "other")
    return f"{left:.2f}%", f"{min(width, 100 - left):.2f}%", kind


def _position(given: str) -> tuple[int, str] | None:
    start, _, trace_id = given.partition(".")
    valid = start.isascii() and start.isdigit() and len(start) < 20 and int(start) < 2**63
    return (int(start), trace_id) if valid else None


def _number(given: str | None) -> int:
    return int(given) if given and given.isascii() and given.isdigit() and len(given) < 9 else 0
