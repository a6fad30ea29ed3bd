"""The SDK's span, with the place of each exception that is recorded on it."""

from __future__ import annotations

from opentelemetry.sdk.trace import Span, _Span
from opentelemetry.util import types

from somatrace.context.span_state import note_failure
from somatrace.pipeline.safe_span import SafeSpan
from somatrace.pipeline.safe_values import safe_attributes
from somatrace.runtime.fail_safe import fail_safe


class RecordingSpan(SafeSpan):
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
        """Record an exception like the SDK does."""
        noted: dict[str, int] = {}
        with fail_safe("failure"):
            noted = note_failure(self, exception)
        super().record_exception(
            exception, {**(safe_attributes(attributes) or {}), **noted}, timestamp, escaped
        )


def record_places(span: Span) -> None:
    """Make `span` note the places of exceptions. A span of a program's own class stays as it is."""
    if type(span) is _Span:
        span.__class__ = RecordingSpan
