"""The list of processes: launcher, entrypoint, service name and the call that traces each."""

from __future__ import annotations

from dataclasses import asdict

from somatrace.check import foreign_text
from somatrace.check.checker import CheckReport


def listing(report: CheckReport, *, as_json: bool) -> str:
    """One line per process, or JSON."""
    if as_json:
        return foreign_text.as_json([asdict(process) for process in report.processes])
    if not report.processes:
        return "no service or launcher found\n"
    lines = []
    for one in report.processes:
        traced = f'"{one.service_name}" in {one.traced_in}' if one.traced_in else "not traced"
        codes = f" ({', '.join(one.codes)})" if one.codes else ""
        lines.append(f"{one.service or '.'}  {one.entrypoint or '?'}  {one.launched_by}  {traced}{codes}")
    return "\n".join(foreign_text.shown(line) for line in lines) + "\n"
