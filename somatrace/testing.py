"""What tests of services use: see the spans a block makes, as they would leave the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from somatrace import tracing
from somatrace.config import Config
from somatrace.context.tags import Scalar
from somatrace.delivery.encoding import encode
from somatrace.listeners.record import Record


@dataclass
class Captured:
    """The guarded spans and the records of a block, complete once the block is left."""

    spans: list[ReadableSpan] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def named(self, name: str) -> ReadableSpan:
        """The one span of this name; AssertionError when there is none, or more than one."""
        found = [span for span in self.spans if span.name == name]
        assert len(found) == 1, f"{len(found)} named {name!r} among {[span.name for span in self.spans]}"
        return found[0]

    @property
    def bytes(self) -> bytes:
        """What would be sent for these spans, uncompressed."""
        return encode(self.spans)


@contextmanager
def capture(service_name: str = "test", *, timeout: float = 5.0) -> Iterator[Captured]:
    """Collect what happens in the block. Starts tracing, with no target, where the program has not.

    Waits up to `timeout` seconds at the end; AssertionError when tracing cannot be started.
    """
    tracing.init_tracing(service_name, config=Config(target="none"))
    live = tracing.installed()
    assert live is not None, "init_tracing failed: see the log"
    assert live.pipeline is not None, tracing.status().problems
    assert live.span_processor is not None, tracing.status().problems
    live.pipeline.flush(timeout)  # what ended before the block is not the block's
    captured = Captured()
    collector = _Collector(captured.spans)
    live.span_processor.add_span_processor(collector)
    listener = captured.records.append
    live.pipeline.listen(listener)
    try:
        yield captured
    finally:
        live.pipeline.flush(timeout)
        live.span_processor.remove_span_processor(collector)
        live.pipeline.unlisten(listener)


def assert_tags(captured: Captured, **tags: Scalar) -> None:
    """Every captured span carries these tags."""
    assert captured.spans, "no span was captured"
    for span in captured.spans:
        attributes = span.attributes or {}
        wrong = {name: attributes.get(name) for name, value in tags.items() if attributes.get(name) != value}
        assert not wrong, f"span {span.name!r} carries {wrong}, expected {tags}"


def assert_no_content(captured: Captured, *texts: str) -> None:
    """None of the texts is anywhere in what would be sent."""
    sent = captured.bytes.decode("utf-8", "replace").casefold()
    found = [text[:20] for text in texts if text.casefold() in sent]
    assert not found, f"{len(found)} of {len(texts)} texts would leave the process: {found[0]!r} …"


class _Collector(SpanProcessor):
    def __init__(self, spans: list[ReadableSpan]) -> None:
        self._spans = spans

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)
