"""ST041: a launcher's target is missing, or cannot be determined without running it."""

from __future__ import annotations

from somatrace.check.launch.around import Launch
from somatrace.check.project.source import Sources
from somatrace.check.rules.finding import Finding
from somatrace.check.rules.process_findings import ProcessFindings
from somatrace.check.rules.rule import TRACED, Rule
from somatrace.check.run.machine import CodePlace

RULE = Rule(
    code="ST041",
    name="undecidable",
    summary="a launcher's target is missing, or cannot be determined without running it",
    reason="A process that cannot be proved traced counts as untraced.",
    message="cannot prove that this process is traced: {problem}",
    advice="name a file or module in this tree, or list the entrypoint in [tool.somatrace.check]",
    broken=f"# Procfile\nweb: uvicorn $APP\n\n# app.py\n{TRACED}",
    kept=f"# Procfile\nweb: uvicorn app:app\n\n# app.py\n{TRACED}",
)


_MISSING = "`{target}` is not in this tree, so nothing proves that {process} is traced"
_CORRECT_LAUNCHER = "correct the launcher, or the COPY and WORKDIR that lead to the module"
_TOO_LARGE = "its start-up is too large to follow"
_CALL_FIRST = "call `init_tracing` first, at the top level"


def undecided(launch: Launch, service: str, sources: Sources) -> Finding:
    """The launcher cannot be followed."""
    line = max(launch.origin.line, 1)
    message = RULE.message.format(problem=launch.problem)
    source = sources.line(launch.origin.path, line)
    return Finding(launch.origin.path, line, RULE.code, 1, message, RULE.advice, (), service, source)


def target_missing(process: ProcessFindings) -> Finding:
    """The launcher's target is not in the tree."""
    launch = process.launch
    place = CodePlace(launch.origin.path, max(launch.origin.line, 1))
    message = _MISSING.format(target=launch.target or launch.start.name, process=process.process())
    return process.finding(RULE, place, message, advice=_CORRECT_LAUNCHER)


def too_large(process: ProcessFindings) -> Finding:
    """The start-up exceeds the limit of steps."""
    return process.finding(RULE, CodePlace(process.path, 1), _TOO_LARGE, advice=_CALL_FIRST)
