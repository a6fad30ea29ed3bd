"""A span for a fraction of the cost of the SDK's: its attributes are a plain dict, and it takes no lock.

What few spans have (events, links, what the SDK keeps for itself) is made when it is asked for. All rules are
those of the SDK's span: what is not plain goes through the SDK's own code. `sdk_form` tells whether the
installed SDK is made as this module knows it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.trace import SpanContext, SpanKind
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util import types

from somatrace.context.failure_notes import note_status
from somatrace.context.span_state import SpanState
from somatrace.pipeline.control_flow_status import is_overruled
from somatrace.pipeline.lean_attributes import LeanAttributes
from somatrace.pipeline.recording_span import RecordingSpan
from somatrace.pipeline.safe_values import EXACT, safe_attributes, safe_text
from somatrace.pipeline.span_times_and_kinds import valid_time
from somatrace.runtime.fail_safe import fail_safe, is_suppressed
from somatrace.semconv import ShortTexts

if TYPE_CHECKING:
    from somatrace.pipeline.lean_tracer import LeanTracer

#: The SDK's own: a program that filters its warnings filters these too.
log: Final = logging.getLogger("opentelemetry.sdk.trace")
#: Texts that are longer count for the size of a span in the queue, each by its length.
SHORT: Final = 128
_SMALL: Final = EXACT - {str, bytes}
#: Attributes that are set one by one, which is faster if they are plain.
_FEW: Final = 64
_UNSET: Final = Status(StatusCode.UNSET)


class LeanSpan(RecordingSpan):
    """One recorded span of a `LeanTracer`, which makes it and gives it its state."""

    _end_time: int | None = None
    _status: Status = _UNSET
    _record_exception = True
    _set_status_on_exception = True
    _trace_config = None
    _record_end_metrics: Callable[[], None] | None = None
    #: Attributes that the limits have dropped.
    _dropped = 0
    #: Characters in texts that are not short, for the size of the span in the queue.
    texts_size = 0
    #: The SDK's list of events, None until the first one.
    made_events: Any = None
    #: Its list of links.
    made_links: Any = None
    #: The attributes. After the end they no longer change.
    values: dict[str, Any]
    _tracer: LeanTracer
    _somatrace_state: SpanState

    # -- attributes ---------------------------------------------------------------------------------

    def set_attribute(self, key: str, value: Any) -> None:
        """Like the SDK's; what is no key is ignored."""
        kind, tracer = type(value), self._tracer
        if (
            (
                (len(value) <= tracer.short_text)
                if kind is str
                else kind in _SMALL
                or (
                    kind is tuple
                    and len(value) == 1
                    and type(value[0]) is str
                    and len(value[0]) <= tracer.short_text
                )
            )
            and type(key) is str
            and key
            and self._end_time is None
        ):
            values = self.values
            try:
                if key in values:
                    del values[key]  # one that is set again comes last
                if len(values) < tracer.most_attributes:
                    values[key] = value
                    return
            except KeyError:  # another thread sets it at the same time
                pass
        if issubclass(type(key), str):
            self._set_attributes({safe_text(key): value})

    def set_attributes(self, attributes: Any) -> None:
        """Like the SDK's; what is no mapping is ignored."""
        if type(attributes) is ShortTexts and not self.values and self._tracer.takes_short_texts:
            self.values = attributes.copy()  # of `span`, which sets them once, at the start
            return
        if type(attributes) is dict and len(attributes) <= _FEW and self._end_time is None:
            values, longest, room = self.values, self._tracer.short_text, self._tracer.most_attributes
            try:
                for key, value in attributes.items():
                    if (
                        type(value) is str
                        and len(value) <= longest
                        and type(key) is str
                        and key
                        and key not in values
                        and len(values) < room
                    ):
                        values[key] = value  # most of them
                    else:
                        self.set_attribute(key, value)
                return
            except RuntimeError:  # another thread changes it
                pass
        self._set_attributes(attributes)

    def _set_attributes(self, attributes: Any) -> None:
        """Set attributes of any kind."""
        try:
            if self._end_time is not None:
                log.warning("Setting attribute on ended span.")
                return
            given = safe_attributes(attributes)
            if given:
                held = self._attributes
                for key, value in given.items():
                    held[key] = value
                self.texts_size += size_of(given)
        except Exception as error:
            if not is_suppressed("set_attributes", error):
                raise

    @property
    def _attributes(self) -> Any:
        return LeanAttributes(self)

    @_attributes.setter
    def _attributes(self, attributes: Mapping[str, Any] | None) -> None:
        self.values = {safe_text(key): value for key, value in (attributes or {}).items()}

    @property
    def attributes(self) -> types.Attributes:
        return MappingProxyType(self.values)

    @property
    def dropped_attributes(self) -> int:
        return self._dropped

    # -- events, links, name, status ------------------------------------------------------------------

    @property
    def _events(self) -> Any:
        if self.made_events is None:
            with self._lock:
                if self.made_events is None:
                    self.made_events = self._new_events()  # type: ignore[no-untyped-call]
        return self.made_events

    @_events.setter
    def _events(self, events: Any) -> None:
        self.made_events = events

    @property
    def _links(self) -> Any:
        if self.made_links is None:
            with self._lock:
                if self.made_links is None:
                    self.made_links = self._new_links(())
        return self.made_links

    @_links.setter
    def _links(self, links: Any) -> None:
        self.made_links = links

    def _add_event(self, event: Any) -> None:
        if self._end_time is None:
            self._events.append(event)
        else:
            log.warning("Tried calling %s on an ended span.", "_add_event")

    def _add_link(self, link: Any) -> None:
        if self._end_time is None:
            self._links.append(link)
        else:
            log.warning("Tried calling %s on an ended span.", "_add_link")

    def update_name(self, name: str) -> None:
        """Like the SDK's."""
        if self._end_time is None:
            with fail_safe("update_name"):
                self._name = safe_text(name)
        else:
            log.warning("Tried calling %s on an ended span.", "update_name")

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Like the SDK's, except for a status that is overruled."""
        with fail_safe("set_status"):
            if is_overruled(self, status, description):
                return
            note_status(self)
            if self._end_time is not None:
                log.warning("Tried calling %s on an ended span.", "set_status")
                return
            code = status.status_code if isinstance(status, Status) else status
            if self._status.status_code is StatusCode.OK or code is StatusCode.UNSET:
                return
            if isinstance(status, Status):
                if description is not None:
                    log.warning(
                        "Description %s ignored: the status has one of its own", safe_text(description)
                    )
                self._status = status
            elif isinstance(status, StatusCode):
                self._status = Status(status, None if description is None else safe_text(description))

    # -- the end ----------------------------------------------------------------------------------------

    def end(self, end_time: int | None = None) -> None:
        """Like the SDK's."""
        try:
            now = None if end_time is None else valid_time(end_time)
            if now is None:
                now = time.time_ns()
            # no other thread runs between this question and the answer: there is no call, and no loop
            if self._end_time is not None:
                log.warning("Calling end() on an ended span.")
                return
            self._end_time = now
            if self._record_end_metrics is not None:
                self._record_end_metrics()
            self._tracer.span_processor.ended(self)
        except Exception as error:
            if not is_suppressed("end", error):
                raise

    def settle(self) -> None:
        """Take the attributes as they are, after the end: a thread that was setting one writes to the earlier
        dict, which nobody reads."""
        self.values = self.values.copy()

    # -- what the SDK keeps in fields, and the tracer knows --------------------------------------------

    @property
    def _lock(self) -> Any:  # type: ignore[override]
        found: Any = self.__dict__.setdefault("_made_lock", threading.RLock())
        return found

    @property
    def _limits(self) -> SpanLimits:
        return self._tracer._span_limits

    @property
    def _span_processor(self) -> Any:  # type: ignore[override]
        return self._tracer.span_processor

    @property
    def _sampler(self) -> Any:  # type: ignore[override]
        return self._tracer.sampler

    @property
    def _instrumentation_info(self) -> Any:  # type: ignore[override]
        return self._tracer.instrumentation_info


def new_span(  # noqa: PLR0917 - a call with names takes longer
    name: str,
    context: SpanContext,
    parent: SpanContext | None,
    kind: SpanKind,
    start_time: int,
    tracer: LeanTracer,
) -> LeanSpan:
    """A span without attributes. The SDK's constructor would make what few spans need."""
    span = object.__new__(LeanSpan)
    span._name = name
    span._context = context
    span._parent = parent
    span._kind = kind
    span._start_time = start_time
    span._tracer = tracer
    span._resource = tracer.resource
    span._instrumentation_scope = tracer._instrumentation_scope
    span.values = {}
    return span


def size_of(attributes: Mapping[str, Any]) -> int:
    """The characters in attribute values that are not short texts or numbers."""
    size = 0
    for value in attributes.values():
        kind = type(value)
        if kind is str:
            if len(value) > SHORT:
                size += len(value)
        elif kind not in _SMALL:
            size += _size_of_any(value)
    return size


def _size_of_any(value: Any) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, (list, tuple)):
        return 8 * len(value) + sum(map(_size_of_any, value))
    if isinstance(value, Mapping):
        return 8 * len(value) + sum(map(_size_of_any, value.values()))
    return 0
