"""The SDK's span, with notes on the exceptions that are recorded on it or handled around it."""

from __future__ import annotations

from opentelemetry.sdk.trace import Span, _Span
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util import types

from somatrace.context.failure_notes import note_event, note_failure, note_status


class RecordingSpan(_Span):
    """An SDK span that notes where a recorded exception was raised, and in which tenant's work."""

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record an exception like the SDK does."""
        noted = note_failure(self, exception)
        super().record_exception(exception, {**(attributes or {}), **noted}, timestamp, escaped)

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        """Add an event like the SDK does."""
        noted = note_event(self, attributes)
        super().add_event(name, {**(attributes or {}), **noted} if noted else attributes, timestamp)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status like the SDK does."""
        note_status(self)
        super().set_status(status, description)


def note_exceptions(span: Span) -> None:
    """Make `span` note exceptions. A span of a program's own class stays as it is."""
    if type(span) is _Span:
        span.__class__ = RecordingSpan
