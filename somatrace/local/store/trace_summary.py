"""The one-row summary of a trace, and the merging of two summaries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from somatrace.local.otlp.row import SpanRow
from somatrace.local.store.definitions import has_usage, is_call, is_workflow

_MAX_NAMES: Final = 20
_MAX_TEXT: Final = 200


class TraceSummary(NamedTuple):
    """One trace; the fields are the columns of the store's `traces` table."""

    trace_id: str
    head_root: bool
    head_start: int
    head_span: str
    head_tenant: str | None
    head_failed: bool
    head_name: str | None
    head_workflow: str | None
    head_is_plain: bool
    name: str | None
    tenant_id: str | None
    workflow_name: str | None
    agent_id: str | None
    service: str | None
    start_ns: int
    end_ns: int
    spans: int
    errors: int
    calls: int
    unmeasured: int
    input_tokens: int
    output_tokens: int
    cost: float
    received_ns: int
    changed_ns: int
    correlation_id: str | None
    models: str
    agents: str
    services: str
    failure_start: int | None
    failure_span: str | None
    failure: str | None
    failed: bool


def of(spans: Sequence[SpanRow], received_ns: int) -> TraceSummary:
    """The summary of some spans of one trace, not settled yet: see `shares.settled`."""
    head = max(spans, key=lambda span: (bool(span.is_root), -span.start_ns, span.span_id))
    calls = [span for span in spans if is_call(span)]
    users = [span for span in spans if has_usage(span)]
    failed = [span for span in spans if span.level == "ERROR"]
    last = max(failed, key=lambda span: (span.start_ns, span.span_id), default=None)
    return TraceSummary(
        trace_id=head.trace_id,
        head_root=bool(head.is_root),
        head_start=head.start_ns,
        head_span=head.span_id,
        head_tenant=head.tenant_id,
        head_failed=head.level == "ERROR",
        head_name=head.trace_name or head.name,
        head_workflow=head.workflow_name,
        head_is_plain=head.workflow_name == head.name and not is_workflow(head),
        name=head.trace_name or head.name,
        tenant_id=head.tenant_id,
        workflow_name=head.workflow_name,
        agent_id=head.agent_id,
        service=head.service,
        start_ns=min(span.start_ns for span in spans),
        end_ns=max(span.end_ns for span in spans),
        spans=len(spans),
        errors=len(failed),
        calls=len(calls),
        unmeasured=sum(span.total_tokens is None for span in calls),
        input_tokens=sum(span.input_tokens or 0 for span in users),
        output_tokens=sum(span.output_tokens or 0 for span in users),
        cost=sum(span.total_cost or 0.0 for span in users),
        received_ns=received_ns,
        changed_ns=received_ns,
        correlation_id=max((span.correlation_id for span in spans if span.correlation_id), default=None),
        models=_joined(span.model for span in spans),
        agents=_joined(span.agent_id for span in spans),
        services=_joined(span.service for span in spans),
        failure_start=last.start_ns if last else None,
        failure_span=last.span_id if last else None,
        failure=_failure(last) if last else None,
        failed=False,
    )


def merged(one: TraceSummary, other: TraceSummary) -> TraceSummary:
    """The summary of two disjoint sets of spans of one trace, regardless of their order."""
    head = max(one, other, key=lambda part: (part.head_root, -part.head_start, part.head_span))
    failure = max(one, other, key=_last_failure)
    return head._replace(
        start_ns=min(one.start_ns, other.start_ns),
        end_ns=max(one.end_ns, other.end_ns),
        spans=one.spans + other.spans,
        errors=one.errors + other.errors,
        calls=one.calls + other.calls,
        unmeasured=one.unmeasured + other.unmeasured,
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cost=one.cost + other.cost,
        received_ns=min(one.received_ns, other.received_ns),
        changed_ns=max(one.changed_ns, other.changed_ns),
        correlation_id=max(one.correlation_id or "", other.correlation_id or "") or None,
        models=_union(one.models, other.models),
        agents=_union(one.agents, other.agents),
        services=_union(one.services, other.services),
        failure_start=failure.failure_start,
        failure_span=failure.failure_span,
        failure=failure.failure,
    )


def _last_failure(part: TraceSummary) -> tuple[int, str]:
    return (-1 if part.failure_start is None else part.failure_start), part.failure_span or ""


def _failure(span: SpanRow) -> str:
    message = " ".join((span.status_message or "").split())[:_MAX_TEXT]
    return f"{span.name[:_MAX_TEXT]}: {message}" if message else span.name[:_MAX_TEXT]


def _union(one: str, other: str) -> str:
    if one == other or not other:
        return one
    return _joined((*one.split("\n"), *other.split("\n")))


def _joined(names: Iterable[str | None]) -> str:
    """The first few names in alphabetical order, so that the order of arrival makes no difference."""
    distinct = {name for name in names if name}
    if len(distinct) == 1:
        (name,) = distinct
        return " ".join(name[:_MAX_TEXT].split("\n"))
    return "\n".join(sorted({" ".join(name[:_MAX_TEXT].split("\n")) for name in distinct})[:_MAX_NAMES])
