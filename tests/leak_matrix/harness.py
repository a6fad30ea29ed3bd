"""Run the cases of one client in this process, once per tenant, and record the outputs.

    python -m tests.leak_matrix.harness <client> <directory> <order>

A client `recording:<library>` replays the recorded cases of a library that is not installed; `live:<library>`
runs these cases where it is.
`order` selects whether the program sets up a tracer provider with its own processors `before`
`init_tracing`, or adds them `after` it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import itertools
import json
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from somatrace import Record, bind, flush, init_tracing, shutdown, span, status
from somatrace.context.span_state import SpanState
from somatrace.delivery.outgoing_span import EncodedSpan
from somatrace.pipeline.item_guard import ItemGuard
from somatrace.pipeline.queued_span import QueuedSpan
from tests.leak_matrix.canary import Canary, Planted, dump
from tests.leak_matrix.cases import CASES, SHOWN, case, failing, provider

__all__ = ["CASES", "SHOWN", "TENANTS", "case", "failing", "provider"]

RECORDING: Final = "recording:"
LIVE: Final = "live:"
#: Clients whose open spans are read in every way at once: all kinds of spans, events and links.
READ_WHOLE: Final = ("own",)
#: Tenants by what the policy of the test grants them; None is work without a tenant.
TENANTS: dict[str, str | None] = {"none": "closed", "redacted": "masked", "full": "open", "unbound": None}


def _readable(span: Any) -> Any:
    return span._readable_span().attributes if hasattr(span, "_readable_span") else ""


#: Every way of reading a span, or a part of one.
WAYS: tuple[Callable[[Any], list[Any]], ...] = (
    lambda span: [span.name, span._name],
    lambda span: [span.to_json()],
    lambda span: [repr(span), str(span)],
    lambda span: [vars(span)],
    lambda span: [dict(span.attributes or {}), dict(span._attributes or {})],
    lambda span: [span.status, span._status, vars(span.status)],
    lambda span: [span.resource.attributes],
    lambda span: [part for event in span.events for part in (event.name, dict(event.attributes or {}))],
    lambda span: [part for event in span._events for part in (event.name, dict(event.attributes or {}))],
    lambda span: [part for link in span.links for part in (link.context, dict(link.attributes or {}))],
    lambda span: [part for link in span._links for part in (link.context, dict(link.attributes or {}))],
    lambda span: [span.context, span.parent, span.get_span_context()],
    lambda span: [repr(span.instrumentation_scope), span.instrumentation_scope.attributes],
    lambda span: [_readable(span)],
)


class Peek(SpanProcessor):
    """Reads everything it can from every span it receives, on every callback.

    Each read of a span that may still change is guarded again. `in_turn` reads such a span as
    JSON and in one more way, the next span in the next way.
    """

    def __init__(self, *, in_turn: bool) -> None:
        self.seen: list[str] = []
        self._in_turn = itertools.cycle(WAYS) if in_turn else None

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        self._read_open(span)

    def _on_ending(self, span: Span) -> None:
        self._read_open(span)

    def on_end(self, span: ReadableSpan) -> None:
        self._read(span, WAYS)

    def _read_open(self, span: Span) -> None:
        ways = WAYS if self._in_turn is None else (lambda span: [span.to_json()], next(self._in_turn))
        self._read(span, ways)

    def _read(self, span: Any, ways: Iterable[Callable[[Any], list[Any]]]) -> None:
        self.seen += [str(part) for way in ways for part in way(span)]


class Keep(SpanExporter):
    """A third-party exporter behind a SimpleSpanProcessor."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.seen += [span.to_json() for span in spans]
        return SpanExportResult.SUCCESS


class ThirdParty:
    """Third-party span processors."""

    def __init__(self, client: str) -> None:
        self.peek, self.keep = Peek(in_turn=client not in READ_WHOLE), Keep()

    def add_to(self, provider: Any) -> None:
        provider.add_span_processor(self.peek)
        provider.add_span_processor(SimpleSpanProcessor(self.keep))

    @property
    def seen(self) -> list[str]:
        return [*self.peek.seen, *self.keep.seen]


