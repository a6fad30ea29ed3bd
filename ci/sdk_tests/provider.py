"""Our provider with the whole pipeline behind it, and with the constructor of the SDK's provider."""

from __future__ import annotations

import atexit
import weakref
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanLimits, sampling

from somatrace.context.span_state import SpanState
from somatrace.delivery.ledger import Ledger
from somatrace.guard import Guard
from somatrace.guard.policy.model import Grant
from somatrace.pipeline.guarded_copy import SpanCopier
from somatrace.pipeline.pipeline import Pipeline
from somatrace.pipeline.provider import SomatraceProvider
from somatrace.pipeline.span_processor import GuardingSpanProcessor

#: Seconds; only ends a hang.
_LIMIT = 30.0
#: The pipelines of the running test.
_OPEN: weakref.WeakSet[WaitingPipeline] = weakref.WeakSet()


class WaitingPipeline(Pipeline):
    """A pipeline that has shown an ended span to every processor when `end` returns.

    The SDK calls `on_end` on the thread that ends the span, and its tests rely on that.
    """

    def ended(self, span: Span, state: SpanState | None) -> None:
        super().ended(span, state)
        self._worker.flush(_LIMIT)
        self.third_party._worker.flush(_LIMIT)


def close_pipelines() -> None:
    """End the threads of all pipelines."""
    for pipeline in list(_OPEN):
        pipeline.close(_LIMIT)
        _OPEN.discard(pipeline)


class SdkArguments(SomatraceProvider):
    """Takes the SDK's arguments. Everything may leave, so that the tests find what they have set."""

    def __init__(  # noqa: PLR0917 - the signature of the SDK
        self,
        sampler: sampling.Sampler | None = None,
        resource: Resource | None = None,
        shutdown_on_exit: bool = True,
        active_span_processor: Any = None,
        id_generator: Any = None,
        span_limits: SpanLimits | None = None,
        *,
        meter_provider: Any = None,
        _tracer_configurator: Any = None,
    ) -> None:
        pipeline = WaitingPipeline(
            SpanCopier(
                Guard(resolve=lambda _: Grant("full")),
                service_name="sdk-tests",
                default_tenant="unknown",
                resource=lambda own: own,
            ),
            None,
            Ledger(),
            queue_size=4096,
            queue_bytes=1 << 30,
            batch_size=512,
            linger=0.0,
        )
        _OPEN.add(pipeline)
        super().__init__(
            GuardingSpanProcessor(
                pipeline, () if active_span_processor is None else (active_span_processor,)
            ),
            Resource.create({}) if resource is None else resource,
            sampler or sampling._get_from_env_or_default(),
            span_limits or SpanLimits(),
        )
        if id_generator is not None:
            self.id_generator = id_generator
        self._meter_provider = meter_provider
        if _tracer_configurator is not None:
            self._tracer_configurator = _tracer_configurator
        if shutdown_on_exit:
            self._atexit_handler = atexit.register(self.shutdown)
