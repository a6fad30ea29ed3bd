"""The tracing systems, each set up as its documentation says, with the environment it is started in."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace

TENANTS = ("acme", "globex", "initech")


def _no_tenant(_: int) -> AbstractContextManager[Any]:
    return contextlib.nullcontext()


@dataclass
class System:
    """`flush` returns when every ended span was sent; `delivered` counts those that a backend has accepted,
    None where only the backend can tell."""

    tracer: trace.Tracer
    flush: Callable[[], object]
    tenant: Callable[[int], AbstractContextManager[Any]] = _no_tenant
    delivered: Callable[[], int | None] = lambda: None
    block: Callable[[str], AbstractContextManager[Any]] | None = None
    #: Of the spans of model calls, if it is not the one above.
    client: trace.Tracer | None = None


def none(**_: Any) -> System:
    return System(trace.get_tracer("bench"), lambda: True)


def sdk(**_: Any) -> System:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(compression=Compression.Gzip)))
    trace.set_tracer_provider(provider)
    return System(trace.get_tracer("bench"), lambda: provider.force_flush(120_000))


def traceloop(**_: Any) -> System:
    from traceloop.sdk import Traceloop

    # without its instrumentors: the spans are the program's own
    Traceloop.init("bench", telemetry_enabled=False, instruments=set())
    provider: Any = trace.get_tracer_provider()
    return System(trace.get_tracer("bench"), provider.force_flush)


def langfuse(**_: Any) -> System:
    from langfuse import Langfuse

    # by default it sends spans of known LLM libraries only
    client = Langfuse(should_export_span=lambda _: True)
    return System(trace.get_tracer("bench"), client.flush)


def logfire(*, sink: str, **_: Any) -> System:
    import logfire as module

    module.configure(
        token="pylf_v1_local_bench",  # noqa: S106, no key: the sink takes any
        service_name="bench",
        console=False,
        metrics=False,
        inspect_arguments=False,
        scrubbing=None,
        advanced=module.AdvancedOptions(base_url=sink),
    )
    return System(trace.get_tracer("bench"), lambda: module.force_flush(120_000))


def ours(*, content: bool = False, extra: str = "", **_: Any) -> System:
    from somatrace import Config, bind, flush, init_tracing, span, status

    policy = None
    if content:
        until = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
        entry = {"content": "redacted", "until": until.isoformat(), "reason": "benchmark"}
        policy = {"tenants": dict.fromkeys(TENANTS, entry)}
    listeners = [_listen] if extra in ("listener", "unsampled") else []
    init_tracing("bench", config=Config(content_policy=policy), listeners=listeners)
    if extra == "processor":
        from opentelemetry.sdk.trace import SpanProcessor

        class Idle(SpanProcessor):
            """A processor that does nothing."""

        provider: Any = trace.get_tracer_provider()
        provider.add_span_processor(Idle())
    return System(
        trace.get_tracer("bench"),
        lambda: flush(120),
        lambda number: bind(
            tenant_id=TENANTS[number % 3], workflow_name="answer", request_id=f"request-{number}"
        ),
        lambda: status().delivered,
        span,
        trace.get_tracer("opentelemetry.instrumentation.openai.v1") if extra == "unsampled" else None,
    )


def _listen(_: object) -> None:
    """Do nothing with a record."""


SYSTEMS: dict[str, Callable[..., System]] = {
    "none": none,
    "sdk": sdk,
    "traceloop": traceloop,
    "langfuse": langfuse,
    "logfire": logfire,
    "ours": ours,
}
