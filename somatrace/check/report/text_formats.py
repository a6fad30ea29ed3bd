"""Text formats: `full` with source line, chain and help, and `concise` with one line per finding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from somatrace.check.checker import CheckReport
from somatrace.check.foreign_text import shown
from somatrace.check.rules.finding import Finding

_WIDEST = 200


def full(report: CheckReport, _: Path, color: bool) -> str:
    """Every finding in full, then a summary."""
    blocks = ["\n".join(_block(finding, color)) + "\n" for finding in report.findings]
    return "\n".join([*blocks, _summary(report) + "\n"])


def concise(report: CheckReport, _: Path, color: bool) -> str:
    """`path:line:column: code message`."""
    lines = []
    for one in report.findings:
        where = f"{shown(one.path)}:{one.line}:{one.column}"
        lines.append(f"{where}: {_bold(one.code, color)} {shown(one.message)}")
    return "\n".join([*lines, _summary(report)]) + "\n"


def _block(finding: Finding, color: bool) -> Iterator[str]:
    yield f"{_bold(finding.code, color)} {shown(finding.message)}"
    yield f"  --> {shown(finding.path)}:{finding.line}:{finding.column}"
    source = finding.source.expandtabs(4).rstrip()
    number = str(finding.line)
    if source.strip():
        cut = source if len(source) <= _WIDEST else f"{source[:_WIDEST]}..."
        indent = len(source) - len(source.lstrip())
        pad = " " * len(number)
        yield f"{pad} |"
        yield f"{number} | {shown(cut)}"
        yield f"{pad} | {' ' * indent}{'^' * min(len(source.strip()), _WIDEST)}"
    for step in finding.chain:
        yield f"  via {shown(step)}"
    if finding.help:
        yield f"  help: {shown(finding.help)}"


def _bold(code: str, color: bool) -> str:
    return f"\x1b[1;31m{code}\x1b[0m" if color else code


def _summary(report: CheckReport) -> str:
    count = len(report.processes)
    processes = f"{count} process{'' if count == 1 else 'es'}"
    if not report.findings:
        return (
            f"{processes}: every one is traced" if count else "no service or launcher found: nothing to trace"
        )
    found = len(report.findings)
    return f"{processes}: {found} finding{'' if found == 1 else 's'}"
