"""Runs of workflows, to divide the cost of their calls by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple

from somatrace.costs.billed_span import Observation, labels_of, started

#: What divides the calls of a run: a row by one of these has a part of what each run costs.
_OF_CALLS: Final = ("agent", "model", "provider")


class WorkflowRun(NamedTuple):
    """One run of a workflow, by the `labels` that it shares with all of its calls."""

    workflow: str
    labels: tuple[str, ...]
    trace: str
    start: dt.datetime
    failed: bool


def workflow_run(observation: Observation, by: Sequence[str], zone: dt.tzinfo) -> WorkflowRun | None:
    """The run whose own span an observation is; None if it is another span.

    What is a workflow is what the page of `somatrace local` counts (`local/store/definitions.py`).
    """
    [workflow] = labels_of(observation, ["workflow"], zone)
    if not workflow or observation["type"] != "CHAIN" or observation.get("name") != workflow:
        return None
    return WorkflowRun(
        workflow,
        of_runs(labels_of(observation, by, zone), by),
        str(observation["traceId"]),
        started(observation),
        observation.get("level") == "ERROR",
    )


def of_runs(labels: Sequence[str], by: Sequence[str]) -> tuple[str, ...]:
    """The labels that a call shares with the run it is a part of."""
    return tuple(label for label, name in zip(labels, by, strict=True) if name not in _OF_CALLS)
