"""Downloading a trace as a file, and importing such files."""

from __future__ import annotations

import sqlite3

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from somatrace.local.otlp import export
from somatrace.local.otlp.decode import ExportError, Limits, TooLargeError, from_json
from somatrace.local.trace_view import spans
from somatrace.local.web.page_state import PageState


class TraceFiles:
    """Writes traces of one store as OTLP/JSON and imports such files into it."""

    def __init__(self, state: PageState, limits: Limits) -> None:
        self._state = state
        self._limits = limits

    def of(self, trace_id: str) -> Response | None:
        """The file of a trace, or None if it is not in the store."""

        def read(connection: sqlite3.Connection) -> bytes | None:
            if spans.trace(connection, trace_id) is None:
                return None
            return b"".join(piece.encode("utf-8", "replace") for piece in export.pieces(connection, trace_id))

        content = self._state.read(read)
        if content is None:
            return None
        disposition = f'attachment; filename="trace-{trace_id[:8]}.otlp.json"'
        return Response(content, media_type="application/json", headers={"Content-Disposition": disposition})

    async def take(self, request: Request) -> Response:
        """Add the spans of an OTLP/JSON file to the store and return the trace to open."""
        if self._state.refuses(request) or request.headers.get("sec-fetch-site") != "same-origin":
            return JSONResponse({"message": "Sign in to this page with its link first."}, 401)
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > self._limits.body:
                    return JSONResponse(
                        {"message": f"The file is larger than {self._limits.body:,} bytes."}, 413
                    )
            trace_ids = await anyio.to_thread.run_sync(self._add, b"".join(parts))
        except ClientDisconnect:
            return Response(status_code=400)
        except (ExportError, TooLargeError) as error:
            return JSONResponse({"message": str(error)}, 400)
        except (sqlite3.Error, OSError) as error:
            return JSONResponse({"message": f"The store cannot be written: {error}"}, 503)
        if not trace_ids:
            return JSONResponse({"message": "The file contains no spans."}, 400)
        return JSONResponse({"open": f"/trace/{trace_ids[0]}", "traces": len(trace_ids)})

    def _add(self, body: bytes) -> list[str]:
        received = list(from_json(body, self._limits))
        self._state.store.add(received)
        return list(dict.fromkeys(span.trace_id for span in received))
