"""The inventory: every process of the tree, how it starts, where it is traced and under which name."""

from __future__ import annotations

import json

from somatrace.check.checking import Report
from somatrace.check.judge import Judged
from somatrace.check.report.text import printable


def listing(report: Report, *, as_json: bool) -> str:
    """One line per process, or JSON."""
    rows = [_row(process) for process in report.processes]
    if as_json:
        return json.dumps(rows, indent=2, ensure_ascii=True) + "\n"
    if not rows:
        return "no service and no launcher here\n"
    lines = []
    for row in rows:
        traced = (
            f"{row['service_name']!r} in {row['traced_in']}"
            if row["traced_in"]
            else ", ".join(row["codes"]) or "untraced"
        )
        lines.append(f"{row['service'] or '.'}  {row['entrypoint'] or '?'}  {row['launched_by']}  {traced}")
    return "\n".join(printable(line) for line in lines) + "\n"


def _row(process: Judged) -> dict[str, str | list[str]]:
    origin = process.launch.origin
    launched = (
        f"{origin.path}:{origin.line}: {' '.join(origin.text.split())}" if origin.line else "convention"
    )
    traced = f"{process.traced.path}:{process.traced.line}" if process.traced is not None else ""
    return {
        "service": process.service,
        "entrypoint": process.path,
        "launched_by": launched,
        "service_name": process.name,
        "traced_in": traced,
        "codes": sorted({finding.code for finding in process.findings}),
    }
