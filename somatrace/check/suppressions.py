"""Filter findings by `# noqa: ST003 -- reason`, selected codes, and the baseline of accepted findings."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from somatrace.check.checker import CheckReport
from somatrace.check.project.contained_files import UnreadableFileError, read_file
from somatrace.check.rules import st090_no_reason, st091_stale
from somatrace.check.rules.finding import Finding
from somatrace.check.settings import CheckSettings, SettingsError

_NOQA = re.compile(r"#\s*+noqa:\s*+((?:[A-Z]++\d++[\s,]*+)++)(?:--\s*+(\S)?)?", re.IGNORECASE)
_CODE = re.compile(r"ST\d{3}", re.IGNORECASE)


def apply(root: Path, report: CheckReport, settings: CheckSettings) -> CheckReport:
    """The remaining findings, with those about suppressions and the baseline."""
    kept = [*_unsuppressed(report.findings), *_stale(report)]
    kept = [finding for finding in kept if settings.wants(finding.code, finding.path)]
    if settings.baseline:
        kept = list(_unaccepted(kept, root, settings.baseline))
    return replace(report, findings=tuple(sorted(kept)))


def _unsuppressed(findings: tuple[Finding, ...]) -> Iterator[Finding]:
    for finding in findings:
        match = _NOQA.search(finding.source)
        named = [code.upper() for code in _CODE.findall(match[1])] if match else []
        if match is None or finding.code not in named:
            yield finding
        elif not match[2]:
            yield st090_no_reason.finding(finding)


def _stale(report: CheckReport) -> Iterator[Finding]:
    """Suppressions on lines without a matching finding."""
    matched = {(finding.path, finding.line, finding.code) for finding in report.findings}
    for noqa in report.noqas:
        match = _NOQA.search(noqa.source)
        for code in dict.fromkeys(_CODE.findall(match[1].upper())) if match else ():
            if (noqa.path, noqa.line, code) not in matched:
                yield st091_stale.stale_comment(noqa, code)


def _unaccepted(findings: list[Finding], root: Path, name: str) -> Iterator[Finding]:
    accepted = _baseline(root, name)
    matched: set[str] = set()
    for finding in findings:
        key = finding.fingerprint()
        if key in accepted:
            matched.add(key)
        else:
            yield finding
    for key, (code, path) in accepted.items():
        if key not in matched:
            yield st091_stale.stale_baseline(name, code, path)


def _baseline(root: Path, name: str) -> dict[str, tuple[str, str]]:
    if not os.path.lexists(root / name):
        raise SettingsError(f"the baseline {name} does not exist; write it with --write-baseline {name}")
    try:
        listed = json.loads(read_file(str(root), name).data.decode())["findings"]
        return {str(one["hash"]): (str(one["code"]), str(one["path"])) for one in listed}
    except UnreadableFileError as error:
        raise SettingsError(f"the baseline {name} cannot be read: {error}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SettingsError(f"the baseline {name} was not written by --write-baseline") from None


def written(findings: tuple[Finding, ...]) -> str:
    """A baseline that accepts these findings: by code, path and text of the line, not by line number."""
    entries = sorted((finding.code, finding.path, finding.fingerprint()) for finding in findings)
    listed = [{"code": code, "path": path, "hash": key} for code, path, key in entries]
    return json.dumps({"version": 1, "findings": listed}, indent=2) + "\n"
