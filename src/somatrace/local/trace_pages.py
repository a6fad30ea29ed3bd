"""One trace: its tree, the rows and spans a reader asks for, and the trace as a file, out and in."""

from __future__ import annotations

import re
import sqlite3
from contextlib import ExitStack
from typing import Any, Final

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from somatrace import names
from somatrace.local import detail, exporting, minimap, removed, tree, window
from somatrace.local.address import Address
from somatrace.local.otlp import ExportError, Limits, TooLargeError, from_json
from somatrace.local.pages import guarded
from somatrace.local.render import Renderer
from somatrace.local.state import State
from somatrace.local.traces import neighbours
from somatrace.local.trees import Trees

_SHOWS: Final = ("errors", "critical", "all")
_REMOVED: Final = f"attributes.{names.GUARD_REMOVED}"
_MAX_TEXT: Final = 400


class TracePages:
    """Answers about single traces of one store."""

    def __init__(self, state: State, render: Renderer, limits: Limits) -> None:
        self._state = state
        self._render = render
        self._limits = limits
        self._trees = Trees()

    def routes(self) -> list[BaseRoute]:
        trace = "/trace/{trace_id:str}"
        pages = {
            trace: self.trace,
            f"{trace}/rows": self.rows,
            f"{trace}/file": self.file,
            f"{trace}/span/{{span_id:str}}": self.span,
            f"{trace}/span/{{span_id:str}}/text": self.text,
        }
        return [
            *(Route(path, guarded(self._state, self._render, page)) for path, page in pages.items()),
            Route("/import", self.take, methods=["POST"]),
        ]

    def trace(self, request: Request) -> Response:
        with ExitStack() as using:
            return self._trace(request, using)

    def _trace(self, request: Request, using: ExitStack) -> Response:
        trace_id = request.path_params["trace_id"].lower()
        address = Address(request.query_params)
        view = _view(request)

        def read(connection: sqlite3.Connection) -> tuple[Any, ...] | None:
            row = detail.trace(connection, trace_id)
            if row is None:
                return None
            grown = using.enter_context(self._trees.of(connection, row))
            span_id = view.span if view.span in grown.by_id else _first_to_read(row, view)
            span = _readable(detail.span(connection, trace_id, span_id)) if span_id else None
            return row, grown, span, neighbours(connection, address.filter(), row)

        found = self._state.read(read)
        if found is None:
            return self._missing(trace_id)
        row, grown, span, (newer, older) = found
        shown = window.choose(
            grown, window.View(span["span_id"] if span else "", view.under, view.show, view.find)
        )
        begin, end = _zoom(request, row)
        return self._render(
            "trace.html",
            address=address,
            view="trace",
            trace=row,
            window=shown,
            chosen=view,
            span=span,
            asked=view.span,
            total=len(grown.nodes) - grown.missing,
            rowcount=len(grown.nodes),
            bars=_Bars(begin, end),
            zoom=request.query_params.get("zoom", "") if (begin, end) != _whole(row) else "",
            minimap=minimap.paths(grown, row["start_ns"], row["end_ns"]),
            failures=grown.failed[: window.ROWS],
            newer=newer,
            older=older,
        )

    def rows(self, request: Request) -> Response:
        """The children of a span, or more of them."""
        with ExitStack() as using:
            return self._rows(request, using)

    def _rows(self, request: Request, using: ExitStack) -> Response:
        trace_id = request.path_params["trace_id"].lower()
        params = request.query_params

        def read(connection: sqlite3.Connection) -> tuple[dict[str, Any], tree.Tree] | None:
            row = detail.trace(connection, trace_id)
            return None if row is None else (row, using.enter_context(self._trees.of(connection, row)))

        found = self._state.read(read)
        if found is None:
            return self._missing(trace_id)
        row, grown = found
        below = window.below(
            grown, params.get("under", ""), _number(params.get("from")), _number(params.get("to")) or None
        )
        if below is None:
            return self._missing(trace_id)
        return self._render.part(
            "rows.html",
            trace=row,
            rows=below,
            bars=_Bars(*_zoom(request, row)),
            chosen_id="",
            total=len(grown.nodes) - grown.missing,
        )

    def span(self, request: Request) -> Response:
        """One span: alone for a script, else within its trace."""
        trace_id, span_id = (request.path_params[name].lower() for name in ("trace_id", "span_id"))
        found = self._state.read(lambda connection: _readable(detail.span(connection, trace_id, span_id)))
        if found is None:
            return self._missing(trace_id)
        return self._render.part("span.html", span=found)

    def text(self, request: Request) -> Response:
        """The whole of what a page cut: input, output, or the attribute `key`, as plain text."""
        trace_id, span_id = (request.path_params[name].lower() for name in ("trace_id", "span_id"))
        found = self._state.read(lambda connection: detail.span(connection, trace_id, span_id))
        key = request.query_params.get("key", "")
        texts = (
            {} if found is None else {**found["metadata"], "input": found["input"], "output": found["output"]}
        )
        if texts.get(key) is None:
            return PlainTextResponse("Not here", 404)
        # a lone surrogate cannot be sent
        return PlainTextResponse(str(texts[key]).encode("utf-8", "replace"))

    def file(self, request: Request) -> Response:
        """The trace as an OTLP/JSON file."""
        trace_id = request.path_params["trace_id"].lower()

        def read(connection: sqlite3.Connection) -> bytes | None:
            if detail.trace(connection, trace_id) is None:
                return None
            return b"".join(
                piece.encode("utf-8", "replace") for piece in exporting.pieces(connection, trace_id)
            )

        content = self._state.read(read)
        if content is None:
            return self._missing(trace_id)
        disposition = f'attachment; filename="trace-{trace_id[:8]}.otlp.json"'
        return Response(content, media_type="application/json", headers={"Content-Disposition": disposition})

    async def take(self, request: Request) -> Response:
        """Put the spans of an OTLP/JSON file into the store and say which trace to look at."""
        if self._state.refuses(request) or request.headers.get("sec-fetch-site") != "same-origin":
            return JSONResponse({"message": "Open this page by its link first."}, 401)
        body = b""
        try:
            async for part in request.stream():
                body += part
                if len(body) > self._limits.body:
                    return JSONResponse({"message": f"It is over {self._limits.body:,} bytes."}, 413)
            trace_ids = await anyio.to_thread.run_sync(self._add, body)
        except ClientDisconnect:
            return Response(status_code=400)
        except (ExportError, TooLargeError) as error:
            return JSONResponse({"message": str(error)}, 400)
        except (sqlite3.Error, OSError) as error:
            return JSONResponse({"message": f"The store cannot be written: {error}"}, 503)
        if not trace_ids:
            return JSONResponse({"message": "There is no span in this file."}, 400)
        return JSONResponse({"open": f"/trace/{trace_ids[0]}", "traces": len(trace_ids)})

    def _add(self, body: bytes) -> list[str]:
        spans = list(from_json(body, self._limits))
        self._state.store.add(spans)
        return list(dict.fromkeys(span.trace_id for span in spans))

    def _missing(self, trace_id: str) -> Response:
        return self._render("missing.html", 404, trace_id=trace_id, address=Address({}), view="")