#: Of each span that ended for the tenant without content: what was recorded, and what of it leaves.
recorded: list[dict[str, Any]] = []


def _record_copies() -> None:
    guarded = ItemGuard._one

    def one(self: ItemGuard, item: QueuedSpan, state: SpanState | None, *, is_read: bool) -> Any:
        made, span = guarded(self, item, state, is_read=True), item.span
        kept = made.copy if isinstance(made, EncodedSpan) else made
        assert kept is not None
        if item.phase == "ended" and (kept.attributes or {}).get("tenant_id") == "closed":
            parts = {"name": [span.name, kept.name], "start": [span.start_time, kept.start_time]}
            parts |= {"end": [span.end_time, kept.end_time], "kind": [str(span.kind), str(kept.kind)]}
            after = kept.attributes or {}
            attributes = {key: [value, after.get(key)] for key, value in (span.attributes or {}).items()}
            for event, kept_event in zip(span.events, kept.events, strict=True):
                left = kept_event.attributes or {}
                attributes |= {
                    f"{event.name}/{key}": [value, left.get(key)]
                    for key, value in (event.attributes or {}).items()
                }
            scope = span.instrumentation_scope.name if span.instrumentation_scope else ""
            recorded.append({"scope": scope, "parts": parts, "attributes": attributes})
        return made

    ItemGuard._one = one  # type: ignore[method-assign]


def _load(client: str) -> None:
    """Register the cases of a client, those of a recording, or those that were recorded."""
    if client.startswith(RECORDING):
        from tests.leak_matrix import replay

        replay.load(client.removeprefix(RECORDING))
    elif client.startswith(LIVE):
        module = importlib.import_module(f"tests.leak_matrix.recorded.{client.removeprefix(LIVE)}")
        getattr(module, "instrument", lambda: None)()
    else:
        importlib.import_module(f"tests.leak_matrix.clients.{client}")


def main(client: str, directory: Path, order: str) -> None:
    for name in ("somatrace", "opentelemetry", "traceloop"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.basicConfig(stream=sys.stderr, format="LOG %(name)s %(message)s %(exc_text)s")
    if order == "after":
        _record_copies()
    canaries: dict[str, Canary] = {}
    records: list[str] = []
    sent: list[list[str]] = []
    third_party: list[ThirdParty] = []

    def listen(record: Record) -> None:
        records.append(repr(record))

    def join() -> None:
        third_party.append(ThirdParty(client))
        third_party[-1].add_to(trace.get_tracer_provider())

    if order == "before":
        trace.set_tracer_provider(TracerProvider())
        join()
        _load(client)
    init_tracing("matrix", listeners=[listen])
    if order == "after":
        join()
        _load(client)
    for mode, tenant in TENANTS.items():
        for name, function in CASES.items():
            planted = Planted(mode, name, canaries)
            provider.say = planted
            # work bound to no tenant runs inside a span of the most open one, and must inherit nothing
            around = span("request", tenant_id="open") if tenant is None else contextlib.nullcontext()
            with around, bind(tenant_id=tenant, workflow_name="flow", agent_id="agent"):
                result = function(planted)
                if inspect.iscoroutine(result):
                    asyncio.run(result)
            sent += [[name, text] for text in provider.headers]
            provider.headers.clear()
    assert flush(60), "not all arrived"
    shutdown(60)  # servers may end further spans meanwhile
    state = status()
    unseen = [index for index, one in enumerate(third_party) if not one.keep.seen]
    (directory / "canaries.json").write_text(dump(canaries))
    (directory / "recorded.json").write_text(json.dumps(recorded, default=repr))
    (directory / "third_party.txt").write_text("\n".join(text for one in third_party for text in one.seen))
    (directory / "records.txt").write_text("\n".join(records))
    (directory / "status.txt").write_text(repr(state))
    report = {
        "cases": SHOWN,
        "faults": state.guard_faults,
        "created": state.created,
        "delivered": state.delivered,
        "unseen": unseen,
        "records": len(records),
        "problems": list(state.problems),
        "sent": sent,
    }
    (directory / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    # the cases import this module by name and must see the registered state
    harness = importlib.import_module("tests.leak_matrix.harness")
    harness.main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
