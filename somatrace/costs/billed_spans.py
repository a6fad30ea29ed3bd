"""Read the model calls of a period and the workflows around them from a backend, page by page, each once."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from somatrace.costs.backends import Backend, UnavailableError
from somatrace.costs.billed_span import USAGE_COUNTED, BilledSpan, billed_span
from somatrace.costs.workflow_run import WorkflowRun, workflow_run
from somatrace.local.store.definitions import USAGE_TYPES
from somatrace.runtime.clock import clock

_FIELDS: Final = "core,basic,metadata,model,usage,trace_context"
#: The spans that can have usage: those of these types, and sums of which a part is counted elsewhere.
_SELECTIONS: Final = (
    {"type": "stringOptions", "column": "type", "operator": "any of", "value": sorted(USAGE_TYPES)},
    {
        "type": "stringObject",
        "column": "metadata",
        "key": USAGE_COUNTED,
        "operator": "=",
        "value": "partly below",
    },
)


#: The spans that can be workflows.
_WORKFLOWS: Final = {"type": "stringOptions", "column": "type", "operator": "any of", "value": ["CHAIN"]}


class BilledSpans(NamedTuple):
    """The spans of a period; from `whole_since` on they are all there.

    `runs` are those of workflows, None unless the spans are by workflow.
    """

    spans: Sequence[BilledSpan]
    whole_since: dt.datetime
    runs: Sequence[WorkflowRun] | None = None


def read_spans(
    backend: Backend,
    by: Sequence[str],
    since: dt.datetime,
    until: dt.datetime,
    *,
    zone: dt.tzinfo = dt.UTC,
    most: int,
    timeout: float,
) -> BilledSpans:
    """Read the newest `most` spans of each kind within `timeout` seconds. Raises UnavailableError.

    Backends list a span again that was sent again (Langfuse until it merges its tables): its ids tell.
    """
    deadline = clock.monotonic() + timeout
    found: dict[tuple[str, str], BilledSpan | None] = {}
    runs: list[WorkflowRun] = []
    by_workflow = "workflow" in by
    whole_since = since
    try:
        for selection in (*_SELECTIONS, *([_WORKFLOWS] if by_workflow else ())):
            left = most
            for observation in _observations(backend, selection, since, until, deadline):
                if left <= 0:
                    # others of the same moment may be missing
                    cut = dt.datetime.fromisoformat(observation["startTime"]) + dt.timedelta(milliseconds=1)
                    whole_since = max(whole_since, cut)
                    break
                left -= 1
                if by_workflow and (run := workflow_run(observation, by, zone)):
                    runs.append(run)
                ids = str(observation["traceId"]), str(observation["id"])
                if ids not in found:
                    found[ids] = billed_span(observation, by, zone)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnavailableError(
            f"the answer of {backend.where} is not as Langfuse's ({type(error).__name__})"
        ) from None
    whole = (span for span in found.values() if span is not None and span.start >= whole_since)
    whole_runs = [run for run in runs if run.start >= whole_since] if by_workflow else None
    return BilledSpans(list(whole), whole_since, whole_runs)


def _observations(
    backend: Backend, selection: dict[str, Any], since: dt.datetime, until: dt.datetime, deadline: float
) -> Iterator[dict[str, Any]]:
    period = [
        {"type": "datetime", "column": "startTime", "operator": operator, "value": _text(moment)}
        for operator, moment in ((">=", since), ("<", until))
    ]
    query = {"fields": _FIELDS, "filter": json.dumps([*period, selection])}
    while True:
        page = backend.page(query, deadline)
        yield from page["data"]
        cursor = page["meta"].get("cursor")
        if not cursor:
            return
        query["cursor"] = str(cursor)


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
