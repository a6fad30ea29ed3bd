"""Assemble the tracing pipeline, once per process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider

from somatrace import instrumentation, propagation, semconv
from somatrace.api import annotate, costs
from somatrace.config import Config, Settings, Target
from somatrace.context.held_attach import hold_context_changes
from somatrace.context.off_switch import turn_off
from somatrace.delivery.batch_queue import BatchQueue
from somatrace.delivery.factory import (
    advice_of,
    dead_letters_of,
    journal_of,
    load,
    renewer,
    transport_of,
)
from somatrace.delivery.ledger import Account, Ledger
from somatrace.delivery.outbox import Outbox
from somatrace.guard import Guard
from somatrace.guard.policy.resolver import PolicyResolver
from somatrace.guard.redaction.redact import redact_text
from somatrace.instrumentation.coverage import Coverage
from somatrace.listeners.record import Listener
from somatrace.pipeline.call_costs import CallCosts
from somatrace.pipeline.guarded_copy import SpanCopier
from somatrace.pipeline.pipeline import Pipeline
from somatrace.pipeline.provider import SomatraceProvider
from somatrace.pipeline.provider_takeover import take_over
from somatrace.pipeline.resource import resource_of
from somatrace.pipeline.sampling import rule_sampler_of, sampler_of
from somatrace.pipeline.span_processor import GuardingSpanProcessor
from somatrace.runtime.limits import LOAD_LIMIT
from somatrace.runtime.misuse import misuses
from somatrace.runtime.status import Status, TenantSpans
from somatrace.tracing.content_policy import allows_content, grants_of, in_force, pseudonyms_of
from somatrace.tracing.status_reports import reports_of

if TYPE_CHECKING:
    from somatrace.costs.price_book import PriceBook
    from somatrace.pipeline.cost_notes import CostNotes

#: Seconds after which a finished span, or what it has cost, is on disk.
WRITE_WITHIN: Final = 0.1


@dataclass
class Tracing:
    """The parts created by `init_tracing`."""

    settings: Settings
    coverage: Coverage
    ledger: Ledger
    pipeline: Pipeline | None = None
    span_processor: GuardingSpanProcessor | None = None
    grants: PolicyResolver | None = None
    call_costs: CallCosts | None = None
    cost_notes: CostNotes | None = None
    unprotected: list[str] = field(default_factory=list)
    lean_spans: bool = False

    @property
    def price_problems(self) -> tuple[str, ...]:
        """The current problem with the user's prices."""
        problem = self.call_costs.problem if self.call_costs is not None else ""
        return (problem,) if problem else ()

    @property
    def policy_problems(self) -> tuple[str, ...]:
        """Current problems with the content policy."""
        return self.grants.problems if self.grants is not None else ()

    def load(self) -> None:
        """Import the sending modules if spans are waiting, within a limit."""
        if self.pipeline is not None:
            self.pipeline.load(LOAD_LIMIT)

    def status(self) -> Status:
        """The current state of tracing, without I/O."""
        settings, ledger, pipeline = self.settings, self.ledger, self.pipeline
        spans, size = pipeline.depth if pipeline is not None else (0, 0)
        outbox = pipeline.outbox if pipeline is not None else None
        return Status(
            enabled=settings.enabled,
            available=outbox is not None and not outbox.away and not self.unprotected,
            service=settings.service_name,
            target=_target(settings.target),
            queued_spans=spans,
            queued_bytes=size,
            created=ledger.created,
            delivered=ledger.delivered,
            lost=dict(ledger.lost),
            evicted=dict(ledger.evicted),
            on_disk=outbox.queue.on_disk if outbox is not None else 0,
            taken_over=ledger.taken_over,
            left=ledger.left,
            tenants={name: _spans_of(account) for name, account in ledger.tenants().items()},
            content_removed=ledger.content_removed,
            unclean_stops=ledger.unclean_stops,
            success_rate=ledger.success_rate,
            latency_p50=ledger.latency(0.5),
            latency_p95=ledger.latency(0.95),
            throughput=ledger.throughput,
            kept_share=pipeline.budget.share if pipeline is not None else 1.0,
            unknown_tenant=ledger.unknown_tenant,
            unpriced=dict(self.call_costs.unpriced) if self.call_costs is not None else {},
            resent_ambiguous=ledger.resent_ambiguous,
            guard_faults=ledger.guard_faults,
            unheard=ledger.unheard,
            ignored=propagation.ignored(),
            last_error=ledger.last_error,
            problems=(
                *map(str, settings.problems),
                *self.coverage.problems,
                *self.policy_problems,
                *costs.problems(),
                *self.price_problems,
                *(self.cost_notes.problems if self.cost_notes is not None else ()),
                *misuses(),
                *(outbox.problems if outbox is not None else ()),
            ),
            instruments=self.coverage.states,
            unprotected=tuple(self.unprotected),
            lean_spans=not settings.enabled or self.lean_spans,
        )


def _price_book(settings: Settings) -> PriceBook:
    # imported with the first call of a model, not at the start
    from somatrace.costs.price_book import PriceBook

    return PriceBook(Path(settings.prices_file) if settings.prices_file else None)


def _cost_notes(settings: Settings) -> CostNotes | None:
    if not settings.cost_ledger:
        return None
    from somatrace.costs.ledger.cost_ledger import CostLedger
    from somatrace.local.data_dir import data_dir
    from somatrace.pipeline.cost_notes import CostNotes

    return CostNotes(CostLedger(lambda: data_dir(settings.data_dir, settings.state_home), settings.cost_tags))


