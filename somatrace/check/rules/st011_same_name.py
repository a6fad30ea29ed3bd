"""ST011: two services have the same service name."""

from __future__ import annotations

from collections.abc import Iterator

from somatrace.check.project.source import Sources
from somatrace.check.rules.finding import Finding
from somatrace.check.rules.process_verdict import ProcessVerdict
from somatrace.check.rules.rule import TRACED, Rule

RULE = Rule(
    code="ST011",
    name="same-name",
    summary="two services have the same service name",
    reason="Their traces and costs cannot be told apart.",
    message='"{name}" is also the name of {other}',
    advice="give each service a unique name",
    broken=f"# services/orders/app/main.py\n{TRACED}\n# services/quotes/app/main.py\n{TRACED}",
    kept=(
        f"# services/orders/app/main.py\n{TRACED}\n# services/quotes/app/main.py\n"
        + TRACED.replace("orders", "quotes")
    ),
)


def findings(processes: tuple[ProcessVerdict, ...], sources: Sources) -> Iterator[Finding]:
    """One finding for each process whose name another service took first."""
    first: dict[str, ProcessVerdict] = {}
    for process in processes:
        if not process.name or process.traced is None:
            continue
        other = first.setdefault(process.name, process)
        if other.service != process.service and not _is_shared(process, other):
            place = process.traced
            yield Finding(
                place.path,
                place.line,
                RULE.code,
                place.column,
                RULE.message.format(name=process.name, other=other.service or "the root project"),
                RULE.advice,
                (),
                process.service,
                sources.line(place.path, place.line),
            )


def _is_shared(process: ProcessVerdict, other: ProcessVerdict) -> bool:
    """Whether two processes make the same call, in a project inside the other's: both run that project."""
    outer, inner = sorted((process.service, other.service), key=len)
    nested = not outer or inner.startswith(f"{outer}/")
    place = process.traced
    return nested and place is not None and place == other.traced and place.path.startswith(f"{inner}/")
