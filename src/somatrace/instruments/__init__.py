"""Instrumentation of the libraries a program uses, switched on when it imports them."""

from __future__ import annotations

from somatrace.config import Settings
from somatrace.instruments import openllmetry, traceloop
from somatrace.instruments.coverage import Coverage
from somatrace.instruments.exporters import exports_elsewhere

__all__ = ["exports_elsewhere", "install"]


def install(settings: Settings, coverage: Coverage) -> None:  # noqa: ARG001 - what each library needs of them
    """Wait for the imports of what we know how to instrument. Imports none of it."""
    openllmetry.install(coverage)
    traceloop.install(coverage)