class _Bars:
    """Where spans lie in the stretch of time that is shown."""

    def __init__(self, begin_ns: int, end_ns: int) -> None:
        self._begin = begin_ns
        self._whole = max(end_ns - begin_ns, 1)

    def __call__(self, node: tree.Node) -> tuple[str, str, str] | None:
        """Left edge and width in percent, and the class; None when it lies outside."""
        left = (node.span.start_ns - self._begin) / self._whole * 100
        right = max((node.span.end_ns - self._begin) / self._whole * 100, left + 0.3)
        if right < 0 or left > 100:
            return None
        left = min(max(left, 0.0), 99.7)
        return f"{left:.2f}%", f"{min(right, 100) - left:.2f}%", minimap.kind(node)


def _view(request: Request) -> window.View:
    params = request.query_params
    return window.View(
        span=params.get("span", "")[:16].lower(),
        under=params.get("under", "")[:16].lower(),
        show=params["show"] if params.get("show") in _SHOWS else "",
        find=params.get("find", "").strip()[:_MAX_TEXT],
    )


def _first_to_read(row: dict[str, Any], view: window.View) -> str:
    """A failed trace opens on the failure that passed up; others on nothing."""
    return str(row["failure_span"] or "") if not view.find and not view.under else ""


def _readable(span: dict[str, Any] | None) -> dict[str, Any] | None:
    """A span with what the guard said of it taken apart."""
    if span is not None:
        found = removed.read(span["own"].pop(_REMOVED, ""))
        span["removed"], span["rules"] = found, removed.rules(found)
        span["removed_sides"] = {side: removed.of_side(found, side) for side in ("input", "output")}
    return span


def _whole(row: dict[str, Any]) -> tuple[int, int]:
    return row["start_ns"], row["end_ns"]


def _zoom(request: Request, row: dict[str, Any]) -> tuple[int, int]:
    """The stretch that `zoom=<from>-<to>` (percent) asks for; all of it when that makes no sense."""
    begin, end = _whole(row)
    match = re.fullmatch(
        r"([0-9]{1,3}(?:\.[0-9]{1,6})?)-([0-9]{1,3}(?:\.[0-9]{1,6})?)", request.query_params.get("zoom", "")
    )
    if match is None or not 0 <= float(match[1]) < float(match[2]) <= 100:
        return begin, end
    return tuple(begin + int((end - begin) * float(share) / 100) for share in match.groups())  # type: ignore[return-value]


def _number(given: str | None) -> int:
    return int(given) if given and re.fullmatch(r"[0-9]{1,8}", given) else 0
