"""Wires the road, once per process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider

from somatrace import carry, instruments, names, say
from somatrace.config import Config, Settings, Target
from somatrace.delivery.ledger import Ledger
from somatrace.delivery.outbox import Outbox
from somatrace.guard import Guard
from somatrace.guard.granting import Grants
from somatrace.health import Status
from somatrace.instruments.coverage import Coverage
from somatrace.record import Listener
from somatrace.road.adopt import adopt
from somatrace.road.copies import Copier
from somatrace.road.provider import SomatraceProvider
from somatrace.road.resource import resource_of
from somatrace.road.sampling import sampler_of
from somatrace.road.wall import Wall
from somatrace.road.worker import Road
from somatrace.tracing.content import allows_content, grants_of, pseudonyms_of
from somatrace.tracing.reporting import reports_of
from somatrace.tracing.transports import load, renewer, transport_of


@dataclass
class Wiring:
    """What one `init_tracing` made."""

    settings: Settings
    coverage: Coverage
    ledger: Ledger
    road: Road | None = None
    wall: Wall | None = None
    grants: Grants | None = None
    unprotected: list[str] = field(default_factory=list)

    @property
    def policy_problems(self) -> tuple[str, ...]:
        """What is wrong with the content policy now."""
        return self.grants.problems if self.grants is not None else ()

    def load(self) -> None:
        """Import what sends, when spans wait for it."""
        if self.ledger.waiting:
            load(self.settings.target)

    def status(self) -> Status:
        """How tracing stands now, without I/O."""
        settings, ledger, road = self.settings, self.ledger, self.road
        spans, size = road.depth if road is not None else (0, 0)
        outbox = road.outbox if road is not None else None
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
            success_rate=ledger.success_rate,
            latency_p50=ledger.latency(0.5),
            latency_p95=ledger.latency(0.95),
            throughput=ledger.throughput,
            kept_share=road.budget.share if road is not None else 1.0,
            unknown_tenant=ledger.unknown_tenant,
            resent_ambiguous=ledger.resent_ambiguous,
            guard_faults=ledger.guard_faults,
            unheard=ledger.unheard,
            ignored=carry.ignored(),
            last_error=ledger.last_error,
            problems=(*map(str, settings.problems), *self.coverage.problems, *self.policy_problems),
            instruments=self.coverage.states,
            unprotected=tuple(self.unprotected),
        )


def wire(
    settings: Settings,
    config: Config | None,
    listeners: Sequence[Listener],
    *,
    start: Callable[[], object],
    flush: Callable[[float], object],
    shutdown: Callable[[float], object],
) -> Wiring:
    """Build the road and put it behind the process's tracer provider. No network, no thread yet.

    `start` traces a child process as this one is, and pickles; `flush` and `shutdown` take seconds
    and are called where a process ends.
    """
    wiring = Wiring(settings, Coverage(), Ledger())
    carry.configure(settings)
    if not settings.enabled:
        return wiring
    transport, problem = transport_of(settings)
    if problem:
        wiring.coverage.problem(problem)
    outbox = None
    if transport is not None:
        outbox = Outbox(
            transport,
            wiring.ledger,
            max_bytes=settings.queue_bytes,
            timeout=settings.target.timeout,
            quick_retries=settings.max_retries,
            renew=renewer(settings.service_name, config, settings),
        )
    resource = resource_of(settings)
    wiring.grants = grants_of(settings)
    copier = Copier(
        Guard(
            lambda: wiring.ledger.count("guard_faults"),
            cut_at=_cut_at(settings),
            resolve=wiring.grants.resolve,
            pseudonym=pseudonyms_of(settings),
        ),
        service_name=settings.service_name,
        default_tenant=settings.default_tenant,
        resource=lambda found: found.merge(resource()),
    )
    wiring.road = Road(
        copier,
        outbox,
        wiring.ledger,
        queue_size=settings.queue_size,
        queue_bytes=settings.queue_bytes,
        batch_size=settings.batch_size,
        linger=settings.flush_interval,
        max_latency_ms=settings.max_latency_ms,
        listeners=listeners,
        reports=reports_of(
            settings, wiring.status, lambda: str(resource().attributes[names.SERVICE_INSTANCE])
        ),
    )
    _provide(wiring, wiring.road, resource())
    say.on_event = wiring.road.happened
    if not wiring.unprotected:  # else what instrumentors record would leave unguarded
        instruments.install(
            wiring.coverage,
            start=start,
            flush=flush,
            shutdown=shutdown,
            content=allows_content(wiring.grants),
        )
    return wiring


def _provide(wiring: Wiring, road: Road, resource: Resource) -> None:
    """Become the process's provider, or wall in the one that is there."""
    settings = wiring.settings

    def build(foreign: tuple[SpanProcessor, ...] = ()) -> Wall:
        wiring.wall = Wall(road, foreign, instruments.exports_elsewhere(settings))
        return wiring.wall

    existing = _existing()
    if existing is None or isinstance(existing, trace.ProxyTracerProvider):
        provider = SomatraceProvider(
            build(), resource, sampler_of(settings.sampler, settings.sample_rate), _limits(settings)
        )
        trace.set_tracer_provider(provider)
        return
    if isinstance(existing, TracerProvider):
        reason = adopt(existing, build)
    else:
        kind = type(existing)
        reason = f"the global tracer provider is {kind.__module__}.{kind.__qualname__}, not the SDK's"
    if reason:
        wiring.unprotected.append(reason)
        wiring.coverage.problem(
            f"tracer provider: {reason}; nothing is exported. Call init_tracing before it is set"
        )


def _existing() -> trace.TracerProvider | None:
    """The process's provider; None where OTEL_PYTHON_TRACER_PROVIDER names one that does not load.

    Until one is set the API would fail to load it again, with a logged traceback, for each span.
    """
    try:
        return trace.get_tracer_provider()
    except Exception:
        return None


def _limits(settings: Settings) -> SpanLimits:
    """The SDK's limits, all of them given: for one that is not, the SDK reads the environment itself."""
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
    """Where texts end before the guard sees them: by the SDK's limits, and by `content`."""
    limits = settings.span_limits.max_attribute_length, settings.span_limits.max_span_attribute_length
    return {say.MAX_CONTENT, *(limit for limit in limits if limit)}


def _target(target: Target) -> str:
    return f"{target.kind} {target.address}".strip()
