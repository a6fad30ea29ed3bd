"""Run all of doctor's checks, from the settings to the diagnosis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from somatrace.config import Config, Settings, explain, resolve
from somatrace.costs.price_book import PriceBook
from somatrace.doctor.app_findings import app_findings
from somatrace.doctor.diagnosis import Diagnosis
from somatrace.doctor.findings import DoctorFinding, finding
from somatrace.doctor.installed_findings import installed_findings
from somatrace.doctor.target_findings import target_findings
from somatrace.guard import redact_text
from somatrace.tracing.content_policy import grants_of


@dataclass(frozen=True)
class DoctorOptions:
    """Command-line options. `timeout` in seconds applies to each answer of the target and to loading the app;
    `send` sends one span to a network target."""

    env_file: str | None = None
    app: str | None = None
    factory: bool = False
    timeout: float = 10.0
    send: bool = False


def examine(options: DoctorOptions) -> Diagnosis:
    """Run every check; probes the target once and, with `app`, loads the service in a child process."""
    config = Config(env_file=options.env_file) if options.env_file else None
    settings = resolve("somatrace", config)
    faulty = {problem.setting for problem in settings.problems}
    # variables without effect are reported as findings instead
    explained = tuple(
        # `explain` masks settings that hold secrets; secrets also turn up in settings that should not
        line._replace(
            value=redact_text(line.value, categories=("secrets",)),
            source=f"{line.source}, with a problem" if line.source in faulty else line.source,
        )
        for line in explain(settings)
        if line.setting not in settings.unused
    )
    return Diagnosis(explained, tuple(_findings(settings, options)))


def _findings(settings: Settings, options: DoctorOptions) -> Iterator[DoctorFinding]:
    for problem in settings.problems:
        yield finding("problem", what=problem)
    for variable, why in settings.unused.items():
        yield finding("unused", variable=variable, why=why)
    policy = _policy_problems(settings)
    for what in policy:
        yield finding("policy", what=what)
    if what := _prices_problem(settings):
        yield finding("prices", what=what)
    yield from target_findings(settings, options.timeout, send=options.send)
    yield from installed_findings()
    if options.app is not None:
        known = {*map(str, settings.problems), *policy}
        yield from app_findings(options.app, factory=options.factory, timeout=options.timeout, known=known)


def _prices_problem(settings: Settings) -> str:
    book = PriceBook(Path(settings.prices_file) if settings.prices_file else None)
    book.refresh()
    return book.problem


def _policy_problems(settings: Settings) -> tuple[str, ...]:
    grants = grants_of(settings)
    try:
        return grants.problems
    finally:
        grants.close()
