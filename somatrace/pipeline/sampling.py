"""The head sampler the settings name (OTEL_TRACES_SAMPLER's values)."""

from __future__ import annotations

from opentelemetry.sdk.trace import sampling


def sampler_of(name: str, rate: float) -> sampling.Sampler:
    """One of the specification's six; `rate` is the share of traces kept by the ratio ones, 0 to 1."""
    root = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "traceidratio": sampling.TraceIdRatioBased(rate),
    }[name.removeprefix("parentbased_")]
    return sampling.ParentBased(root) if name.startswith("parentbased_") else root
