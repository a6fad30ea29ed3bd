"""Keep control-flow exceptions from making spans failed, whoever records them.

Instrumentors, and OpenTelemetry's own blocks, set the status to an error and record the exception, in either
order. The exception is not recorded, and its status not taken; the span gets an outcome instead.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from opentelemetry.sdk.trace import Span
from opentelemetry.trace.status import Status, StatusCode

from somatrace import semconv
from somatrace.context.control_flow import outcome_of
from somatrace.context.span_state import SpanState, state_of
from somatrace.runtime.fail_safe import fail_safe

#: What langchain's instrumentor says of a run that an exception has left.
_TASK_STATUS: Final = "gen_ai.task.status"


def note_outcome(span: Span, error: BaseException) -> bool:
    """Note the outcome of a control-flow exception on a span. Returns False for a failure."""
    with fail_safe("outcome"):
        outcome, state = outcome_of(error), state_of(span)
        if not outcome or state is None:
            return False
        span.set_attribute(semconv.OUTCOME, outcome)
        state.outcome = id(error), _descriptions(error)
        if _restates(state, span.status.status_code, span.status.description):
            span._status = Status(StatusCode.UNSET)
        return True
    return False


def is_overruled(span: Span, status: object, description: str | None) -> bool:
    """Whether a status is not to be taken: the error that a noted control-flow exception would be, or the
    success of an answer that has failed."""
    state = state_of(span)
    if state is None or (state.outcome is None and not state.answer_failed):
        return False
    code = status
    if isinstance(status, Status):
        code, description = status.status_code, status.description
    return (state.answer_failed and code is StatusCode.OK) or _restates(state, code, description)


def without_failure(kept: dict[str, Any], state: SpanState, status: StatusCode) -> None:
    """Remove from guarded attributes what instrumentors write with a failure, if the span has none."""
    if state.outcome is not None and status is not StatusCode.ERROR:
        kept.pop(semconv.ERROR_TYPE, None)
        if kept.get(_TASK_STATUS) == "failure":
            del kept[_TASK_STATUS]


def _restates(state: SpanState, code: object, description: str | None) -> bool:
    if state.outcome is None or code is not StatusCode.ERROR:
        return False
    identity, descriptions = state.outcome
    if not description:
        return id(sys.exc_info()[1]) == identity or hash("") in descriptions
    return hash(description) in descriptions


def _descriptions(error: BaseException) -> frozenset[int]:
    """Hashes of the texts by which a status describes an exception."""
    name, text = type(error).__name__, str(error)
    return frozenset(map(hash, (text, name, f"{name}: {text}", repr(error))))
