"""The attributes of a lean span as the mapping of the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes

if TYPE_CHECKING:
    from somatrace.pipeline.lean_span import LeanSpan


class LeanAttributes(BoundedAttributes):
    """A lean span's attributes as the mapping of the SDK, which keeps the limits. Made when it is read."""

    def __init__(self, span: LeanSpan) -> None:
        self._span = span
        self._dict = span.values
        self._lock = span._lock
        self._immutable = span._end_time is not None
        self.maxlen = span._limits.max_span_attributes
        self.max_value_len = span._limits.max_span_attribute_length

    @property
    def dropped(self) -> int:
        return self._span._dropped

    @dropped.setter
    def dropped(self, number: int) -> None:
        self._span._dropped = number

    def __reduce__(self) -> Any:
        return dict, (self._dict.copy(),)
