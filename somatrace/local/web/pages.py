"""Overview, traces and services.

Spans are hostile input: templates escape everything, no script or style is inline, and nothing is
loaded from elsewhere.
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

#: a batch is stamped before it is written: what a poll may not have seen yet is sent once more
_WRITING_NS: Final = 3_000_000_000


class Pages:
    """Answers from one store for a browser."""

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
        """What a list lacks that was made at `since` and asked last at `at` (nanoseconds)."""
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
            **self._here(request),
            "view": "services",
        }
        if wants_part(request, "services"):
            return self._render.part("services_part.html", header=self._state.header(), now_ns=now, **values)
        return self._render("services.html", **values)

    def _here(self, request: Request) -> dict[str, Any]:
        """Where spans can be sent, for a page that has none to show."""
        return {
            "endpoint": f"{request.url.scheme}://{request.url.netloc}",
            "directory": str(self._state.store.directory.absolute()),
            "aside": self._state.aside(),
        }

    def status(self, request: Request) -> Response:
        """The header's line alone; raises when the store cannot be read, which the line would not say."""
        self._state.read(lambda connection: connection.execute("SELECT 1 FROM traces LIMIT 1").fetchone())
        return self._render.part("status.html", header=self._state.header(), view="services")

    def find(self, request: Request) -> Response:
        """Go where a pasted id leads; else look for the words."""
        address = PageQuery(request.query_params)
        wanted = address.q
        found = self._state.read(lambda connection: search.find(connection, wanted))
        if len(found.traces) == 1:
            span = f"?span={found.span_id}" if found.span_id else ""
            return RedirectResponse(f"/trace/{found.traces[0]}{span}", 303)
        if found.correlation:
            return RedirectResponse(PageQuery({"correlation": found.correlation}).link("/traces"), 303)
        if found.traces or found.is_id:
            values = {"wanted": wanted, "found": found, "looked_at": search.SPANS_LOOKED_AT}
            return self._render("found.html", 404, address=PageQuery({}), view="", **values)
        return RedirectResponse(PageQuery({"q": wanted}).link("/traces"), 303)


def guarded(
    state: PageState, render: Renderer, page: Callable[[Request], Response]
) -> Callable[[Request], Response]:
    """`page` for those who came in by the link; a store that cannot be read is said, not raised."""

    def answer(request: Request) -> Response:
        if state.refuses(request):
            return render.part("open.html", 401, failed=False)
        try:
            with state.turns.page():
                return page(request)
        except (sqlite3.Error, OSError) as error:
            return render(
                "broken.html", 503, error=str(error), last=state.last_read, address=PageQuery({}), view=""
            )

    return answer


def _moment(request: Request, name: str, otherwise: int) -> int:
    given = request.query_params.get(name, "")
    return int(given) if re.fullmatch(r"[0-9]{1,19}", given) and int(given) < 2**63 else otherwise
