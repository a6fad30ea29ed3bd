"""The overview, trace list and services pages.

Spans are untrusted input: templates escape everything, no script or style is inline, and nothing is
loaded from other hosts.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from somatrace.local.queries import overview, search, services, suggestions, traces
from somatrace.local.web.page_query import RANGES, PageQuery
from somatrace.local.web.page_state import PageState
from somatrace.local.web.render import Renderer, wants_part

#: a batch gets its time before it is written, so each poll repeats changes that the last may have missed
_WRITING_NS: Final = 3_000_000_000
#: tenants that the services page lists
_TENANTS: Final = 50


class Pages:
    """Serves a browser from one store."""

    def __init__(self, state: PageState, render: Renderer) -> None:
        self._state = state
        self._render = render

    def routes(self) -> list[BaseRoute]:
        pages: dict[str, Callable[[Request], Response]] = {
            "/": self.overview,
            "/traces": self.listing,
            "/traces/new": self.arrived,
            "/services": self.services,
            "/status": self.status,
            "/find": self.find,
        }
        return [Route(path, guarded(self._state, self._render, page)) for path, page in pages.items()]

    def overview(self, request: Request) -> Response:
        address = PageQuery(request.query_params)
        scope = address.scope(time.time())
        figures = self._state.read(lambda connection: overview.read(connection, scope))
        template = "overview_part.html" if wants_part(request, "overview") else "overview.html"
        shown = self._render.part if template.endswith("_part.html") else self._render
        return shown(
            template,
            address=address,
            figures=figures,
            scope=scope,
            ranges=RANGES,
            **self._here(request),
            view="overview",
        )

    def listing(self, request: Request) -> Response:
        address = PageQuery(request.query_params)
        chosen = address.filter()
        now = time.time_ns()
        found = self._state.read(lambda connection: traces.search(connection, chosen))
        values: dict[str, Any] = {
            "address": address,
            "found": found,
            "older": found.older and f"{found.older.value}_{found.older.trace_id}",
            "received_ns": now,
            "is_first": chosen.before is None,
            "ranges": RANGES,
            **self._here(request),
            "view": "traces",
        }
        if wants_part(request, "results"):
            return self._render.part("results.html", **values)
        return self._render("traces.html", suggested=self._state.read(suggestions.read), **values)

    def arrived(self, request: Request) -> Response:
        """Changes to a list that was rendered at `since` and last polled at `at` (nanoseconds)."""
        address = PageQuery(request.query_params)
        now = time.time_ns()
        since = _moment(request, "since", now)
        polled = _moment(request, "at", since) - _WRITING_NS
        shown = re.findall(r"[0-9a-f]{32}", request.query_params.get("shown", ""))[: traces.PAGE]
        found = self._state.read(
            lambda connection: traces.arrived(connection, address.filter(), since, shown, polled)
        )
        return self._render.part(
            "arrived.html",
            address=address,
            found=found,
            limit=traces.COUNTED,
            polled_ns=now,
            view="traces",
            header=self._state.header(),
        )

    def services(self, request: Request) -> Response:
        now = time.time_ns()
        found = self._state.read(lambda connection: services.read(connection, now))
        values: dict[str, Any] = {
            "address": PageQuery({}),
            "services": found,
            "tenants": services.delivery_by_tenant(found),
            "most_tenants": _TENANTS,
            **self._here(request),
            "view": "services",
        }
        if wants_part(request, "services"):
            return self._render.part("services_part.html", header=self._state.header(), now_ns=now, **values)
        return self._render("services.html", **values)

    def _here(self, request: Request) -> dict[str, Any]:
        """Where spans can be sent, for a page without any."""
        return {
            "endpoint": f"{request.url.scheme}://{request.url.netloc}",
            "directory": str(self._state.store.directory.absolute()),
            "aside": self._state.aside(),
        }

    def status(self, request: Request) -> Response:
        """The header's status line; raises if the store cannot be read, which the line does not show."""
        self._state.read(lambda connection: connection.execute("SELECT 1 FROM traces LIMIT 1").fetchone())
        return self._render.part("status.html", header=self._state.header(), view="services")

    def find(self, request: Request) -> Response:
        """Redirect to the match of a pasted ID, otherwise to a text search."""
        address = PageQuery(request.query_params)
        wanted = address.q
        found = self._state.read(lambda connection: search.find(connection, wanted))
        if len(found.traces) == 1:
            span = f"?span={found.span_id}" if found.span_id else ""
            return RedirectResponse(f"/trace/{found.traces[0]}{span}", 303)
        if found.correlation:
            return RedirectResponse(PageQuery({"correlation": found.correlation}).link("/traces"), 303)
        if found.traces or found.is_id:
            values = {"wanted": wanted, "found": found, "scanned": search.SCANNED_SPANS}
            return self._render("found.html", 404, address=PageQuery({}), view="", **values)
        return RedirectResponse(PageQuery({"q": wanted}).link("/traces"), 303)


def guarded(
    state: PageState, render: Renderer, page: Callable[[Request], Response]
) -> Callable[[Request], Response]:
    """Wrap `page`: it requires a signed-in browser, and an unreadable store renders an error page."""

    def answer(request: Request) -> Response:
        if state.refuses(request):
            return render.part("open.html", 401, failed=False)
        try:
            with state.priority.page():
                return page(request)
        except (sqlite3.Error, OSError) as error:
            return render(
                "broken.html", 503, error=str(error), last=state.last_read, address=PageQuery({}), view=""
            )

    return answer


def _moment(request: Request, name: str, otherwise: int) -> int:
    given = request.query_params.get(name, "")
    return int(given) if re.fullmatch(r"[0-9]{1,19}", given) and int(given) < 2**63 else otherwise
