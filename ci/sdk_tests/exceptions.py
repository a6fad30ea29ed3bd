"""Tests of the SDK that fail with our provider, each with the reason why it has to.

One that passes is an error, and so is one that neither supported release has. A test with a parameter is
listed without it.
"""

from __future__ import annotations

from typing import Final

_GUARDED_VIEW = "a processor is passed a guarded view of the starting span, not the span itself"

EXCEPTIONS: Final = {
    "TestBatchSpanProcessor::test_on_start_accepts_parent_context": _GUARDED_VIEW,
    "TestSimpleSpanProcessor::test_on_start_accepts_context": _GUARDED_VIEW,
    "TestSpan::test_invalid_attribute_values": (
        "a value without a text is recorded as the name of its type, without a warning in the program's log"
    ),
    "TestSpan::test_start_span": (
        "`start` and `end` raise nothing into the program, not even for a span that was never started"
    ),
    "TestSpanCreation::test_invalid_instrumentation_info": (
        "a tracer without a name is no error of the program that runs, and nothing is logged"
    ),
    "TestTracer::test_get_tracer_with_sdk_disabled": (
        "`init_tracing` reads OTEL_SDK_DISABLED, together with SOMATRACE_ENABLED, and then sets no provider"
    ),
    "TestTracer::test_tracer_provider_accepts_concurrent_multi_span_processor": (
        "the guarding processor is a provider's only one; those of a program are called behind it"
    ),
    "TestTracerProvider::test_tracer_provider_init_default": (
        "ids come from a private generator, which a seed that the program sets does not affect"
    ),
}
