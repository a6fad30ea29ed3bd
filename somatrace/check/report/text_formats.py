"""For people: with the line, a caret, the way there and what to do; or one line each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from somatrace.check.checker import CheckReport
from somatrace.check.rules.finding import Finding

_WIDEST = 200


def full(report: CheckReport, _: Path, colour: bool) -> str:
    """Every finding in full, then how many there are."""
    blocks = ["\n".join(_block(finding, colour)) + "\n" for finding in report.findings]
    return "\n".join([*blocks, _summary(report) + "\n"])


def concise(report: CheckReport, _: Path, colour: bool) -> str:
    """`path:line:column: code message`."""
    lines = []
    for one in report.findings:
        where = f"{printable(one.path)}:{one.line}:{one.column}"
        lines.append(f"{where}: {_bold(one.code, colour)} {printable(one.message)}")
    return "\n".join([*lines, _summary(report)]) + "\n"


def printable(text: str) -> str:
    """Text from a tree that cannot move the terminal's cursor or colour it."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _block(finding: Finding, colour: bool) -> Iterator[str]:
    yield f"{_bold(finding.code, colour)} {printable(finding.message)}"
    yield f"  --> {printable(finding.path)}:{finding.line}:{finding.column}"
    source = finding.source.expandtabs(4).rstrip()
    number = str(finding.line)
    if source.strip():
        shown = source if len(source) <= _WIDEST else f"{source[:_WIDEST]}..."
        indent = len(source) - len(source.lstrip())
        pad = " " * len(number)
        yield f"{pad} |"
        yield f"{number} | {printable(shown)}"
        yield f"{pad} | {' ' * indent}{'^' * min(len(source.strip()), _WIDEST)}"
    for step in finding.chain:
        yield f"  by {printable(step)}"
    if finding.help:
        yield f"  help: {printable(finding.help)}"


def _bold(code: str, colour: bool) -> str:
    return f"\x1b[1;31m{code}\x1b[0m" if colour else code


def _summary(report: CheckReport) -> str:
    count = len(report.processes)
    processes = f"{count} process{'' if count == 1 else 'es'}"
    if not report.findings:
        return (
            f"{processes}: every one is traced"
            if count
            else "no service and no launcher here: nothing to trace"
        )
    found = len(report.findings)
    return f"{processes}: {found} finding{'' if found == 1 else 's'}"
