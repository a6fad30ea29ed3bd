"""Test helpers for services: capture the spans of a block as they would leave the process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from somatrace import tracing
from somatrace.config import Config
from somatrace.context.tags import Scalar
from somatrace.delivery.encoding import encode
from somatrace.delivery.ledger import Ledger
from somatrace.listeners.record import Record
from somatrace.pipeline.pipeline import Pipeline
from somatrace.runtime.clock import clock

#: Reasons for which a span is dropped before it is guarded, or while it is.
_DROPPED: Final = ("exit", "guard", "not_sampled", "over_budget", "queue_full")
#: How often missing spans are looked for: a thread may have counted one and not queued it yet.
_LAST_LOOKS: Final = 20
#: What else spans are missing for.
_OVERFLOW: Final = "because a span processor does not keep up, or the block has too many spans"


@dataclass
class Captured:
    """The guarded spans and the records of a block, complete once the block has exited."""

    spans: list[ReadableSpan] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    #: Spans of the block that were dropped, by the reason.
    dropped: Counter[str] = field(default_factory=Counter)

    def named(self, name: str) -> ReadableSpan:
        """The only span with this name; AssertionError if there is not exactly one."""
        found = [span for span in self.spans if span.name == name]
        dropped = f"; dropped: {dict(self.dropped)}" if self.dropped else ""
        assert len(found) == 1, (
            f"{len(found)} spans named {name!r} among {[span.name for span in self.spans]}{dropped}"
        )
        return found[0]

    @property
    def bytes(self) -> bytes:
        """The uncompressed request body for these spans."""
        return encode(self.spans)


@contextmanager
def capture(service_name: str = "test", *, timeout: float = 60.0) -> Iterator[Captured]:
    """Collect the spans and records of the block. Starts tracing without a target if it is not running.

    Waits up to `timeout` seconds at the end. AssertionError if tracing cannot be started, or if a span that
    ended in the block has not arrived by then.
    """
    if tracing.installed() is None:
        tracing.init_tracing(service_name, config=Config(target="none"))
    live = tracing.installed()
    assert live is not None, "init_tracing failed: see the log"
    assert live.pipeline is not None, tracing.status().problems
    assert live.span_processor is not None, tracing.status().problems
    pipeline, ledger = live.pipeline, live.ledger
    # spans that ended before the block do not belong to it
    if not pipeline.flush(timeout) and _is_busy(pipeline):
        raise AssertionError(f"capture: spans from before the block are still in work after {timeout:g} s")
    captured = Captured()
    collector = _Collector(captured.spans)
    live.span_processor.add_span_processor(collector)
    # counted from here on: what another thread has ended just before may be collected, and need not be
    ended, dropped = ledger.ended, _dropped(ledger)
    listener = captured.records.append
    pipeline.listen(listener)
    missing = ""
    try:
        try:
            yield captured
        finally:
            of_block = ledger.ended - ended  # what other threads end from now on may come too late
            in_time = pipeline.flush(timeout)
            for _ in range(_LAST_LOOKS):
                captured.dropped = _dropped(ledger) - dropped
                expected = of_block - captured.dropped.total()
                if len(captured.spans) >= expected or not in_time:
                    break
                clock.sleep(0.01)
                in_time = pipeline.flush(timeout)
            if len(captured.spans) < expected:
                cause = _OVERFLOW if in_time else f"after {timeout:g} s"
                missing = (
                    f"capture: {expected - len(captured.spans)} of {expected} spans of the block have not "
                    f"arrived {cause}"
                )
            live.span_processor.remove_span_processor(collector)
            pipeline.unlisten(listener)
    except BaseException as error:
        if missing:
            error.add_note(missing)
        raise
    assert not missing, missing


def assert_tags(captured: Captured, **tags: Scalar) -> None:
    """Assert that every captured span has these tags."""
    assert captured.spans, "no span was captured"
    for span in captured.spans:
        attributes = span.attributes or {}
        wrong = {name: attributes.get(name) for name, value in tags.items() if attributes.get(name) != value}
        assert not wrong, f"span {span.name!r} has {wrong}, expected {tags}"


def assert_no_content(captured: Captured, *texts: str) -> None:
    """Assert that none of the texts appears in the data that would be sent."""
    sent = captured.bytes.decode("utf-8", "replace").casefold()
    found = [text[:20] for text in texts if text.casefold() in sent]
    assert not found, f"{len(found)} of {len(texts)} texts would leave the process: {found[0]!r} …"


def _is_busy(pipeline: Pipeline) -> bool:
    """Whether a flush that timed out waited for the pipeline itself, and not for the target's answer."""
    return pipeline.outbox is None or pipeline.outbox.queue.empty


def _dropped(ledger: Ledger) -> Counter[str]:
    return Counter({reason: ledger.lost[reason] for reason in _DROPPED})


class _Collector(SpanProcessor):
    def __init__(self, spans: list[ReadableSpan]) -> None:
        self._spans = spans

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)
