"""The SDK's span, with checked times, and notes on the exceptions recorded on it or handled around it."""

from __future__ import annotations

import time

from opentelemetry.sdk.trace import Span, _Span
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util import types

from somatrace.context.failure_notes import note_event, note_failure, note_status
from somatrace.pipeline.control_flow_status import is_overruled, note_outcome
from somatrace.pipeline.safe_span import SafeSpan
from somatrace.pipeline.safe_values import safe_attributes
from somatrace.pipeline.span_times_and_kinds import valid_time
from somatrace.runtime.fail_safe import fail_safe


class RecordingSpan(SafeSpan):
    """An SDK span that notes where a recorded exception was raised, and in which tenant's work."""

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record an exception like the SDK does, except for one that is control flow."""
        noted: dict[str, int] = {}
        with fail_safe("failure"):
            if note_outcome(self, exception):
                return
            noted = note_failure(self, exception)
        given = {**(safe_attributes(attributes) or {}), **noted}
        super().record_exception(exception, given, timestamp, escaped)

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        """Add an event like the SDK does."""
        given = safe_attributes(attributes)
        noted = note_event(self, given)
        super().add_event(name, {**(given or {}), **noted} if noted else given, timestamp)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status like the SDK does, except for a status that is overruled."""
        with fail_safe("set_status"):
            if is_overruled(self, status, description):
                return
            note_status(self)
        super().set_status(status, description)


def make_recording(span: Span) -> None:
    """Make a starting span a `RecordingSpan`. A span of a program's own class stays as it is."""
    if type(span) is _Span:
        span.__class__ = RecordingSpan
        started = valid_time(span._start_time)
        span._start_time = time.time_ns() if started is None else started
