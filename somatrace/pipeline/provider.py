"""TracerProvider without the SDK's side effects on the host program."""

from __future__ import annotations

import inspect
import threading
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, Tracer, TracerProvider
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationInfo, InstrumentationScope
from opentelemetry.trace import NoOpTracer
from opentelemetry.trace import Tracer as ApiTracer
from opentelemetry.util.types import Attributes

from somatrace.pipeline.heard_sampler import HeardSampler
from somatrace.pipeline.id_generator import PrivateIdGenerator
from somatrace.pipeline.lean_tracer import LeanTracer
from somatrace.pipeline.sdk_form import is_known
from somatrace.pipeline.span_processor import GuardingSpanProcessor
from somatrace.pipeline.tracer import SomatraceTracer

_TRACER_ARGUMENTS: Final = frozenset(inspect.signature(Tracer.__init__).parameters)


class SomatraceProvider(TracerProvider):
    """A TracerProvider with `GuardingSpanProcessor` as its only processor, which does not touch `random`,
    `warnings` or `atexit`."""

    def __init__(
        self, span_processor: GuardingSpanProcessor, resource: Resource, sampler: Sampler, limits: SpanLimits
    ) -> None:
        super().__init__(
            sampler=sampler,
            resource=resource,
            shutdown_on_exit=False,  # tracing.shutdown has a time limit; the SDK's own handler has none
            active_span_processor=span_processor,
            id_generator=PrivateIdGenerator(),
            span_limits=limits,
        )
        #: Whether its spans are lean. Otherwise they are the SDK's, which cost more.
        self.is_lean = is_known()
        self._disabled = False  # the settings have decided whether tracing is on, not OTEL_SDK_DISABLED alone

    def _handle_fork(self) -> None:
        """Replace only the lock in a forked child; the pipeline creates the child's resource itself.

        The SDK's version runs resource detectors on a thread pool inside `os.fork`, in the child. That
        hangs if the pool's module was imported after the provider was created (its lock is held while
        forking)."""
        self._tracers_lock = threading.Lock()

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> ApiTracer:
        """Like the SDK's, without adding a filter to the program's global `warnings` list on each call."""
        if self._disabled:
            return NoOpTracer()
        name, version = instrumenting_module_name or "", instrumenting_library_version or ""
        scope = InstrumentationScope(name, version, schema_url, attributes)
        with self._tracers_lock:
            found = self._tracers.get(scope)
            if found is None:
                found = self._tracers[scope] = self._make_tracer(scope)
        return found

    def _make_tracer(self, scope: InstrumentationScope) -> Tracer:
        """Create a tracer with the optional arguments of the installed SDK version."""
        optional: dict[str, Any] = {}
        if "meter_provider" in _TRACER_ARGUMENTS:
            optional["meter_provider"] = getattr(self, "_meter_provider", None)
        if "_tracer_config" in _TRACER_ARGUMENTS and hasattr(self, "_apply_tracer_configurator"):
            optional["_tracer_config"] = self._apply_tracer_configurator(scope)
        processor: Any = self._active_span_processor
        tracer: type[SomatraceTracer] = LeanTracer if self.is_lean else SomatraceTracer
        return tracer(
            self.sampler if self.is_lean else HeardSampler(self.sampler, processor, scope),
            self.resource,
            processor,
            self.id_generator,
            _quiet_info(scope),
            self._span_limits,
            scope,
            **optional,
        )


def _quiet_info(scope: InstrumentationScope) -> InstrumentationInfo:
    """The deprecated equivalent of the scope, created without its constructor's warning."""
    info = InstrumentationInfo.__new__(InstrumentationInfo)
    info._name, info._version, info._schema_url = scope.name, scope.version or "", scope.schema_url or ""
    return info
