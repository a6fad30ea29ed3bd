"""The configured head sampler (values of OTEL_TRACES_SAMPLER), and rules by tenant and workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.trace import sampling

from somatrace import semconv
from somatrace.config.sample_rules import SampleRule, rules_of
from somatrace.context.span_state import SpanState

#: Pairs of a tenant and a workflow whose rule is remembered.
_KNOWN: Final = 4096
#: What the ratio samplers of the SDK compare with their rate.
_LOWER_HALF: Final = (1 << 64) - 1
_NOTHING: Final = -1


def sampler_of(name: str, rate: float) -> sampling.Sampler:
    """One of the six samplers of the specification; ratio samplers keep `rate` of the traces, 0 to 1."""
    root = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "traceidratio": sampling.TraceIdRatioBased(rate),
    }[name.removeprefix("parentbased_")]
    if name == "parentbased_always_on":
        return sampling.DEFAULT_ON  # which `LeanTracer` recognizes
    return sampling.ParentBased(root) if name.startswith("parentbased_") else root


def rule_sampler_of(rules: tuple[str, ...], default_tenant: str) -> RuleSampler | None:
    """The sampler for the rules of the settings, if there are any."""
    return RuleSampler(rules_of(rules), default_tenant) if rules else None


class RuleSampler:
    """Decides by rules, when a span ends, whether it is sent. Thread-safe.

    A sampler decides when a trace starts, mostly before its tenant is known. The decision follows the trace
    id as that of a ratio sampler: services with the same rules keep the same traces.
    """

    def __init__(self, rules: Sequence[SampleRule], default_tenant: str) -> None:
        self._rules = tuple(rules)
        self._default_tenant = default_tenant
        #: Trace ids below are kept, by tenant and workflow; `_NOTHING` if not even failures are.
        self._bounds: dict[tuple[str, str], int] = {}

    def keeps(self, trace_id: int, state: SpanState, *, failed: bool) -> bool:
        """Whether a span is kept, by the tenant and the workflow that it shows."""
        tags = state.shown
        tenant = semconv.UNKNOWN_TENANT if tags.names_tenant else self._default_tenant
        names = tags.tenant or tenant, _workflow_of(state)
        bound = self._bounds.get(names)
        if bound is None:
            if len(self._bounds) >= _KNOWN:
                self._bounds.clear()
            bound = self._bounds[names] = self._bound(*names)
        return bound != _NOTHING and (failed or trace_id & _LOWER_HALF < bound)

    def _bound(self, tenant: str, workflow: str) -> int:
        rate = next((rule.rate for rule in self._rules if rule.matches(tenant, workflow)), 1.0)
        return _NOTHING if rate is None else sampling.TraceIdRatioBased.get_bound_for_rate(rate)


def _workflow_of(state: SpanState) -> str:
    """The workflow bound around a span, or else the one that names its trace, or its local root's name."""
    for tags in (state.shown, state.trace_workflow):
        if tags is not None and (bound := tags.get(semconv.WORKFLOW)) is not None:
            return str(bound)
    naming = state.root.naming
    return "" if naming is None else naming.name
