"""The share of each tenant and workflow in a trace, and whether it has failed.

Tokens, calls, errors and cost belong to the tags of the span that made them. docs/glossary.md has the
definitions; the lists, the sums and the demo's table all use these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Final, NamedTuple

from somatrace import semconv
from somatrace.local.otlp.row import SpanRow
from somatrace.local.store.definitions import UNNAMED, has_usage, is_call, is_workflow
from somatrace.local.store.trace_summary import TraceSummary

#: Shares of one trace; further tenants and workflows of it have one together.
_MAX_SHARES: Final = 1000
_REST: Final = (semconv.SEVERAL_TENANTS, "")


class Share(NamedTuple):
    """What the spans of one tenant and workflow add to a trace; the fields are the columns of `shares`.

    `belongs` is false for spans that only accompany another tenant or workflow of the trace; `leads` marks
    one share per tenant that belongs. `tenant_failed` and `tenant_errors` are of all shares of the tenant.
    """

    trace_id: str
    tenant: str
    workflow: str
    start_ns: int = 0
    spans: int = 0
    errors: int = 0
    calls: int = 0
    unmeasured: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    workflows: int = 0
    failed_workflows: int = 0
    belongs: bool = True
    leads: bool = True
    failed: bool = False
    tenant_failed: bool = False
    tenant_errors: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.tenant, self.workflow

    @property
    def is_use(self) -> bool:
        """Whether models were used."""
        return bool(self.calls or self.input_tokens or self.output_tokens or self.cost)


_SUMMED: Final = (
    "spans", "errors", "calls", "unmeasured", "input_tokens", "output_tokens", "cost", "workflows",
    "failed_workflows",
)  # fmt: skip


def of(spans: Iterable[SpanRow]) -> dict[tuple[str, str], Share]:
    """The shares of some spans of one trace, not settled yet."""
    grouped: dict[tuple[str, str], list[SpanRow]] = {}
    for span in spans:
        key = _key(grouped, span.tenant_id or "", span.workflow_name or "")
        grouped.setdefault(key, []).append(span)
    return {key: _of_group(key, group) for key, group in grouped.items()}


def _of_group(key: tuple[str, str], spans: list[SpanRow]) -> Share:
    calls = [span for span in spans if is_call(span)]
    users = [span for span in spans if has_usage(span)]
    workflows = [span for span in spans if is_workflow(span)]
    return Share(
        spans[0].trace_id,
        *key,
        spans=len(spans),
        errors=sum(span.level == "ERROR" for span in spans),
        calls=len(calls),
        unmeasured=sum(span.total_tokens is None for span in calls),
        input_tokens=sum(span.input_tokens or 0 for span in users),
        output_tokens=sum(span.output_tokens or 0 for span in users),
        cost=sum(span.total_cost or 0.0 for span in users),
        workflows=len(workflows),
        failed_workflows=sum(span.level == "ERROR" for span in workflows),
    )


def merged(
    one: Mapping[tuple[str, str], Share], other: Mapping[tuple[str, str], Share]
) -> dict[tuple[str, str], Share]:
    """The shares of two disjoint sets of spans of one trace."""
    found = dict(one)
    for share in other.values():
        key = _key(found, *share.key)
        before = found.get(key) or Share(share.trace_id, *key)
        sums = {name: getattr(before, name) + getattr(share, name) for name in _SUMMED}
        found[key] = before._replace(**sums)
    return found


def settled(trace: TraceSummary, shares: Iterable[Share]) -> tuple[TraceSummary, list[Share]]:
    """The trace with its tenant and outcome, and its shares with what depends on the other ones.

    A root without a tenant shows the only one below it. A root that only names itself, as that of a service
    which calls the workflow's, has the name of the only workflow below it. The failure of the outermost span
    is that of the workflow and tenant that the trace shows; until it has arrived, any error is a failure.
    """
    ordered = sorted(shares, key=lambda share: share.key)
    named = {share.tenant for share in ordered} - UNNAMED
    tenant = trace.head_tenant
    if (tenant or "") in UNNAMED and named:
        tenant = next(iter(named)) if len(named) == 1 else semconv.SEVERAL_TENANTS
    workflow, name = trace.head_workflow, trace.head_name
    workflows = {share.workflow for share in ordered if share.workflows} if trace.head_is_plain else set()
    if len(workflows) == 1:
        name = min(workflows) if name == workflow else name
        workflow = min(workflows)
    root_failed = trace.head_failed and trace.head_root
    trace = trace._replace(
        tenant_id=tenant,
        workflow_name=workflow,
        name=name,
        failed=root_failed
        or any(share.failed_workflows for share in ordered)
        or (not trace.head_root and trace.errors > 0),
    )
    found: list[Share] = []
    for owner, group in groupby(ordered, key=lambda share: share.tenant):
        of_tenant = list(group)
        chief = [share for share in of_tenant if _stands_out(share, trace.workflow_name or "")]
        belonging = chief if owner not in UNNAMED or not named else [one for one in of_tenant if one.is_use]
        belonging = belonging or ([] if owner in UNNAMED and named else of_tenant)
        failing = {share.key for share in of_tenant if share.failed_workflows}
        if root_failed and owner == (tenant or ""):
            of_head = [share.key for share in belonging if share.workflow == trace.workflow_name]
            failing.update(of_head or [share.key for share in belonging])
        if not trace.head_root:
            failing.update(share.key for share in of_tenant if share.errors)
        errors = sum(share.errors for share in of_tenant)
        found += [
            share._replace(
                start_ns=trace.start_ns,
                belongs=share in belonging,
                leads=bool(belonging) and share is belonging[0],
                failed=share.key in failing,
                tenant_failed=bool(failing),
                tenant_errors=errors,
            )
            for share in of_tenant
        ]
    return trace, found


def _stands_out(share: Share, workflow: str) -> bool:
    """Whether a share is more than what ran before the workflow of its trace had begun."""
    return share.workflow == workflow or share.is_use or bool(share.workflows)


def _key(known: Mapping[tuple[str, str], object], tenant: str, workflow: str) -> tuple[str, str]:
    key = tenant, workflow
    return key if key in known or len(known) < _MAX_SHARES else _REST
