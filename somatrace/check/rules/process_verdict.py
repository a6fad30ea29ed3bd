"""The verdict on one process: at most one finding about its call, and those about the arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from somatrace.check.launch.around import Launch
from somatrace.check.project.source import Sources
from somatrace.check.rules import (
    st000_unreadable,
    st001_missing,
    st002_unreachable,
    st003_conditional,
    st004_late,
    st005_client_first,
    st006_shadowed,
    st007_repeated,
    st010_name,
    st020_content_argument,
    st041_undecidable,
    st042_unnamed,
)
from somatrace.check.rules.finding import Finding
from somatrace.check.rules.process_findings import ProcessFindings
from somatrace.check.run.machine import CodePlace
from somatrace.check.run.process import RunOutcome


@dataclass(frozen=True, slots=True)
class ProcessVerdict:
    """A process, its service and its findings. `name` is the service name, if certain."""

    launch: Launch
    path: str
    service: str
    findings: tuple[Finding, ...]
    name: str = ""
    traced: CodePlace | None = None


def decide(
    launch: Launch, outcome: RunOutcome, written: tuple[CodePlace, ...], service: str, sources: Sources
) -> ProcessVerdict:
    """The verdict on a process that was followed."""
    path = outcome.found.path if outcome.found is not None else ""
    process = ProcessFindings(launch, path, service, sources)
    findings = tuple(_findings(process, outcome, written))
    calls = [call for call in outcome.ledger.inits if not call.served]
    traced = calls[0] if calls and outcome.certain else None
    name = traced.service if traced is not None and traced.service else ""
    return ProcessVerdict(launch, path, service, findings, name, traced.place if traced is not None else None)


def undecided(launch: Launch, service: str, sources: Sources) -> ProcessVerdict:
    """The verdict on a launcher whose target cannot be followed."""
    if launch.unnamed:
        return ProcessVerdict(launch, "", service, (st042_unnamed.finding(launch, service, sources),))
    return ProcessVerdict(launch, "", service, (st041_undecidable.undecided(launch, service, sources),))


def _findings(
    process: ProcessFindings, outcome: RunOutcome, written: tuple[CodePlace, ...]
) -> Iterator[Finding]:
    if outcome.found is None:
        yield st041_undecidable.target_missing(process)
        return
    yield from st000_unreadable.findings(process, outcome)
    if outcome.found.path not in outcome.ledger.unreadable:
        finding = _call(process, outcome, written)
        if finding is not None:
            yield finding
    yield from _arguments(process, outcome)


def _call(process: ProcessFindings, outcome: RunOutcome, written: tuple[CodePlace, ...]) -> Finding | None:
    """None if `init_tracing` is called exactly once before serving, else the reason why not."""
    early = [call for call in outcome.ledger.inits if not call.served]
    if outcome.exhausted and not outcome.certain:
        return st041_undecidable.too_large(process)
    if outcome.certain > 1:
        return st007_repeated.finding(process, early)
    if outcome.certain == 1:
        models = outcome.ledger.models
        return st005_client_first.finding(process, models[0], early) if models else None
    if outcome.supervises:
        return None
    if outcome.possible:
        return st003_conditional.finding(process, early[0])
    return _uncalled(process, outcome, written)


def _uncalled(
    process: ProcessFindings, outcome: RunOutcome, written: tuple[CodePlace, ...]
) -> Finding | None:
    if outcome.late:
        return st004_late.finding(process, outcome.late[0])
    if outcome.ledger.shadows:
        return st006_shadowed.finding(process, outcome.ledger.shadows[0])
    if written:
        return st002_unreachable.finding(process, written)
    if outcome.ledger.unreadable:
        return None
    if process.launch.unnamed:
        return st042_unnamed.finding(process.launch, process.service, process.sources)
    return st001_missing.finding(process)


def _arguments(process: ProcessFindings, outcome: RunOutcome) -> Iterator[Finding]:
    seen: set[CodePlace] = set()
    for call in outcome.ledger.inits:
        if call.place in seen or call.wrapped:
            continue
        seen.add(call.place)
        if call.served and call.service is None:
            continue  # the code that calls it late may pass the name
        for finding in (st010_name.finding(process, call), st020_content_argument.finding(process, call)):
            if finding is not None:
                yield finding
