"""A queue with a small limit on disk, spans of tenants for it, and what its segments hold."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from somatrace.delivery.batch_queue import BatchQueue
from somatrace.delivery.journal import Journal
from somatrace.delivery.journal_entry import Entry
from somatrace.delivery.ledger import Ledger
from somatrace.delivery.outgoing_span import EncodedSpan
from somatrace.delivery.restricted import Restricted
from somatrace.delivery.tenant_shares import shares_of

OWNER = {"service": "svc", "target": "otlp", "address": "http://collector:4318/v1/traces", "key": ""}
_ids = itertools.count(1)


def encoded(
    tenant: str, size: int = 400, *, error: bool = False, cost: bool = False, content: str = ""
) -> Span:
    """A span of about `size` bytes, with `content` in addition."""
    number = next(_ids)
    span = Span(trace_id=number.to_bytes(16), span_id=number.to_bytes(8), name="work")
    span.attributes.add(key="tenant_id").value.string_value = tenant
    span.attributes.add(key="padding").value.string_value = "x" * max(0, size - 80)
    if error:
        span.status.code = 2
    if cost:
        span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 7
    if content:
        span.attributes.add(key="gen_ai.prompt").value.string_value = content
    return span


def request(*spans: Span) -> bytes:
    made = ExportTraceServiceRequest()
    made.resource_spans.add().scope_spans.add().spans.extend(spans)
    return made.SerializeToString()


def spans_in(body: bytes) -> list[Span]:
    return [
        span
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def tenant_of(span: Span) -> str:
    return next(one.value.string_value for one in span.attributes if one.key == "tenant_id")


def plain(span: Span) -> Span:
    """The same span without its content."""
    made = Span()
    made.CopyFrom(span)
    kept = [one for one in span.attributes if one.key != "gen_ai.prompt"]
    del made.attributes[:]
    made.attributes.extend(kept)
    return made


def _sized(spans: list[Span]) -> list[EncodedSpan]:
    return [EncodedSpan(None, None, span.SerializeToString(), tenant_of(span)) for span in spans]  # type: ignore[arg-type]


@dataclass
class SmallSpool:
    """A queue of a process whose target is away."""

    directory: Path
    max_bytes: int = 1 << 19
    memory: int = 1 << 14
    made: dict[bytes, Span] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger = Ledger()
        self.journal = Journal(
            lambda: self.directory,
            OWNER,
            max_bytes=self.max_bytes,
            max_days=7.0,
            evicted=self.ledger.evict_all,
        )
        self.queue = BatchQueue(
            self.ledger, lambda: self.journal, max_bytes=self.memory, batch_size=512, allows=lambda *_: True
        )

    def add(self, *spans: Span) -> None:
        """Put a batch into the queue, as the pipeline does."""
        closed = [plain(span) for span in spans]
        granted = {tenant_of(span) for span, other in zip(spans, closed, strict=True) if span != other}
        shares, restricted = shares_of(_sized(list(spans))), None
        if granted:
            restricted = Restricted(dict.fromkeys(granted, "grant"), request(*closed))
            shares = shares_of(_sized(closed), _sized(list(spans)))
        for span in spans:
            self.made[span.span_id] = span
            self.ledger.count_ended()
        self.queue.add(request(*spans), len(spans), restricted, shares)

    def left(self) -> list[Span]:
        """What the next process of the service finds."""
        self.queue.leave(5.0)
        return what_is_left(self.directory)

    def counts(self, reason: str) -> Counter[str]:
        """Spans lost by tenant."""
        found = {name: account.lost[reason] for name, account in self.ledger.tenants().items()}
        return +Counter(found)


def what_is_left(directory: Path) -> list[Span]:
    """The spans of all segments that nobody holds, in their order."""
    return [span for _, spans in records_left(directory) for span in spans]


def records_left(directory: Path) -> list[tuple[Entry, list[Span]]]:
    """The records of all segments that nobody holds, in their order, each with its spans."""
    journal, found = Journal(lambda: directory, OWNER, max_bytes=1 << 40, max_days=7.0), []
    while entries := journal.take_over():
        for entry in entries:
            read = journal.read(entry)
            assert read is not None
            found.append((entry, spans_in(read[0])))
    journal.forget()
    return found


def used(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