def assemble(
    settings: Settings,
    config: Config | None,
    listeners: Sequence[Listener],
    *,
    start: Callable[[], object],
    flush: Callable[[float], object],
    shutdown: Callable[[float], object],
) -> Tracing:
    """Build the pipeline and connect it to the process's tracer provider. No network, no thread yet.

    `start` starts tracing in a child process and can be pickled; `flush` and `shutdown` take seconds
    and are called where a process ends.
    """
    live = Tracing(settings, Coverage(), Ledger())
    propagation.configure(settings)
    if not settings.enabled:
        turn_off()
        return live
    transport, problem = transport_of(settings)
    if problem:
        live.coverage.problem(problem)
    live.grants = grants_of(settings)
    outbox = journal = None
    if transport is not None:
        journal = journal_of(settings, live.ledger)
        outbox = Outbox(
            transport,
            BatchQueue(
                live.ledger,
                journal,
                max_bytes=settings.queue_bytes,
                batch_size=settings.batch_size,
                allows=in_force(live.grants),
            ),
            live.ledger,
            timeout=settings.target.timeout,
            quick_retries=settings.max_retries,
            renew=renewer(settings.service_name, config, settings),
            advice=advice_of(settings),
            open_dead_letters=dead_letters_of(settings, live.ledger.evict_all, redact_text),
        )
    resource = resource_of(settings)
    new_guard = partial(
        Guard,
        lambda: live.ledger.count("guard_faults"),
        cut_at=_cut_at(settings),
        resolve=live.grants.resolve,
        pseudonym=pseudonyms_of(settings),
    )
    live.cost_notes = _cost_notes(settings)
    live.call_costs = CallCosts(partial(_price_book, settings))
    copier = SpanCopier(
        new_guard(),
        service_name=settings.service_name,
        default_tenant=settings.default_tenant,
        resource=lambda own: own.merge(resource()),
        costs=live.call_costs,
    )
    writes = journal is not None or live.cost_notes is not None
    linger = min(settings.flush_interval, WRITE_WITHIN) if writes else settings.flush_interval
    live.pipeline = Pipeline(
        copier,
        outbox,
        live.ledger,
        queue_size=settings.queue_size,
        queue_bytes=settings.queue_bytes,
        batch_size=settings.batch_size,
        linger=linger,
        send_linger=settings.flush_interval - linger,
        load=partial(load, settings.target),
        max_latency_ms=settings.max_latency_ms,
        rules=rule_sampler_of(settings.sample_rules, settings.default_tenant),
        listeners=listeners,
        cost_notes=live.cost_notes,
        reports=reports_of(
            settings, live.status, lambda: str(resource().attributes[semconv.SERVICE_INSTANCE])
        ),
    )
    hold_context_changes()
    _provide(live, live.pipeline, resource())
    if not live.unprotected:  # otherwise spans of instrumentors would leave unguarded
        instrumentation.install(
            live.coverage,
            start=start,
            flush=flush,
            shutdown=shutdown,
            content=allows_content(live.grants),
            target=settings.target,
            guard=new_guard(),  # of its own: the other one belongs to the worker's thread
        )
    return live


def _provide(live: Tracing, pipeline: Pipeline, resource: Resource) -> None:
    """Become the process's tracer provider, or take over the existing one."""
    settings = live.settings

    def build(third_party: tuple[SpanProcessor, ...] = ()) -> GuardingSpanProcessor:
        live.span_processor = GuardingSpanProcessor(
            pipeline,
            third_party,
            instrumentation.exports_elsewhere(settings),
            instrumentation.is_telemetry_span,
        )
        return live.span_processor

    existing = _existing()
    if existing is None or isinstance(existing, trace.ProxyTracerProvider):
        provider = SomatraceProvider(
            build(), resource, sampler_of(settings.sampler, settings.sample_rate), _limits(settings)
        )
        trace.set_tracer_provider(provider)
        live.lean_spans = provider.is_lean
        return
    if isinstance(existing, TracerProvider):
        reason = take_over(existing, build)
    else:
        kind = type(existing)
        reason = f"the global tracer provider is {kind.__module__}.{kind.__qualname__}, not the SDK's"
    if reason:
        live.unprotected.append(reason)
        live.coverage.problem(
            f"tracer provider: {reason}; nothing is exported. Call init_tracing before the provider is set"
        )


def _existing() -> trace.TracerProvider | None:
    """The process's provider; None if OTEL_PYTHON_TRACER_PROVIDER names one that cannot be loaded.

    Until one is set, the API would try to load it again and log a traceback for each span.
    """
    try:
        return trace.get_tracer_provider()
    except Exception:
        return None


def _limits(settings: Settings) -> SpanLimits:
    """The SDK's limits, all set explicitly: for a missing one the SDK would read the environment itself."""
    limits = settings.span_limits
    given = {
        "max_attributes": limits.max_span_attributes,
        "max_span_attributes": limits.max_span_attributes,
        "max_events": limits.max_events,
        "max_links": limits.max_links,
        "max_event_attributes": limits.max_event_attributes,
        "max_link_attributes": limits.max_link_attributes,
        "max_attribute_length": limits.max_attribute_length,
        "max_span_attribute_length": limits.max_span_attribute_length,
    }
    return SpanLimits(**{name: SpanLimits.UNSET if limit is None else limit for name, limit in given.items()})


def _cut_at(settings: Settings) -> set[int]:
    """Lengths at which texts are truncated before the guard sees them: the SDK's limits, and `content`'s."""
    limits = settings.span_limits.max_attribute_length, settings.span_limits.max_span_attribute_length
    return {annotate.MAX_CONTENT, *(limit for limit in limits if limit)}


def _spans_of(account: Account) -> TenantSpans:
    return TenantSpans(
        account.ended,
        account.taken_over,
        account.waiting,
        account.delivered,
        account.left,
        dict(account.lost),
    )


def _target(target: Target) -> str:
    return f"{target.kind} {target.address}".strip()
