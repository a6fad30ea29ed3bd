"""The SDK's span, whose methods raise for no value."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, _Span
from opentelemetry.trace import SpanContext, Status, StatusCode
from opentelemetry.util import types

from somatrace.pipeline.safe_values import EXACT, safe_attributes, safe_text, safe_value
from somatrace.pipeline.span_times_and_kinds import valid_time
from somatrace.runtime.fail_safe import fail_safe, is_suppressed, text_of
from somatrace.runtime.type_names import qualified_type_name, type_name


class SafeSpan(_Span):
    """An SDK span for any value: what cannot be recorded is left out, and the program goes on."""

    def set_attribute(self, key: str, value: types.AnyValue) -> None:
        """Like the SDK's; what is no key is ignored."""
        try:
            if type(key) is str and type(value) in EXACT:
                _Span.set_attribute(self, key, value)
            elif issubclass(type(key), str):
                _Span.set_attribute(self, safe_text(key), safe_value(value))
        except Exception as error:
            if not is_suppressed("set_attribute", error):
                raise

    def set_attributes(self, attributes: Any) -> None:
        """Like the SDK's; what is no mapping is ignored."""
        try:
            _Span.set_attributes(self, safe_attributes(attributes) or {})
        except Exception as error:
            if not is_suppressed("set_attributes", error):
                raise

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        """Like the SDK's."""
        with fail_safe("add_event"):
            super().add_event(safe_text(name), safe_attributes(attributes), valid_time(timestamp))

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        """Like the SDK's; what is no span context is ignored."""
        with fail_safe("add_link"):
            if isinstance(context, SpanContext):
                super().add_link(context, safe_attributes(attributes))

    def update_name(self, name: str) -> None:
        """Like the SDK's."""
        with fail_safe("update_name"):
            super().update_name(safe_text(name))

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Like the SDK's."""
        with fail_safe("set_status"):
            super().set_status(status, None if description is None else safe_text(description))

    def end(self, end_time: int | None = None) -> None:
        """Like the SDK's."""
        try:
            _Span.end(self, valid_time(end_time))
        except Exception as error:
            if not is_suppressed("end", error):
                raise

    def _readable_span(self) -> ReadableSpan:
        """The span itself: what the SDK passes to `on_end` here needs no copy, since nothing reads it."""
        return self

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Like the SDK's; an exception without a text has an event with its type."""
        given = safe_attributes(attributes) or {}
        with fail_safe("record_exception"):
            super().record_exception(exception, given, timestamp, escaped)
            return
        self.add_event("exception", {"exception.type": qualified_type_name(exception), **given}, timestamp)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record the block's exception like the SDK does, and end the span."""
        if error is not None and self.is_recording():
            if self._record_exception:
                self.record_exception(error, escaped=True)
            if self._set_status_on_exception:
                self.set_status(StatusCode.ERROR, described(error))
        self.end()


def described(error: BaseException) -> str:
    """The status description of an exception: its type and text."""
    return f"{type_name(error)}: {text_of(error)}"
