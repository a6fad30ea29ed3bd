"""Whether the installed SDK is made as the lean spans know it."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, Tracer, _Span
from opentelemetry.sdk.trace.sampling import DEFAULT_ON
from opentelemetry.trace import SpanContext

# fmt: off
_ON_A_SPAN: Final = frozenset({
    "_attributes", "_context", "_end_time", "_events", "_instrumentation_info", "_instrumentation_scope",
    "_kind", "_limits", "_links", "_lock", "_name", "_parent", "_record_end_metrics", "_record_exception",
    "_resource", "_sampler", "_set_status_on_exception", "_span_processor", "_start_time", "_status",
    "_trace_config",
})
_ON_ATTRIBUTES: Final = frozenset({"_dict", "_immutable", "_lock", "dropped", "max_value_len", "maxlen"})
_ON_A_TRACER: Final = frozenset({
    "_instrumentation_scope", "_span_limits", "_tracer_config", "_tracer_metrics", "id_generator",
    "instrumentation_info", "resource", "sampler", "span_processor",
})
_OF_START: Final = frozenset({
    "self", "name", "context", "kind", "attributes", "links", "start_time", "record_exception",
    "set_status_on_exception",
})
# fmt: on


@functools.cache
def is_known() -> bool:
    """Whether the SDK keeps on a span, a tracer and a mapping of attributes what lean spans know."""
    try:
        span = _Span("", SpanContext(1, 1, is_remote=False), resource=Resource({}), limits=SpanLimits())
        tracer: Any = Tracer(DEFAULT_ON, span.resource, None, None, None, SpanLimits(), None)  # type: ignore[arg-type]
        return (
            {*vars(tracer)} == _ON_A_TRACER
            and {*vars(span)} <= _ON_A_SPAN
            and {*vars(span._attributes)} <= _ON_ATTRIBUTES
            and {*inspect.signature(Tracer.start_span).parameters} == _OF_START
            and tuple(span.context) == (1, 1, False, 0, {}, True)
        )
    except Exception:
        return False
