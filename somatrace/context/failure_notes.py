"""Note the place and the tenant of exceptions when they are recorded on a span.

The event itself has only texts, from which neither can be told reliably. It refers to its note by a number
that starts at a random one, because a library can write any attribute to an event.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from somatrace import semconv
from somatrace.context.exception_identity import ExceptionIdentity
from somatrace.context.exception_origins import origins
from somatrace.context.failure_place import failure_place
from somatrace.context.span_state import NotedFailure, SpanState, state_of
from somatrace.context.tags import current
from somatrace.runtime.fail_safe import fail_safe

#: Places kept per span; the exception events after them have none.
_MAX_FAILURES: Final = 32
_FIRST: Final = int.from_bytes(os.urandom(6)) << 8
#: In place of a reference: whether the exception is of the span's tenant. Without either, no text leaves.
_OWN: Final = _FIRST - 1
_FOREIGN: Final = _FIRST - 2
_TEXTS: Final = (semconv.EXCEPTION_MESSAGE, semconv.EXCEPTION_STACKTRACE)


def note_failure(span: object, error: BaseException) -> dict[str, int]:
    """Note an exception that is being recorded. Returns the event attribute that refers to the note."""
    state = state_of(span)
    if state is None:
        return {}
    with fail_safe("failure"):
        foreign = is_foreign(state, error)
        if foreign:
            state.holds_foreign_text = True
        origins.note_new(error, _tenant_of_unknown(state))
        state.last_failure = ExceptionIdentity(error)
        if len(state.failures) < _MAX_FAILURES:
            state.failures = (*state.failures, NotedFailure(failure_place(error), foreign))
            return {semconv.FAILURE: _FIRST + len(state.failures) - 1}
        return {semconv.FAILURE: _FOREIGN if foreign else _OWN}
    return {}


def note_event(span: object, attributes: Mapping[str, Any] | None) -> dict[str, int]:
    """Note the exception that is being handled while a library writes an event: the event may quote it."""
    error, state = sys.exception(), state_of(span)
    if error is None or state is None:
        return {}
    with fail_safe("failure"):
        given = attributes or {}
        if semconv.FAILURE in given and failure_of(given[semconv.FAILURE], state) is not None:
            return {}
        if is_foreign(state, error):
            return {semconv.FAILURE: _FOREIGN}
        if any(name in given for name in _TEXTS):
            return {semconv.FAILURE: _OWN}
    return {}


def note_status(span: object) -> None:
    """Note the exception that is being handled while the status is set: texts of the span may quote it."""
    error, state = sys.exception(), state_of(span)
    if error is not None and state is not None:
        with fail_safe("failure"):
            if is_foreign(state, error):
                state.holds_foreign_text = True


def is_foreign(state: SpanState, error: BaseException) -> bool:
    """Whether an exception, or one that it leads to, comes from work of another tenant than the span."""
    return origins.is_foreign(error, state.tags.tenant, _tenant_of_unknown(state))


def failure_of(number: object, state: SpanState | None) -> NotedFailure | None:
    """The note that an event refers to."""
    if state is None or type(number) is not int:
        return None
    place = number - _FIRST
    return state.failures[place] if 0 <= place < len(state.failures) else None


def may_show_text(given: Mapping[str, Any], state: SpanState | None) -> bool:
    """Whether the texts of an event are certainly not those of another tenant's exception."""
    number = given.get(semconv.FAILURE)
    failure = failure_of(number, state)
    if failure is not None:
        return not failure.foreign
    if type(number) is int and number == _FOREIGN:
        return False
    return (type(number) is int and number == _OWN) or not any(name in given for name in _TEXTS)


def _tenant_of_unknown(state: SpanState) -> str | None:
    """The tenant of an exception without an origin: it was raised in this context, or unbound work."""
    tags = current.get()
    return tags.tenant if tags.names_tenant else state.tags.tenant
