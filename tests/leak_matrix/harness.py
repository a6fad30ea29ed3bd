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
import json
import logging
import sys
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from somatrace import Record, bind, flush, init_tracing, shutdown, span, status
from somatrace.pipeline.guarded_copy import SpanCopier
from tests.leak_matrix.canary import Canary, Planted, dump
from tests.leak_matrix.cases import CASES, SHOWN, case, failing, provider

__all__ = ["CASES", "SHOWN", "TENANTS", "case", "failing", "provider"]

RECORDING: Final = "recording:"
LIVE: Final = "live:"
#: Tenants by what the policy of the test grants them; None is work without a tenant.
TENANTS: dict[str, str | None] = {"none": "closed", "redacted": "masked", "full": "open", "unbound": None}


class Peek(SpanProcessor):
    """Reads everything it can from every span it receives, on every callback."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        self._read(span)

    def _on_ending(self, span: Span) -> None:
        self._read(span)

    def on_end(self, span: ReadableSpan) -> None:
        self._read(span)

    def _read(self, span: Any) -> None:
        self.seen += [span.name, span._name, span.to_json(), repr(span), str(span), str(vars(span))]
        self.seen += [str(dict(span.attributes or {})), str(dict(span._attributes or {})), str(span.status)]
        self.seen += [str(vars(span.status)), str(span._status), str(span.resource.attributes)]
        for event in (*span.events, *span._events):
            self.seen += [event.name, str(dict(event.attributes or {}))]
        for link in (*span.links, *span._links):
            self.seen += [str(link.context), str(dict(link.attributes or {}))]
        self.seen += [str(span.context), str(span.parent), str(span.get_span_context())]
        self.seen += [repr(span.instrumentation_scope), str(span.instrumentation_scope.attributes)]
        self.seen.append(str(span._readable_span().attributes) if hasattr(span, "_readable_span") else "")


class Keep(SpanExporter):
    """A third-party exporter behind a SimpleSpanProcessor."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.seen += [span.to_json() for span in spans]
        return SpanExportResult.SUCCESS


class ThirdParty:
    """Third-party span processors."""

    def __init__(self) -> None:
        self.peek, self.keep = Peek(), Keep()

    def add_to(self, provider: Any) -> None:
        provider.add_span_processor(self.peek)
        provider.add_span_processor(SimpleSpanProcessor(self.keep))

    @property
    def seen(self) -> list[str]:
        return [*self.peek.seen, *self.keep.seen]


#: Of each span that ended for the tenant without content: what was recorded, and what of it leaves.
recorded: list[dict[str, Any]] = []


def _record_copies() -> None:
    guarded = SpanCopier.copy

    def copy(self: SpanCopier, span: ReadableSpan, *events: Any) -> ReadableSpan:
        kept = guarded(self, span, *events)
        if span.end_time and not any(events) and (kept.attributes or {}).get("tenant_id") == "closed":
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
        return kept

    SpanCopier.copy = copy  # type: ignore[method-assign]


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
        third_party.append(ThirdParty())
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
    state = status()
    shutdown(60)
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
