"""The pipeline behind the span processor: a bounded queue, the guard, and delivery, on two threads."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import Event, ReadableSpan, Span
from opentelemetry.trace import TraceFlags
from opentelemetry.trace.status import StatusCode

from somatrace import semconv
from somatrace.context.failure_notes import note_event
from somatrace.context.span_state import DECLARED_MARK, SpanOwner, SpanState, state_of
from somatrace.delivery.batch_queue import BatchQueue
from somatrace.delivery.encoding import SpanEncoder
from somatrace.delivery.ledger import Ledger
from somatrace.delivery.outbox import Outbox
from somatrace.delivery.outgoing_span import EncodedSpan, OutgoingSpan
from somatrace.delivery.restricted import Restricted
from somatrace.delivery.sending_modules import SendingModules
from somatrace.delivery.tenant_shares import shares_of
from somatrace.listeners.record import Listener
from somatrace.pipeline.fair_order import FairOrder
from somatrace.pipeline.guarded_copy import SpanCopier
from somatrace.pipeline.item_guard import Guarded, ItemGuard
from somatrace.pipeline.last_lines import say_what_remains
from somatrace.pipeline.lean_span import LeanSpan
from somatrace.pipeline.listener_calls import ListenerCalls
from somatrace.pipeline.overhead_budget import OverheadBudget
from somatrace.pipeline.queued_span import QueuedSpan, ended, weight_of
from somatrace.pipeline.records import record_of
from somatrace.pipeline.report_schedule import ReportSchedule
from somatrace.pipeline.sampling import RuleSampler
from somatrace.pipeline.span_naming import renamed
from somatrace.pipeline.span_parts import held_attributes
from somatrace.pipeline.third_party_processors import UNINSTRUMENTED, ThirdPartyProcessors
from somatrace.runtime.clock import clock
from somatrace.runtime.worker import BackgroundWorker

if TYPE_CHECKING:
    from somatrace.pipeline.cost_notes import CostNotes

log = logging.getLogger("somatrace")

_SAMPLED: Final = int(TraceFlags.SAMPLED)
#: Seconds that an exit waits for spans to be written down before the modules that send them are loaded.
_WRITE_FIRST: Final = 0.5


class Pipeline:
    """Accepts spans on any thread. One thread guards, encodes and writes them down, another one sends."""

    def __init__(
        self,
        copier: SpanCopier,
        outbox: Outbox | None,
        ledger: Ledger,
        *,
        queue_size: int,
        queue_bytes: int,
        batch_size: int,
        linger: float,
        send_linger: float = 0.0,
        load: Callable[[], None] = lambda: None,
        max_latency_ms: float = 0.0,
        rules: RuleSampler | None = None,
        listeners: Sequence[Listener] = (),
        reports: ReportSchedule | None = None,
        cost_notes: CostNotes | None = None,
    ) -> None:
        self.budget = OverheadBudget(max_latency_ms)
        self._rules = rules
        self.copier = copier
        self.ledger = ledger
        self.outbox = outbox
        self._modules = SendingModules(load)
        self._encoder = SpanEncoder()
        self._reports = reports
        self._cost_notes = cost_notes
        self._queue_size = queue_size
        self._queue_bytes = queue_bytes
        self._order = FairOrder()
        self._items = ItemGuard(
            copier, self._encoder, self._order, ledger, reads=None if cost_notes is None else cost_notes.reads
        )
        #: Of the spans of this process: a new object after a fork.
        self.owner = SpanOwner(self.event_declared, copier.allows_text)
        self._step_thread = 0  # the id of the thread in `_step`
        self._listeners = ListenerCalls(listeners)
        self.third_party = ThirdPartyProcessors()
        self._worker: BackgroundWorker[QueuedSpan] = BackgroundWorker(
            "worker",
            self._step,
            size=queue_size,
            weight=queue_bytes,
            batch=batch_size,
            linger=linger,
            drained=lambda: not self._order.count,
            release=self._write_last,
            forget=self._forget,
            beside=lambda: self._sender is not None and self._sender.start(),
        )
        #: Sends what the worker has encoded, so that a slow target does not keep spans from the disk.
        self._sender: BackgroundWorker[None] | None = None
        if outbox is not None:
            self._sender = BackgroundWorker(
                "sender",
                self._send,
                size=queue_size,
                linger=send_linger,
                drained=lambda: outbox.queue.settled,
                interrupt=outbox.interrupt,
                release=outbox.close,
            )

    # -- any thread -----------------------------------------------------------------------------------

    def started(self, span: Span, state: SpanState) -> None:
        """Count a started span, and tell the listeners."""
        self.ledger.count_created()
        if self._step_thread and threading.get_ident() == self._step_thread:
            state.notifies_listeners = False  # a listener has created it
        elif self._listeners.called:
            values = span.values.copy() if type(span) is LeanSpan else None
            self._queue_for_listeners(QueuedSpan("started", span, None, values))

    def event_declared(self, span: ReadableSpan, name: str, fields: Mapping[str, Any], time_ns: int) -> None:
        """Queue an event declared by the program; the span itself keeps only the last events."""
        state = state_of(span)
        if self._listeners.called and state is not None and state.notifies_listeners:
            noted = note_event(span, fields)
            event = Event(name, {**fields, **noted, semconv.DECLARED: DECLARED_MARK}, time_ns)
            self._queue_for_listeners(QueuedSpan("event", span, event))

    def _queue_for_listeners(self, item: QueuedSpan) -> None:
        """Queue an item for listeners only; half of the queue is reserved for ended spans."""
        if 2 * self._worker.depth[0] >= self._queue_size or not self._queue(item):
            self.ledger.count("unheard")

    def _queue(self, item: QueuedSpan) -> bool:
        weight = weight_of(item)
        if self._order.count and self._is_full(weight):
            return False
        return self._worker.put(item, weight)

    def _is_full(self, weight: int) -> bool:
        """Whether an item finds no room beside those that are queued and those that wait for their turn."""
        count, size = self._worker.depth
        most = self._queue_size, self._queue_bytes
        return count + self._order.count >= most[0] or size + self._order.weight + weight > most[1]

    def ended(self, span: Span, state: SpanState | None) -> None:
        """Queue an ended span, or count it as lost."""
        if state is not None:
            if state.owner is not self.owner:
                return  # open during a fork: the parent ends, sends and counts it
            naming, given = state.naming, state.name
            if naming is not None and not (
                naming.is_plain and span._name is naming.name and (given is None or given == naming.name)
            ):
                state.naming = renamed(span, naming, given)
        self.ledger.count_ended()
        reason = self._drop_reason(span, state)
        if reason and not self._is_heard(span):
            self.ledger.lose(reason, _tenant(state))
            return
        item = ended(span)
        weight = weight_of(item)
        if (self._order.count and self._is_full(weight)) or not self._worker.put(item, weight):
            self.ledger.lose("exit" if self._worker.closed else "queue_full", _tenant(state))

    def _is_heard(self, span: ReadableSpan) -> bool:
        notes = self._cost_notes
        return bool(self._listeners.called) or (notes is not None and notes.reads(held_attributes(span)))

    def _drop_reason(self, span: ReadableSpan, state: SpanState | None) -> str:
        """The reason not to send a span, or "". Listeners and the cost ledger receive it in any case."""
        context = span._context
        if context is None or not context[3] & _SAMPLED:
            return "not_sampled"
        rules, budget = self._rules, self.budget
        if rules is None and budget.share == 1.0:
            return ""
        failed = span._status.status_code is StatusCode.ERROR
        if (
            rules is not None
            and state is not None
            and not rules.keeps(context.trace_id, state, failed=failed)
        ):
            return "not_sampled"
        return "" if failed or budget.keeps(context.trace_id) else "over_budget"

    @property
    def has_listeners(self) -> bool:
        """Whether spans that are not sent are read as well."""
        return bool(self._listeners.called) or self._cost_notes is not None

    def listen(self, listener: Listener) -> None:
        """Add a listener; it receives records from now on."""
        self._listeners.add(listener)

    def unlisten(self, listener: Listener) -> None:
        """Remove a listener."""
        self._listeners.remove(listener)

    def load(self, timeout: float) -> None:
        """Have the sending modules loaded if spans are waiting, and wait up to `timeout` seconds for it."""
        if not self.ledger.waiting or self.outbox is None:
            return
        until = clock.monotonic() + timeout
        # to the disk first: while a finder looks for a module, no other thread can import anything
        self._worker.flush(min(timeout, _WRITE_FIRST))
        if self._worker.hurry() and self._sender is not None and self._sender.hurry():
            self._modules.wait(max(0.0, until - clock.monotonic()))
        else:  # `close` runs inline
            self._modules.load()

    def flush(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for delivery of all ended spans, also to third-party processors."""
        until = clock.monotonic() + timeout
        flushed = self._worker.flush(timeout)
        if self._sender is not None:
            flushed = self._sender.flush(max(0.0, until - clock.monotonic())) and flushed
        return self.third_party.flush(until - clock.monotonic()) and flushed

    def close(self, timeout: float) -> bool:
        """Flush, then stop for good. Returns False if a span was not delivered in time."""
        begun = clock.monotonic()
        until = begun + timeout * (0.7 if self.third_party else 0.95)
        closed = has_taken_all = self._worker.close(until - begun)
        if self._sender is not None:
            closed = self._sender.close(max(0.0, until - clock.monotonic())) and closed
        self.third_party.close(begun + timeout - clock.monotonic())
        left = self.outbox.queue.leave(max(0.0, begun + timeout - clock.monotonic())) if self.outbox else 0
        lost = self.ledger.lose_rest("exit", with_untaken=not has_taken_all)
        self.ledger.name_lost(self._shown_tenant)
        say_what_remains(left, {**self.ledger.lost, "exit": lost}, in_time=closed)
        if self._reports is not None:
            self._reports.close()
        return closed

    def _shown_tenant(self, tenant: str | None) -> str:
        try:
            return self.copier.tenant(tenant)
        except Exception:
            return semconv.UNKNOWN_TENANT

    @property
    def depth(self) -> tuple[int, int]:
        """Spans and bytes in the pipeline: queued, or encoded and not yet acknowledged."""
        size = self.outbox.queue.size if self.outbox is not None else 0
        return self.ledger.waiting, self._worker.depth[1] + self._order.weight + size

    # -- the worker's thread ----------------------------------------------------------------------------

    def _step(self, items: Sequence[QueuedSpan]) -> float | None:
        """Guard, notify, encode and write down, with instrumentation suppressed."""
        token = otel_context.attach(UNINSTRUMENTED)
        self._step_thread = threading.get_ident()
        try:
            wait = self._handle(items)
            while self._order.count and clock.monotonic() < (self._worker.deadline or 0.0):
                wait = self._handle(())  # closing: nobody may call again
            report = self._reports.stepped(worked=bool(items)) if self._reports is not None else None
            return report if wait is None else wait if report is None else min(wait, report)
        finally:
            self._step_thread = 0
            otel_context.detach(token)

    def _handle(self, items: Sequence[QueuedSpan]) -> float | None:
        is_read = self.outbox is None or bool(self._listeners.called) or bool(self.third_party)
        guarded = self._to_send(self._items.guarded(items, is_read=is_read))
        self.ledger.name_lost(self._shown_tenant)
        if self.outbox is None:
            self.ledger.lose_ended("no_target", Counter(made.tenant for _, _, made in guarded))
            self._show(guarded)
            return self._next(None)
        if guarded:
            self._keep(guarded, self.outbox.queue)
            self._hand_over()
            self._show(guarded)
        return self._next(self.outbox.queue.sync())

    def _next(self, wait: float | None) -> float | None:
        """Write down what calls have cost; returns the seconds until there is more to do."""
        costs = None if self._cost_notes is None else self._cost_notes.write()
        if self._order.count:
            return 0.0
        return costs if wait is None else wait if costs is None else min(wait, costs)

    def _keep(self, guarded: Sequence[Guarded], queue: BatchQueue) -> None:
        """Encode spans, with their content and without if they may wait, and put them into the queue.

        If that fails, they are encoded separately: a value that cannot be encoded drops its span only.
        """
        try:
            spans = [self._encoder.encoded(made) for _, _, made in guarded]
            body, restricted, shares = self._encoder.encode(spans), None, shares_of(spans)
            grants = self._items.grants
            if grants.fingerprints:
                closed = [self._encoder.encoded(made) for made in self._items.without_content(guarded)]
                without, shares = self._encoder.encode(closed), shares_of(closed, spans)
                restricted = Restricted(grants.fingerprints, without, frozenset(grants.hidden))
        except Exception:
            if len(guarded) == 1:
                self.ledger.lose_ended("encode", {guarded[0][2].tenant: 1})
                return
            for one in guarded:
                self._keep([one], queue)
            return
        queue.add(body, len(guarded), restricted, shares)

    def _hand_over(self) -> None:
        """Wake the sender, which takes what is in the outbox by then: one item is enough."""
        if self._sender is not None and not self._sender.depth[0]:
            self._sender.put(None)

    def _to_send(self, guarded: Sequence[Guarded]) -> list[Guarded]:
        """Notify the listeners, and return the ended spans that are not dropped."""
        to_send: list[Guarded] = []
        for item, state, made in guarded:
            copy = made.copy if isinstance(made, EncodedSpan) else made
            if copy is not None and self._listeners.called and (state is None or state.notifies_listeners):
                self._notify(item, copy)
            if item.phase != "ended":
                continue
            if self._cost_notes is not None:
                self._cost_notes.note(made)
            reason = self._drop_reason(item.span, state)
            if reason:
                self.ledger.lose_ended(reason, {made.tenant: 1})
                continue
            if state is None or state.shown.tenant is None:
                self.ledger.count("unknown_tenant")
            to_send.append((item, state, made))
        return to_send

    def _show(self, guarded: Sequence[Guarded]) -> None:
        """Pass copies to third-party processors, after encoding, so that their changes are never sent."""
        for _, _, made in guarded if self.third_party else ():
            copy = made.copy if isinstance(made, EncodedSpan) else made
            if copy is not None:
                self.third_party.show(copy)

    def _notify(self, item: QueuedSpan, copy: OutgoingSpan) -> None:
        try:
            record = record_of(item.phase, copy)
            self._listeners.tell(record)
        except Exception:
            self.ledger.count("guard_faults")

    # -- the sender's thread ----------------------------------------------------------------------------

    def _send(self, items: Sequence[None]) -> float | None:
        """Send what is in the outbox, with instrumentation of the HTTP or gRPC client suppressed."""
        sender, outbox = self._sender, self.outbox
        assert sender is not None
        assert outbox is not None
        token = otel_context.attach(UNINSTRUMENTED)
        try:
            if items or sender.urgent:
                self._modules.load()
            return outbox.send(
                hurry=sender.urgent, deadline=sender.deadline, stopping=lambda: sender.stopping
            )
        finally:
            otel_context.detach(token)

    # -- the end of a thread, and a forked child --------------------------------------------------------

    def _write_last(self) -> None:
        if self._cost_notes is not None:
            self._cost_notes.close()

    def _forget(self) -> None:
        self.owner = SpanOwner(self.event_declared, self.copier.allows_text)
        self.ledger.reset()
        if self._cost_notes is not None:
            self._cost_notes.forget()
        self._order.clear()
        self._items.forget()
        if self._reports is not None:
            self._reports.forget()
        self.copier.forget()
        self._modules.forget()
        if self.outbox is not None:
            self.outbox.forget()


def _tenant(state: SpanState | None) -> str | None:
    if state is None:
        return None
    own = state.tags.tenant  # of most spans, without a look at the others of the trace
    return state.shown.tenant if own is None else own
