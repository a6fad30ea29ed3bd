"""Check the times and kinds that code gives for spans: the SDK takes a value of any type, also a text."""

from __future__ import annotations

import logging
from typing import Any

from opentelemetry.trace import SpanKind

from somatrace.runtime.type_names import type_name

log = logging.getLogger("somatrace")

#: Times from here on do not fit into the local store, or into OTLP for some of them: the year 2262.
_TOO_LATE = 2**63


def valid_time(value: Any) -> int | None:
    """A time in nanoseconds since 1970 as a plain number; None for anything else."""
    if value is None:
        return None
    kind = type(value)
    if kind is int or (issubclass(kind, int) and kind is not bool):
        number = int.__int__(value)
        if 0 <= number < _TOO_LATE:
            return number
    log.debug("a time of a span or event was dropped: %s is not a time in nanoseconds", type_name(value))
    return None


def valid_kind(value: Any) -> SpanKind:
    """OpenTelemetry's kind of a span; internal in place of anything else."""
    return value if type(value) is SpanKind else SpanKind.INTERNAL
