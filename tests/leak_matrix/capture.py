"""Record the spans and requests of one library, in this process and without a guard.

    python -m tests.leak_matrix.capture <library> <file>

Runs in the environment of the library's own lock. Canaries become placeholders, so that a replay can plant
those of its own tenants.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from somatrace.libraries import LIBRARIES
from tests.leak_matrix.canary import Canary, Planted
from tests.leak_matrix.cases import CASES, SHOWN, provider
from tests.leak_matrix.placeholders import Blanks
from tests.leak_matrix.requests_seen import Requests

#: Attributes longer than this are of no further use: the guard treats them like shorter ones.
MAX_TEXT: Final = 1500
Json = dict[str, Any]


class Recorder(SpanProcessor):
    """The spans of one case, in the order in which they start."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.spans: list[Json] = []
        self._places: dict[int, int] = {}
        self._ended = 0

    def place(self, span: trace.Span) -> int | None:
        """The index of a span of this case."""
        return self._places.get(span.get_span_context().span_id)

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        scope = span.instrumentation_scope
        self._places[span.get_span_context().span_id] = len(self.spans)
        self.spans.append(
            {
                "scope": [scope.name, scope.version or "", dict(scope.attributes or {})],
                "parent": self._places.get(span.parent.span_id) if span.parent else None,
                "kind": span.kind.name,
                "name": span.name,
                "attributes": dict(span.attributes or {}),
            }
        )

    def on_end(self, span: ReadableSpan) -> None:
        index = self._places.get(span.get_span_context().span_id)
        if index is None:  # of a case that is over
            return
        at_start = self.spans[index]
        attributes = {k: v for k, v in (span.attributes or {}).items() if at_start["attributes"].get(k) != v}
        at_start["end"] = {
            "order": self._ended,
            "name": span.name,
            "attributes": attributes,
            "events": [[event.name, dict(event.attributes or {})] for event in span.events],
            "links": [dict(link.attributes or {}) for link in span.links],
            "status": [span.status.status_code.name, span.status.description],
        }
        self._ended += 1


@contextlib.contextmanager
def customer(c: Planted) -> Iterator[None]:
    """Baggage of the program: headers that show what an instrumentor injects."""
    token = otel_context.attach(baggage.set_baggage("customer", c.word("baggage")))
    try:
        yield
    finally:
        otel_context.detach(token)


def instrument(module: Any) -> None:
    """Switch on what the recording is of: rows of the registry, or instrumentors that programs use."""
    for row in LIBRARIES:
        if row.name in getattr(module, "REGISTERED", ()):
            getattr(importlib.import_module(row.instrumentor_module), row.instrumentor)().instrument()
    getattr(module, "instrument", lambda: None)()


def main(library: str, file: Path) -> None:
    spans = Recorder()
    tracers = TracerProvider()
    tracers.add_span_processor(spans)
    trace.set_tracer_provider(tracers)
    module = importlib.import_module(f"tests.leak_matrix.recorded.{library}")
    instrument(module)
    requests = Requests(spans.place)
    requests.install()
    canaries: dict[str, Canary] = {}
    cases = []
    for name, function in CASES.items():
        planted = provider.say = Planted("recording", name, canaries)
        spans.clear()
        requests.seen.clear()
        with customer(planted):
            result = function(planted)
            if inspect.iscoroutine(result):
                asyncio.run(result)
        blanks = Blanks(canaries, provider.url)
        kept = {"name": name, "shown": SHOWN[name], "spans": spans.spans, "requests": requests.seen}
        cases.append(blanks.fill(json.loads(json.dumps(kept, default=repr)), MAX_TEXT))
    releases = {name: version(name) for name in module.RELEASES}
    file.write_text(json.dumps({"releases": releases, "cases": cases}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
