"""Replay recordings: each recorded case is a case of the matrix, whose spans and requests are made again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import types
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
#: Clients whose request methods somatrace marks as model calls, whatever span is current.
_MARKED: Final = {row.name for row in LIBRARIES if row.requests is not None}
#: Clients that are recognized by a module of theirs on the stack.
_RECOGNIZED: Final = {row.name: row.model_packages[0] for row in LIBRARIES if row.model_packages}
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
            _send(request["transport"], _RECOGNIZED.get(request["library"], __name__))
    ended = [(span["end"], spans[index]) for index, span in enumerate(recorded) if "end" in span]
    for end, one in sorted(ended, key=lambda pair: pair[0]["order"]):
        _end(end, one)


def _moved(function: Any, module: str) -> Any:
    """`function` as if it were defined in a library's module of that name."""
    return types.FunctionType(function.__code__, {**globals(), "__name__": module})


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


def _send(transport: str, module: str) -> None:
    """Send a request as code of `module`."""
    url = f"{provider.url}/web/200/next"
    if transport == "h11":
        _moved(_with_httpx, module)(url)
    elif transport == "aiohttp":
        asyncio.run(_moved(_with_aiohttp, module)(url))
    else:
        _moved(_with_urllib3, module)(url)


@functools.cache
def _client() -> httpx.Client:
    """One client for all requests: a new one reads the certificates of the system."""
    return httpx.Client()


async def _with_aiohttp(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(url):
        pass


def _with_httpx(url: str) -> None:
    _client().post(url)


def _with_urllib3(url: str) -> None:
    urllib3.request("POST", url)
