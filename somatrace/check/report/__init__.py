"""Output formats of a report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from somatrace.check.checker import CheckReport
from somatrace.check.report.entrypoint_list import listing
from somatrace.check.report.machine_formats import as_json, github, gitlab, junit, sarif
from somatrace.check.report.text_formats import concise, full

FORMATS: dict[str, Callable[[CheckReport, Path, bool], str]] = {
    "full": full,
    "concise": concise,
    "json": as_json,
    "sarif": sarif,
    "github": github,
    "gitlab": gitlab,
    "junit": junit,
}

__all__ = ["FORMATS", "listing"]
