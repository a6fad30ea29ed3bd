"""Guard the log records that OpenTelemetry exports, as `opentelemetry-instrument` sets it up.

Records are guarded before any of the provider's processors gets them, as spans are: under the grant of their
tenant, with attributes, event names and scopes filtered by the same functions. Processors get a copy, since
the program may use its own record again.
"""

from __future__ import annotations

import copy
import functools
import logging
import re
import sys
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import trace

from somatrace import semconv
from somatrace.context.exception_origins import origins
from somatrace.context.failure_place import failure_place
from somatrace.context.span_state import state_of
from somatrace.guard import Guard
from somatrace.guard.content_filter import ContentFilter
from somatrace.guard.redaction.work import Work, shared_work
from somatrace.guard.removal_notes import note
from somatrace.instrumentation.coexistence.log_messages import LogLine, current_line
from somatrace.instrumentation.content_capture import current_tenant

_WITHHELD: Final = "a log message, withheld because it may quote content"
#: Names of severities in OpenTelemetry's data model; the program's own are registered with `logging`.
_SEVERITY: Final = re.compile(r"(?:TRACE|DEBUG|INFO|WARN|ERROR|FATAL)[2-4]?")
#: The names and versions of loggers.
_LOGGER: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_VERSION: Final = re.compile(r"[A-Za-z0-9.+_-]{1,32}")
_MAX_KEPT: Final = 1024


def install(guard: Guard) -> None:
    """Guard the log records of the logger provider that is set now; imports nothing."""
    module = sys.modules.get("opentelemetry._logs._internal")
    provider = getattr(module, "_LOGGER_PROVIDER", None)
    processor = getattr(provider, "_multi_log_record_processor", None)
    if processor is None or isinstance(processor.on_emit, functools.partial):
        return
    processor.on_emit = functools.partial(_emit, processor.on_emit, _LogRecords(guard))


def _emit(emit: Callable[[Any], None], records: _LogRecords, data: Any) -> None:
    guarded = records.guarded(data)
    if guarded is not None:
        emit(guarded)


class _LogRecords:
    """Makes guarded copies of log records, on the threads that emit them."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._scopes: dict[int, tuple[Any, Any]] = {}
        self._resources: dict[int, tuple[Any, Any]] = {}

    def guarded(self, data: Any) -> Any:
        """The copy that processors may get; None if there cannot be one. Logs nothing, since that would be
        another record."""
        with shared_work(Work()):
            return self._guard.safely(self._guarded, None, data, current_line())

    def _guarded(self, data: Any, line: LogLine | None) -> Any:
        record = copy.copy(data.log_record)
        error = line.error if line is not None else getattr(record, "exception", None)
        content_filter = self._filter(record, error, line)
        made = copy.copy(data)
        made.log_record = record
        made.instrumentation_scope = self._kept(self._scopes, data.instrumentation_scope, self._scope)
        if getattr(data, "resource", None) is not None:
            made.resource = self._kept(self._resources, data.resource, self._resource)
        record.severity_text = _severity(record.severity_text)
        record.attributes = _attributes(record.attributes, content_filter, error)
        if getattr(record, "exception", None) is not None:
            record.exception = None
        name = getattr(record, "event_name", None)
        if name is not None:
            scope = getattr(made.instrumentation_scope, "name", "")
            record.event_name = content_filter.words(self._guard.event_name(name, scope, declared=False))
        record.body = _body(record.body, content_filter, line)
        return made

    def _filter(self, record: Any, error: BaseException | None, line: LogLine | None) -> ContentFilter:
        """The filter for the tenant at work; if the record belongs to a span of another one, the stricter.
        Content is off for a record that may quote an exception of another tenant's work."""
        tenant = current_tenant()
        content_filter = self._guard.content_filter(tenant)
        if content_filter.mode != "none":
            quoted = (error, sys.exception(), *(line.exceptions() if line is not None else ()))
            if any(one is not None and origins.is_foreign(one, tenant, tenant) for one in quoted):
                return content_filter.closed
        context = getattr(record, "context", None)
        span = trace.get_current_span(context) if context else trace.INVALID_SPAN
        state = state_of(span)
        if state is None or span is trace.get_current_span() or content_filter.mode == "none":
            return content_filter
        return self._guard.content_filter(state.tags.tenant)

    def _kept(self, known: dict[int, tuple[Any, Any]], one: Any, make: Callable[[Any], Any]) -> Any:
        """The guarded copy of a scope or resource, of which there are few."""
        found = known.get(id(one))
        if found is None or found[0] is not one:
            if len(known) >= _MAX_KEPT:
                known.clear()
            found = known[id(one)] = one, None if one is None else make(one)
        return found[1]

    def _scope(self, scope: Any) -> Any:
        content_filter = self._guard.content_filter(None)
        name = content_filter.words(self._guard.label(scope.name, "scope"))
        version = content_filter.words(self._guard.label(scope.version or "", "version"))
        return type(scope)(
            name if _LOGGER.fullmatch(name) else "logger",
            version if _VERSION.fullmatch(version) else None,
            None,
            content_filter.attributes(getattr(scope, "attributes", None) or {})[0],
        )

    def _resource(self, resource: Any) -> Any:
        return type(resource)(self._guard.resource(resource.attributes))


def _attributes(given: Any, content_filter: ContentFilter, error: BaseException | None) -> dict[str, Any]:
    kept, removed = content_filter.attributes(dict(given or {}))
    if removed:
        kept[semconv.GUARD_REMOVED] = note(removed)
    if error is not None:
        kept.setdefault(semconv.EXCEPTION_STACKTRACE, content_filter.place(failure_place(error)))
    return kept


def _body(body: Any, content_filter: ContentFilter, line: LogLine | None) -> Any:
    if body is None:
        return None
    if content_filter.mode != "none":
        found = content_filter.body(body)
        return _WITHHELD if found is None else found
    if line is None or type(body) is not str:  # an event of a library, or a structured message
        found = None if isinstance(body, str) else content_filter.body(body)
        return _WITHHELD if found is None else found
    text = body if line.quotes_nothing(body) else line.template()
    return _WITHHELD if text is None else content_filter.own_text(text)


def _severity(text: Any) -> str | None:
    if type(text) is not str:
        return None
    return text if _SEVERITY.fullmatch(text) or text in logging.getLevelNamesMapping() else None
