"""The configured head sampler (values of OTEL_TRACES_SAMPLER)."""

from __future__ import annotations

from opentelemetry.sdk.trace import sampling


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
