"""Ingest endpoints: OTLP/HTTP at Langfuse's path and at OTLP's own, with the responses each specifies.

Langfuse always responds in JSON; OTLP requires an ExportTraceServiceResponse in the request's encoding.
Rejections are the same at both, and apply to the whole batch.
"""

from __future__ import annotations

import logging
import sqlite3
import uuid
from typing import Final

import anyio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from somatrace import semconv
from somatrace.local.access.auth import Auth
from somatrace.local.ingest.page_priority import PagePriority
from somatrace.local.ingest.refusals import Refusals
from somatrace.local.otlp.decode import (
    ExportError,
    Limits,
    TooLargeError,
    from_json,
    from_protobuf,
    gunzip,
)
from somatrace.local.store.store import Store

_log = logging.getLogger("somatrace.local")

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
#: bodies decoded at the same time, which bounds the memory that hostile ones can use
_AT_ONCE: Final = 2
#: seconds that a batch waits in total for pages, which share the interpreter with it
_MAX_WAIT: Final = 0.1
_VERSION_HEADERS: Final = ("x-langfuse-ingestion-version", "x_langfuse_ingestion_version")


class IngestEndpoints:
    """The endpoints for OTLP exports."""

    def __init__(
        self, store: Store, auth: Auth, limits: Limits, refusals: Refusals, priority: PagePriority
    ) -> None:
        self._store = store
        self._refusals = refusals
        self._priority = priority
        self._auth = auth
        self._limits = limits
        self._slots: anyio.CapacityLimiter | None = None

    async def traces(self, request: Request) -> Response:
        """Accept one export, as a whole or not at all."""
        if refusal := self._auth.refuse_program(request):
            self._refusals.add("wrong or missing key")
            return refusal
        # created here, since it belongs to the running event loop
        self._slots = self._slots or anyio.CapacityLimiter(_AT_ONCE)
        try:
            body = await self._body(request)
            count = await anyio.to_thread.run_sync(self._take, request, body, limiter=self._slots)
        except ExportError as error:
            self._refusals.add("unreadable export")
            return JSONResponse({"error": str(error)}, 400)
        except TooLargeError as error:
            self._refusals.add("too large")
            return JSONResponse({"message": "Payload Too Large", "error": str(error)}, 413)
        except ClientDisconnect:
            return Response(status_code=400)
        except (sqlite3.Error, OSError) as error:
            # 503 and not Langfuse's 500: exporters retry after a 503
            self._refusals.add("the store could not be written")
            _log.warning("could not write a batch to the local store: %s", error)
            return JSONResponse({"message": "Service Unavailable"}, 503, {"Retry-After": "1"})
        return self._accepted(request, count)

    async def metrics(self, request: Request) -> Response:
        """Accept and discard OTLP metrics, as Langfuse does."""
        return self._auth.refuse_program(request) or JSONResponse({"message": "OK"})

    async def _body(self, request: Request) -> bytes:
        limit = self._limits.body
        declared = request.headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or len(declared) > 18 or int(declared) > limit:
            raise TooLargeError(f"a request body may have at most {limit} bytes")
        parts: list[bytes] = []
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise TooLargeError(f"a request body may have at most {limit} bytes")
            parts.append(part)
        return b"".join(parts)

    def _take(self, request: Request, body: bytes) -> int:
        budget = self._priority.budget(_MAX_WAIT)
        budget.wait()
        if "gzip" in request.headers.get("content-encoding", "").lower():
            body = gunzip(body, self._limits.body)
        content_type = request.headers.get("content-type", "").lower()
        if PROTOBUF in content_type:
            spans = from_protobuf(body, self._limits)
        elif JSON in content_type:
            spans = from_json(body, self._limits)
        else:
            raise ExportError("Invalid content type")
        _refuse_version(request)
        return self._store.add(budget.between(spans))

    def _accepted(self, request: Request, count: int) -> Response:
        if request.url.path == semconv.LANGFUSE_OTLP_PATH:
            job = {"id": str(uuid.uuid4()), "name": "otel-ingestion-job", "data": {"spans": count}}
            return JSONResponse(job if count else {})
        if PROTOBUF in request.headers.get("content-type", "").lower():
            return Response(ExportTraceServiceResponse().SerializeToString(), media_type=PROTOBUF)
        return JSONResponse({})


def _refuse_version(request: Request) -> None:
    given = next((value for name in _VERSION_HEADERS if (value := request.headers.get(name))), "")
    newest = semconv.LANGFUSE_INGESTION_VERSION
    if given and not (given.isascii() and given.isdigit() and len(given) < 10 and int(given) <= int(newest)):
        shown = given[:20].encode("ascii", "replace").decode()
        raise ExportError(
            f'Unsupported x-langfuse-ingestion-version: "{shown}". Maximum supported: "{newest}".'
        )
