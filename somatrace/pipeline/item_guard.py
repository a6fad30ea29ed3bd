"""Guard the items of the queue: the first of the worker's steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from somatrace.context.span_state import SpanState, state_of
from somatrace.delivery.encoding import SpanEncoder
from somatrace.delivery.ledger import Ledger
from somatrace.delivery.outgoing_span import EncodedSpan, OutgoingSpan
from somatrace.guard.redaction.work import Work, shared_work
from somatrace.pipeline.billed_usage import BilledUsage
from somatrace.pipeline.direct_encoding import DirectEncoder
from somatrace.pipeline.fair_order import FairOrder
from somatrace.pipeline.guarded_copy import SpanCopier
from somatrace.pipeline.lean_span import LeanSpan
from somatrace.pipeline.queued_span import QueuedSpan
from somatrace.pipeline.records import kind_attributes
from somatrace.pipeline.span_parts import held_attributes
from somatrace.pipeline.surroundings import GrantsInForce
from somatrace.runtime.fail_safe import fail_safe

log = logging.getLogger("somatrace")

#: An item of the queue, the state of its span, and the span, guarded.
Guarded = tuple[QueuedSpan, SpanState | None, OutgoingSpan | EncodedSpan]


class ItemGuard:
    """Settles the usage of spans and guards them, most without a copy. Used by one thread."""

    def __init__(
        self,
        copier: SpanCopier,
        encoder: SpanEncoder,
        order: FairOrder,
        ledger: Ledger,
        *,
        reads: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> None:
        """`reads` tells from the attributes of an ended span whether its copy is read in any case."""
        self._copier = copier
        self._direct = DirectEncoder(copier, encoder)
        self._usage = BilledUsage()
        self._order = order
        self._ledger = ledger
        self._reads = reads
        #: Under which the last items were guarded.
        self.grants = GrantsInForce()

    def forget(self) -> None:
        """Forget the requests of other spans, because a forked child is another process."""
        self._usage.forget()

    def guarded(self, items: Iterable[QueuedSpan], *, is_read: bool) -> list[Guarded]:
        """The items whose turn it is, with copies if those are read. One that cannot be guarded is counted as
        lost."""
        guarded: list[Guarded] = []
        work = Work()
        if self._copier.costs is not None:
            self._copier.costs.refresh()
        with shared_work(work), self._copier.batch() as self.grants:
            for item in self._order.due(items):
                work.examined = 0
                state = state_of(item.span)
                try:
                    guarded.append((item, state, self._one(item, state, is_read=is_read)))
                except Exception as error:
                    self._ledger.count("guard_faults")
                    if item.phase == "ended":
                        self._ledger.lose("guard", None if state is None else state.shown.tenant)
                    log.debug("guard: %s", type(error).__name__)
                if work.examined:
                    self._order.used(item, work.examined)
        return guarded

    def without_content(self, guarded: Iterable[Guarded]) -> list[OutgoingSpan | EncodedSpan]:
        """The spans of the last items as they are without any grant: grants may end while spans wait."""
        closed: list[OutgoingSpan | EncodedSpan] = []
        costs = self._copier.costs
        counted = nullcontext() if costs is None else costs.uncounted()
        with shared_work(Work()), self._copier.batch(closed=True), counted:
            for item, state, made in guarded:
                is_granted = state is not None and state.tags.tenant in self.grants.fingerprints
                closed.append(self._copier.copy(item.span) if is_granted else made)
        return closed

    def _one(self, item: QueuedSpan, state: SpanState | None, *, is_read: bool) -> OutgoingSpan | EncodedSpan:
        span = item.span
        if item.event is not None:
            return self._copier.copy(span, (item.event,), kind_attributes(span))
        made: OutgoingSpan | EncodedSpan | None = None
        if item.phase == "ended":
            if type(span) is LeanSpan:
                span.settle()
            if state is not None:
                is_read = is_read or (self._reads is not None and self._reads(held_attributes(span)))
                with fail_safe("usage"):
                    tokens = self._usage.settle(span, state)
                    with fail_safe("encode"):
                        made = self._direct.encode(span, state, tokens, is_read=is_read)
        elif item.values is not None and state is not None:
            with fail_safe("encode"):
                made = self._direct.copy(span, state, item.values)
        return self._copier.copy(span, values=item.values) if made is None else made
