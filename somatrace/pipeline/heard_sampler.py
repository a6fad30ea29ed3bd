"""What is recorded although it is not sampled: listeners count the usage of every model call."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from somatrace.pipeline.billed_request import may_carry_usage
from somatrace.pipeline.span_processor import GuardingSpanProcessor


def is_heard(processor: GuardingSpanProcessor, scope: InstrumentationScope, attributes: Attributes) -> bool:
    """Whether a span that is not sampled is recorded."""
    return processor.has_listeners and may_carry_usage(getattr(scope, "name", ""), attributes or {})


class HeardSampler(sampling.Sampler):
    """A sampler for the SDK's tracer, which has spans recorded that listeners are to hear."""

    def __init__(
        self, sampler: sampling.Sampler, processor: GuardingSpanProcessor, scope: InstrumentationScope
    ) -> None:
        self._sampler = sampler
        self._processor = processor
        self._scope = scope

    def should_sample(  # noqa: PLR0917 - the signature of the SDK
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> sampling.SamplingResult:
        """The decision of the sampler, or that the span is recorded only."""
        result = self._sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )
        if result.decision is not sampling.Decision.DROP:
            return result
        if not is_heard(self._processor, self._scope, attributes):
            return result
        return sampling.SamplingResult(sampling.Decision.RECORD_ONLY, attributes, result.trace_state)

    def get_description(self) -> str:
        """That of the sampler."""
        return self._sampler.get_description()
