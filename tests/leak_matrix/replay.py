"""Replay recordings: each recorded case is a case of the matrix, whose spans and requests are made again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import Any, Final

import aiohttp
import httpx
import urllib3
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode

from somatrace.instrumentation.call_context import llm_call
from somatrace.libraries import LIBRARIES
from tests.leak_matrix import recordings
from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import CASES, SHOWN, provider
from tests.leak_matrix.placeholders import planted

Json = dict[str, Any]
#: Clients whose requests somatrace marks as model calls, whatever span is current.
_MARKED: Final = {row.name for row in LIBRARIES if row.requests is not None}
_NOWHERE: Final = SpanContext(1, 1, is_remote=False)


def load(library: str) -> None:
    """Register the cases of a library's recording."""
    for case in recordings.read(library)["cases"]:
        CASES[case["name"]] = functools.partial(_case, case)
        SHOWN[case["name"]] = tuple(case["shown"])


def _case(case: Json, c: Planted) -> None:
    spans: list[Span] = []
    recorded = [planted(span, c) for span in case["spans"]]
    for span in recorded:
        spans.append(_start(span, spans))
    for request in case["requests"]:
        place = request["span"]
        current = trace.use_span(spans[place]) if place is not None else contextlib.nullcontext()
        with current, llm_call() if request["library"] in _MARKED else contextlib.nullcontext():
            _send(request["transport"])
    ended = [(span["end"], spans[index]) for index, span in enumerate(recorded) if "end" in span]
    for end, one in sorted(ended, key=lambda pair: pair[0]["order"]):
        _end(end, one)


def _start(span: Json, started: list[Span]) -> Span:
    name, version, attributes = span["scope"]
    tracer = trace.get_tracer(name, version, attributes=attributes)
    parent = None if span["parent"] is None else trace.set_span_in_context(started[span["parent"]])
    links = [Link(_NOWHERE, attributes) for attributes in span.get("end", {}).get("links", ())]
    kind = SpanKind[span["kind"]]
    return tracer.start_span(span["name"], parent, kind, attributes=span["attributes"], links=links)


def _end(end: Json, span: Span) -> None:
    span.update_name(end["name"])
    span.set_attributes(end["attributes"])
    for name, attributes in end["events"]:
        span.add_event(name, attributes)
    code, description = end["status"]
    if code != "UNSET":
        span.set_status(Status(StatusCode[code], description))
    span.end()


def _send(transport: str) -> None:
    url = f"{provider.url}/web/200/next"
    if transport == "h11":
        _client().post(url)
    elif transport == "aiohttp":
        asyncio.run(_with_aiohttp(url))
    else:
        urllib3.request("POST", url)


@functools.cache
def _client() -> httpx.Client:
    """One client for all requests: a new one reads the certificates of the system."""
    return httpx.Client()


async def _with_aiohttp(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(url):
        pass
