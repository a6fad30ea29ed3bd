"""The SDK's span, with the place of each exception that is recorded on it."""

from __future__ import annotations

from opentelemetry.sdk.trace import Span, _Span
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util import types

from somatrace.context.span_state import note_failure
from somatrace.pipeline.control_flow_status import note_outcome, restates_outcome


class RecordingSpan(_Span):
    """An SDK span that notes where a recorded exception was raised.

    The event itself has only texts, from which the place cannot be told reliably: an exception's message can
    contain anything, also what looks like frames.
    """

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record an exception like the SDK does, except for one that is control flow."""
        if note_outcome(self, exception):
            return
        noted = note_failure(self, exception)
        super().record_exception(exception, {**(attributes or {}), **noted}, timestamp, escaped)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status like the SDK does, except to the error of an exception that is control flow."""
        if not restates_outcome(self, status, description):
            super().set_status(status, description)


def record_places(span: Span) -> None:
    """Make `span` note the places of exceptions. A span of a program's own class stays as it is."""
    if type(span) is _Span:
        span.__class__ = RecordingSpan
