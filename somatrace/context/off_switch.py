"""Whether tracing is off for the whole process, so that blocks have nothing to record."""

from __future__ import annotations

from typing import Final

from opentelemetry import trace


class OffSwitch:
    """Set once, by `init_tracing` of a program whose settings turn tracing off."""

    __slots__ = ("is_set",)

    def __init__(self) -> None:
        self.is_set = False


switch: Final = OffSwitch()


def turn_off() -> None:
    """Let blocks and annotations do nothing from now on, unless the program has a tracer provider."""
    # the name of OpenTelemetry's field is not public; without it, everything takes the usual way
    switch.is_set = hasattr(trace, "_TRACER_PROVIDER") and isinstance(_provider(), trace.ProxyTracerProvider)


def is_off() -> bool:
    """Whether tracing is off. A provider that the program sets later gets the spans of its blocks."""
    return switch.is_set and trace._TRACER_PROVIDER is None


def _provider() -> object:
    """The provider of the process, also one that the environment names."""
    try:
        return trace.get_tracer_provider()
    except Exception:
        return None
